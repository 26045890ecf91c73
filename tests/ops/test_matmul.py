"""`linear` is a matrix product in value and derivatives; `apart` is what it is given."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rearec_jax.ops import matmul
from tests import tiny

SHAPES = [(7, 5), (3, 4, 5), (2, 1, 3, 5), (1, 5)]


@pytest.fixture(autouse=True)
def double():
    with tiny.float64():
        yield


def _operands(shape, dtype="float64"):
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=shape), rng.normal(size=(shape[-1], 6))
    slope = rng.normal(size=(*shape[:-1], 6))
    return tuple(jnp.asarray(array, dtype) for array in (x, kernel, slope))


@pytest.mark.parametrize("shape", SHAPES)
def test_linear_has_the_value_and_gradients_of_matmul(shape):
    x, kernel, slope = _operands(shape)
    value, pull_back = jax.vjp(matmul.linear, x, kernel)
    expected, pull_back_expected = jax.vjp(jnp.matmul, x, kernel)
    np.testing.assert_array_equal(value, expected)
    for got, wanted in zip(pull_back(slope), pull_back_expected(slope), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-13, atol=1e-13)


def test_linear_can_be_differentiated_twice():
    x, kernel, slope = _operands((3, 4, 5))

    def second(product):
        def loss(x, kernel):
            return jnp.sum(slope * jnp.tanh(product(x, kernel)))

        def size_of_gradient(x, kernel):
            return sum(jnp.sum(g**2) for g in jax.grad(loss, (0, 1))(x, kernel))

        return jax.grad(size_of_gradient, (0, 1))(x, kernel)

    for got, wanted in zip(second(matmul.linear), second(jnp.matmul), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-11, atol=1e-11)


def test_linear_of_several_models_at_once():
    x, kernel, slope = _operands((3, 4, 5))
    kernels = jnp.stack([kernel, 2 * kernel])

    def gradient(kernel):
        return jax.grad(lambda kernel: jnp.sum(slope * matmul.linear(x, kernel)))(kernel)

    got = jax.jit(jax.vmap(gradient))(kernels)
    np.testing.assert_allclose(got, jnp.stack([gradient(one) for one in kernels]), rtol=1e-13)


def test_gradients_keep_the_type_of_the_products():
    x, kernel, slope = _operands((3, 4, 5), "bfloat16")
    value, pull_back = jax.vjp(matmul.linear, x, kernel)
    assert {value.dtype, *(g.dtype for g in pull_back(slope))} == {jnp.dtype("bfloat16")}


@pytest.mark.parametrize("shape", SHAPES)
def test_transposed_has_the_last_axis_first(shape):
    x, _, _ = _operands(shape)
    np.testing.assert_array_equal(jax.jit(matmul.transposed)(x), np.moveaxis(x, -1, 0))


def test_cpus_alone_keep_what_is_apart_out_of_fusions():
    def lowered(platform):
        traced = jax.jit(lambda x: matmul.transposed(x + 1.0)).trace(jnp.ones((3, 4)))
        return traced.lower(lowering_platforms=(platform,)).as_text()

    assert 'inlineable = "false"' in lowered("cpu")
    assert 'inlineable = "false"' not in lowered("tpu")
    compiled = jax.jit(lambda x: matmul.transposed(x + 1.0)).lower(jnp.ones((3, 4))).compile()
    assert " call(" in compiled.as_text()
