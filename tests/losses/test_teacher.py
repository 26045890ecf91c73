"""The teacher's distribution is the formula, and so is the divergence from it."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from rearec_jax.losses import teacher

ITEMS, WIDTH = 9, 4
NEAR = np.array([[3, 7, 1, 5], [3, 7, 1, 5], [2, 9, 9, 9], [9, 9, 9, 9]])  # 9: no more
TARGETS = np.array([0, 7, 4, 6])


def by_hand(width):
    """q [M, N] written out: three others are named, the target is none of them."""
    q = np.zeros((len(TARGETS), ITEMS))
    for row, target, near in zip(q, TARGETS, NEAR, strict=True):
        others = [item for item in near if item not in (target, ITEMS)][:3]
        for rank, item in enumerate([target, *others]):
            row[item] = np.exp(-rank / width)
        row /= row.sum()
    return q


@pytest.fixture
def named():
    return teacher.teacher(jnp.asarray(TARGETS), jnp.asarray(NEAR), ITEMS)


@pytest.mark.parametrize("width", [0.5, 2.0])
def test_probabilities(named, width):
    q = np.zeros((len(TARGETS), ITEMS))
    np.add.at(q, (np.arange(4)[:, None], named.items), named.probabilities(width))
    np.testing.assert_allclose(q, by_hand(width), rtol=1e-5, atol=1e-7)


def test_it_narrows_to_the_target(named):
    shares = [np.asarray(named.probabilities(width))[:, 0] for width in (6.0, 4.0, 2.0, 0.01)]
    for wide, narrow in itertools.pairwise(shares):
        assert (narrow[:3] > wide[:3]).all()
    np.testing.assert_allclose(shares[-1], 1.0)
    np.testing.assert_array_equal(shares[0][3], 1.0)  # nothing is near: the target alone


def test_divergence_is_the_sum_over_the_catalogue(named):
    rng = np.random.default_rng(0)
    states, table = rng.normal(size=(4, 3, WIDTH)), rng.normal(size=(ITEMS, WIDTH))
    widths, tau = (6.0, 4.0, 2.0), 0.7
    beyond = teacher.beyond_cross_entropy(
        jnp.asarray(states, jnp.float32), jnp.asarray(table, jnp.float32), named, tau, widths
    )
    scores = states @ table.T / tau
    log_p = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
    for k, width in enumerate(widths):
        q = by_hand(width)
        divergence = np.where(q > 0, q * (np.log(np.maximum(q, 1e-30)) - log_p[:, k]), 0).sum(-1)
        entropy = -log_p[np.arange(4), k, TARGETS]
        np.testing.assert_allclose(beyond[:, k] + entropy, divergence, rtol=1e-4, atol=1e-5)
        assert (divergence > 0).all()
