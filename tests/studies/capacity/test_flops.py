"""FLOPs of matrix products, against sums by hand and against XLA."""

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
import numpy as np
import pytest

from rearec_jax.studies.capacity.flops import Product, Products, product_flops, products

A, B = jnp.zeros((4, 8)), jnp.zeros((8, 16))
ONE = 2 * 4 * 8 * 16


def count(function, *arguments):
    return product_flops(jax.make_jaxpr(function)(*arguments))


def repeated(a, b):
    return jax.lax.scan(lambda carry, _: (carry + (a @ b).sum(), None), 0.0, None, length=7)[0]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda a, b: a @ b, ONE),
        (lambda a, b: jax.jit(jnp.matmul)(a, b).T, ONE),
        (lambda a, b: jnp.einsum("xab,bc->xac", a[None], b), ONE),
        (lambda a, b: jax.vmap(jnp.matmul, (0, None))(jnp.stack([a] * 3), b), 3 * ONE),
        (repeated, 7 * ONE),
        (lambda a, b: jax.lax.cond(a[0, 0] > 0, lambda: a @ b, lambda: a @ b @ b.T @ b), 3 * ONE),
        (jax.grad(lambda a, b: jnp.sum((a @ b) ** 2), argnums=(0, 1)), 3 * ONE),
        (lambda a, b: a.sum() + b.sum(), 0),
        (lambda a, b: a[:, :0] @ b[:0], 0),
    ],
)
def test_products(function, expected):
    assert count(function, A, B) == expected


def test_products_are_listed_by_shape():
    def by_batch(a):  # [3, 4, 8], [3, 5, 4] -> [3, 8, 5], and once more
        a, b = jnp.stack([a] * 3), jnp.ones((3, 5, 4))
        return sum(jnp.einsum("xab,xca->xbc", a, b).sum() for _ in range(2))

    listed = products(jax.make_jaxpr(lambda a, b: repeated(a, b) + by_batch(a))(A, B))
    assert listed == Products({Product(1, 4, 8, 16): 7, Product(3, 8, 4, 5): 2})


def test_xla_counts_the_body_of_a_loop_once():
    cost = jax.jit(repeated).lower(A, B).compile().cost_analysis()
    assert cost["flops"] < 2 * ONE
    assert count(repeated, A, B) == 7 * ONE


def test_a_shared_product_is_that_of_all_its_devices():
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:2]), ("x",))
    shared = jax.shard_map(
        jnp.matmul, mesh=mesh, in_specs=(PartitionSpec("x"), PartitionSpec()),
        out_specs=PartitionSpec("x"),
    )  # fmt: skip
    assert count(shared, A, B) == ONE
