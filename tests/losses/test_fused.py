"""Cross-entropy in blocks of queries equals the direct form, in value and gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rearec_jax.losses import fused
from rearec_jax.losses.partition import Candidates
from tests import tiny

STATES, ITEMS, WIDTH = 7, 11, 5
TARGETS = jnp.asarray([0, 10, 3, 3, 5, 10, 0])
WEIGHTS = jnp.asarray([0.1, 0.5, 0.0, 0.2, 1.0, 0.3, 0.0])  # two are padding
ROWS = [1, 3, 7, 50]  # single ones, no divisor of the states, all, more than all


@pytest.fixture(scope="module", autouse=True)
def float64():
    with tiny.float64():
        yield


def draw(dtype="float64", scale=1.0):
    rng = np.random.default_rng(0)
    shapes = (STATES, WIDTH), (ITEMS, WIDTH)
    return tuple(jnp.asarray(scale * rng.normal(size=shape)).astype(dtype) for shape in shapes)


def direct(states, table, weights):
    logits = (states @ table.T).astype(jnp.promote_types(states.dtype, jnp.float32))
    values = jax.nn.logsumexp(logits, axis=-1) - logits[jnp.arange(STATES), TARGETS]
    return jnp.sum(weights.astype(values.dtype) * values), values


def ours(rows):
    return lambda states, table, weights: tuple(
        fused.weighted_cross_entropy(states, TARGETS, table, weights, rows)
    )


def everything(function, *arguments, factor=3.0):
    """Total, values, and the gradients of the total times a factor."""

    def loss(*arguments):
        total, values = function(*arguments)
        return factor * total, values

    gradient = jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)
    return jax.tree.map(lambda x: np.asarray(x, "float64"), tiny.jit(gradient)(*arguments))


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5), ("bfloat16", 3e-2)]
)
def test_value_and_gradients(rows, dtype, tolerance):
    states, table = draw(dtype)
    weights = WEIGHTS.astype("float32" if dtype == "bfloat16" else dtype)
    # bfloat16 is compared with the exact values of the same inputs: its 8 bits are the products'.
    want = everything(direct, *(x.astype("float64") for x in (states, table, weights)))
    got = everything(ours(rows), states, table, weights)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        scale = max(1.0, np.abs(other).max())
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("keys", [None, jnp.asarray([0, 1, 2, 0, 1, 2, 0])], ids=["all", "keys"])
def test_against_candidates_the_target_counts_once(rows, keys):
    log_weight = jnp.log(jnp.asarray([1.0, 0, 2, 0.5, 1, 0, 3, 1, 1, 0, 1]))
    of_items = jnp.arange(ITEMS) % 3
    candidates = Candidates(keys, None if keys is None else of_items, log_weight)

    def masked(states, table, weights):
        competes = True if keys is None else keys[:, None] != of_items[None]
        weight = jnp.exp(log_weight)[None] * jnp.broadcast_to(competes, (STATES, ITEMS))
        weight = weight.at[jnp.arange(STATES), TARGETS].set(1)
        scores = states @ table.T
        own = scores[jnp.arange(STATES), TARGETS]
        values = jnp.log(jnp.sum(weight * jnp.exp(scores), axis=-1)) - own
        return jnp.sum(weights * values), values

    def in_blocks(states, table, weights):
        return tuple(
            fused.weighted_cross_entropy(states, TARGETS, table, weights, rows, candidates)
        )

    arguments = *draw(), WEIGHTS.astype("float64")
    want, got = (everything(function, *arguments) for function in (masked, in_blocks))
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("rows", ROWS)
def test_without_a_gradient_the_values_are_the_same(rows):
    got = tiny.jit(ours(rows))(*draw(), WEIGHTS)
    for one, other in zip(got, direct(*draw(), WEIGHTS), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_large_scores_do_not_overflow():
    arguments = *draw("float32", scale=30.0), WEIGHTS.astype("float32")
    got = everything(ours(3), *arguments)
    want = everything(direct, *(x.astype("float64") for x in arguments))
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-4 * np.abs(other).max())


def test_the_values_are_constants():
    states, table = draw()
    gradient = jax.grad(lambda s: ours(3)(s, table, WEIGHTS)[1].sum())(states)
    np.testing.assert_array_equal(gradient, 0.0)


def test_second_derivative():
    def curvature(function):
        def first(states):
            return jnp.sin(jax.grad(lambda s: function(s, *draw()[1:], WEIGHTS)[0])(states)).sum()

        return tiny.jit(jax.grad(first))(draw()[0])

    np.testing.assert_allclose(curvature(ours(3)), curvature(direct), rtol=1e-10, atol=1e-12)


class TestRowsABlock:
    def test_logits_of_a_block_stay_in_the_cache(self):
        rows = fused.rows_a_block(12_101, 2.0)
        assert rows > fused.FEWEST_ROWS and 4 * 12_101 * rows <= fused.CACHE_BYTES

    def test_large_catalogues_and_small_budgets_stream(self):
        assert fused.rows_a_block(100_000, 2.0) == fused.FEWEST_ROWS
        assert fused.rows_a_block(1_000_000, 2.0) == 0
        assert fused.rows_a_block(12_101, 0.0) == 0
