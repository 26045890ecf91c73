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


def contrastive(noisy, clean, kind):
    is_negative = progressive.negatives(jnp.asarray(USERS), jnp.asarray(WEIGHTS), kind)
    return progressive.contrastive(noisy, clean, is_negative, TAU)


def ours(noisy, clean, kind):
    return tiny.jit(lambda n, c: contrastive(n, c, kind))(noisy, clean)


@pytest.mark.parametrize("kind", ["other_users", "batch"])
def test_contrastive_loss_equals_brute_force(views, kind):
    want = brute_force(*map(np.asarray, views), kind)
    np.testing.assert_allclose(ours(*views, kind), want, rtol=1e-11)


def test_kinds_of_negatives_differ(views):
    assert abs(ours(*views, "other_users") - ours(*views, "batch")).max() > 1e-2


@pytest.mark.parametrize("kind", ["other_users", "batch"])
def test_who_is_a_negative_of_whom(kind):
    got = progressive.negatives(jnp.asarray(USERS), jnp.asarray(WEIGHTS), kind)
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


def test_no_negatives_no_loss(views):
    none = jnp.zeros((len(USERS), len(USERS)), bool)
    np.testing.assert_allclose(progressive.contrastive(*views, none, TAU), 0.0, atol=1e-12)


def test_large_scores_do_not_overflow(views):
    noisy, clean = (100 * x.astype("float32") for x in views)
    loss = jax.value_and_grad(lambda n: contrastive(n, clean, "batch").sum())
    value, gradient = tiny.jit(loss)(noisy)
    assert np.isfinite(value) and np.isfinite(gradient).all()


def test_step_temperatures():
    assert progressive.step_temperatures(0.5, 2.0, 3) == (4.0, 2.0, 1.0, 0.5)
    assert progressive.step_temperatures(0.5, 1.0, 2) == (0.5, 0.5, 0.5)
    assert progressive.step_temperatures(0.5, 2.0, 0) == (0.5,)
