"""PRL: the temperatures fall to tau; InfoNCE equals the loop over candidates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rearec_jax.losses import progressive
from tests import tiny

USERS = np.array([0, 0, 1, 2, 2, -1])
WEIGHTS = np.array([1, 1, 1, 0, 1, 0], np.float32)
WIDTH, TAU = 5, 0.7


@pytest.fixture(scope="module", autouse=True)
def float64():
    with tiny.float64():
        yield


@pytest.fixture(scope="module")
def views():
    rng = np.random.default_rng(0)
    return tuple(jnp.asarray(rng.normal(size=(len(USERS), WIDTH))) for _ in range(2))


def brute_force(noisy, clean, kind):
    """Query i: exp of its own score over the sum of its own and those of its negatives."""
    losses = []
    for i in range(len(USERS)):
        scores = [noisy[i] @ clean[i] / TAU]
        for j in range(len(USERS)):
            real = WEIGHTS[j] > 0 and j != i
            if real and (kind == "batch" or USERS[i] != USERS[j]):
                scores.append(noisy[i] @ clean[j] / TAU)
        losses.append(-np.log(np.exp(scores[0]) / np.sum(np.exp(scores))))
    return np.array(losses)


def contrastive(noisy, clean, kind, block=6):
    negatives = progressive.negatives(jnp.asarray(USERS), jnp.asarray(WEIGHTS), kind)
    return progressive.contrastive(noisy, clean, negatives, TAU, block)


def ours(noisy, clean, kind, block=6):
    return tiny.jit(lambda n, c: contrastive(n, c, kind, block))(noisy, clean)


@pytest.mark.parametrize("block", [1, 4, 6])
@pytest.mark.parametrize("kind", ["other_users", "batch"])
def test_contrastive_loss_equals_brute_force(views, kind, block):
    want = brute_force(*map(np.asarray, views), kind)
    np.testing.assert_allclose(ours(*views, kind, block), want, rtol=1e-11)


@pytest.mark.parametrize("kind", ["other_users", "batch"])
def test_streaming_gradients_equal_the_direct_ones(views, kind):
    def gradients(block):
        def loss(noisy, clean):
            return jnp.sum(jnp.arange(1.0, 7.0) * contrastive(noisy, clean, kind, block))

        return tiny.jit(jax.grad(loss, argnums=(0, 1)))(*views)

    for got, want in zip(gradients(4), gradients(6), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("rows", [1, 4, 50])  # single ones, no divisor of the examples, all
@pytest.mark.parametrize("kind", ["other_users", "batch"])
def test_in_blocks_of_queries_it_is_the_weighted_sum(views, kind, rows):
    weights = jnp.arange(1.0, 7.0) * WEIGHTS
    negatives = progressive.negatives(jnp.asarray(USERS), jnp.asarray(WEIGHTS), kind)

    def whole(noisy, clean):
        return jnp.sum(weights * contrastive(noisy, clean, kind))

    def in_blocks(noisy, clean):
        return progressive.weighted_contrastive(noisy, clean, negatives, TAU, weights, rows)

    want, got = (
        tiny.jit(jax.value_and_grad(loss, argnums=(0, 1)))(*views) for loss in (whole, in_blocks)
    )
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


def test_without_negatives_nothing_is_lost_in_blocks_of_queries(views):
    none = progressive.Negatives(jnp.zeros(len(USERS), int), jnp.zeros(len(USERS), bool))

    def loss(noisy, clean):
        return progressive.weighted_contrastive(noisy, clean, none, TAU, jnp.ones(len(USERS)), 4)

    value, gradients = tiny.jit(jax.value_and_grad(loss, argnums=(0, 1)))(*views)
    assert abs(float(value)) < 1e-12
    for gradient in gradients:
        np.testing.assert_allclose(gradient, 0.0, atol=1e-12)


def test_kinds_of_negatives_differ(views):
    assert abs(ours(*views, "other_users") - ours(*views, "batch")).max() > 1e-2


@pytest.mark.parametrize("kind", ["other_users", "batch"])
def test_who_is_a_negative_of_whom(kind):
    keys, real = progressive.negatives(jnp.asarray(USERS), jnp.asarray(WEIGHTS), kind)
    got = np.asarray(real)[None] & (np.asarray(keys)[:, None] != np.asarray(keys)[None])
    for i in range(len(USERS)):
        for j in range(len(USERS)):
            other = USERS[i] != USERS[j] if kind == "other_users" else i != j
            assert bool(got[i, j]) == (other and WEIGHTS[j] > 0), (i, j)


@pytest.mark.parametrize("kind", ["other_users", "batch"])
def test_examples_of_weight_zero_are_no_candidates(views, kind):
    """Examples 3 and 5 count for nothing: no other loss depends on them."""
    real = jnp.asarray(WEIGHTS)

    def loss(noisy, clean):
        return jnp.sum(real * contrastive(noisy, clean, kind))

    for gradient in tiny.jit(jax.grad(loss, argnums=(0, 1)))(*views):
        assert not gradient[WEIGHTS == 0].any()
        assert abs(gradient[WEIGHTS > 0]).max(axis=-1).min() > 1e-3


@pytest.mark.parametrize("block", [4, 6])
def test_no_negatives_no_loss_and_no_gradient(views, block):
    none = progressive.Negatives(jnp.zeros(len(USERS), int), jnp.zeros(len(USERS), bool))

    def loss(noisy, clean):
        return progressive.contrastive(noisy, clean, none, TAU, block).sum()

    value, gradients = tiny.jit(jax.value_and_grad(loss, argnums=(0, 1)))(*views)
    assert abs(float(value)) < 1e-12
    for gradient in gradients:
        np.testing.assert_allclose(gradient, 0.0, atol=1e-12)


def test_large_scores_do_not_overflow(views):
    noisy, clean = (100 * x.astype("float32") for x in views)
    loss = jax.value_and_grad(lambda n: contrastive(n, clean, "batch").sum())
    value, gradient = tiny.jit(loss)(noisy)
    assert np.isfinite(value) and np.isfinite(gradient).all()


def test_step_temperatures():
    assert progressive.step_temperatures(0.5, 2.0, 3) == (4.0, 2.0, 1.0, 0.5)
    assert progressive.step_temperatures(0.5, 1.0, 2) == (0.5, 0.5, 0.5)
    assert progressive.step_temperatures(0.5, 2.0, 0) == (0.5,)
