"""Cross-entropy over the whole catalogue equals -log softmax written out."""

import functools

from hypothesis import given
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from rearec_jax.losses.cross_entropy import cross_entropy
from tests import tiny

ITEMS = 11
TARGETS = np.array([0, 10, 3, 3])


@pytest.fixture(scope="module", autouse=True)
def float64():
    with tiny.float64():
        yield


def draw(scale=1.0):
    rng = np.random.default_rng(0)
    return tuple(jnp.asarray(scale * rng.normal(size=(n, 5))) for n in (len(TARGETS), ITEMS))


def loss(states, table, temperature, block):
    return cross_entropy(states, jnp.asarray(TARGETS), table, temperature, block)


@pytest.mark.parametrize("block", [4, ITEMS])
@pytest.mark.parametrize("temperature", [0.05, 5.0])
def test_value_and_gradient(block, temperature):
    states, table = draw()
    scores = np.asarray(states @ table.T) / temperature
    want = -log_softmax(scores, axis=-1)[np.arange(len(TARGETS)), TARGETS]

    def total(states, table):
        values = loss(states, table, temperature, block)
        return values.sum(), values

    (by_state, by_item), values = tiny.jit(jax.grad(total, argnums=(0, 1), has_aux=True))(
        states, table
    )
    np.testing.assert_allclose(values, want, rtol=1e-11, atol=1e-11)
    error = (softmax(scores, axis=-1) - np.eye(ITEMS)[TARGETS]) / temperature
    np.testing.assert_allclose(by_state, error @ table, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(by_item, error.T @ states, rtol=1e-10, atol=1e-10)


LOSS = {
    block: tiny.jit(functools.partial(loss, temperature=0.5, block=block)) for block in (4, ITEMS)
}


@pytest.mark.parametrize("block", LOSS)
@given(states=tiny.arrays(len(TARGETS), 2), table=tiny.arrays(ITEMS, 2), shift=tiny.arrays(2))
def test_moving_all_items_changes_nothing(block, states, table, shift):
    before, after = (np.asarray(LOSS[block](states, t)) for t in (table, table + shift))
    np.testing.assert_allclose(after, before, rtol=1e-10, atol=1e-6)
    assert (before > -1e-9).all()


def test_equal_scores_cost_the_logarithm_of_the_catalogue():
    states, table = draw()
    np.testing.assert_allclose(loss(0 * states, table, 1.0, 4), np.log(ITEMS), rtol=1e-12)


@pytest.mark.parametrize("block", [4, ITEMS])
def test_large_scores_do_not_overflow(block):
    states, table = (x.astype("float32") for x in draw(scale=30.0))
    value, gradient = tiny.jit(jax.value_and_grad(lambda s: loss(s, table, 0.1, block).sum()))(
        states
    )
    want = -log_softmax(np.float64(states) @ np.float64(table).T / 0.1, axis=-1)
    np.testing.assert_allclose(value, want[np.arange(4), TARGETS].sum(), rtol=1e-4)
    assert np.isfinite(gradient).all()
