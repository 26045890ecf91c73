"""The depths of `lares` are drawn as said, and its contrasts compare what they should."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from rearec_jax.losses import progressive
from rearec_jax.methods import lares
from rearec_jax.methods.reasoned import Blocks
from rearec_jax.training import objective
from rearec_jax.training.objective import Scoring
from rearec_jax.types import Reasoning
from tests import tiny

ITEMS, STEPS, WIDTH = 5, 4, 8


def test_depths_are_poisson_with_a_log_normal_mean():
    got = lares.depth_probabilities(4.0, 6)
    rate = stats.lognorm(s=lares.SPREAD, scale=3 * np.exp(-(lares.SPREAD**2) / 2))
    for steps, probability in enumerate(got[:-1], start=1):
        want, _ = integrate.quad(
            lambda r, n=steps - 1: stats.poisson.pmf(n, r) * rate.pdf(r), 0, 60
        )
        assert probability == pytest.approx(want, rel=1e-5)
    assert sum(got) == pytest.approx(1)
    long = lares.depth_probabilities(4.0, 60)
    assert np.dot(np.arange(1, 61), long) == pytest.approx(4, rel=1e-3)
    assert lares.depth_probabilities(4.0, 1) == (1.0,)


def test_depths_are_drawn_by_their_probabilities():
    depths = np.asarray(lares.draw_depths(jax.random.key(0), 20_000, 4.0, 6))
    assert (depths.min(), depths.max()) == (1, 6)
    shares = np.bincount(depths, minlength=7)[1:] / len(depths)
    np.testing.assert_allclose(shares, lares.depth_probabilities(4.0, 6), atol=0.015)


def test_partners_have_the_same_target():
    targets = jnp.array([3, 1, 3, 2, 3, 1, 2])
    weights = jnp.array([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0])  # the last one is padding
    partner, found = lares.partners(targets, weights)
    np.testing.assert_array_equal(found, [1, 1, 1, 0, 1, 1, 0])
    for query in np.flatnonzero(found):
        assert partner[query] != query and targets[partner[query]] == targets[query]
    assert {int(partner[q]) for q in (0, 2, 4)} == {0, 2, 4}  # each of three is another's


@pytest.fixture(scope="module")
def drawn():
    users = tiny.sequences([2, 3, 6], ITEMS)
    batch = tiny.pack([users[:2], users[2:]], 6, ITEMS, every_position=True)
    rng = np.random.default_rng(0)
    states = rng.normal(size=(*batch.queries.shape, STEPS + 1, WIDTH))
    return batch, states, rng.normal(size=(ITEMS, WIDTH))


def parts_of(drawn, key=0, blocks=None, **changes):
    batch, states, table = drawn
    config = tiny.config("lares", STEPS, **changes)

    def loss(states, table, key):
        scoring = Scoring(blocks or Blocks(ITEMS), key=key)
        return objective.loss_of(config, Reasoning(states, None), batch, table, scoring)[1]

    arrays = (jnp.asarray(x, jnp.float32) for x in (states, table))
    return tiny.jit(loss)(*arrays, jax.random.key(key))


@pytest.mark.parametrize("blocks", [Blocks(ITEMS), Blocks(ITEMS, queries=4, pairs=4)])
def test_the_loss_is_the_formula(drawn, blocks):
    batch, states, table = drawn
    weights = {"method__trajectory_weight": 0.3, "method__step_weight": 0.2}
    got = {k: float(v) for k, v in parts_of(drawn, 0, blocks, **weights).items()}
    flat = states.reshape(-1, STEPS + 1, WIDTH)
    targets, users, real = (
        np.asarray(x).reshape(-1) for x in (batch.targets, batch.users, batch.weights)
    )
    keys = jax.random.split(jax.random.key(0))
    depths = np.asarray(lares.draw_depths(keys[0], len(flat), 4.0, STEPS))
    earlier = np.floor(np.asarray(jax.random.uniform(keys[1], (len(flat),))) * depths).astype(int)
    assert (earlier < depths).all() and len(set(depths)) > 1
    user = flat[np.arange(len(flat)), depths]
    before = flat[np.arange(len(flat)), earlier]
    partner, found = map(np.asarray, lares.partners(jnp.asarray(targets), jnp.asarray(real)))
    assert 0 < found.sum() < real.sum()

    def entropy(scores, place):
        return np.log(np.exp(scores).sum()) - scores[place]

    def contrast(states, positives, keys, counted):
        total = 0.0
        for m in np.flatnonzero(counted):
            others = [j for j in np.flatnonzero(real) if keys[j] != keys[m]]
            total += entropy(positives[[m, *others]] @ states[m], 0)
        return total / real.sum()

    want = np.mean([entropy(table @ user[m], targets[m]) for m in np.flatnonzero(real)])
    assert got["cross_entropy"] == pytest.approx(want, rel=1e-5)
    trajectories = contrast(user, user[partner], targets, found)
    assert got["trajectory_contrast"] == pytest.approx(trajectories, rel=1e-4)
    steps = contrast(before, user, users, real > 0)
    assert got["step_contrast"] == pytest.approx(steps, rel=1e-4)
    assert got["loss"] == pytest.approx(want + 0.3 * trajectories + 0.2 * steps, rel=1e-4)


def test_terms_that_weigh_nothing_are_left_out(drawn):
    off = {"method__trajectory_weight": 0.0, "method__step_weight": 0.0}
    assert set(parts_of(drawn, **off)) == {"loss", "cross_entropy"}


def test_the_key_decides_the_depths(drawn):
    one, again, other = (float(parts_of(drawn, key)["loss"]) for key in (1, 1, 2))
    assert one == again != other


def test_negatives_are_of_other_users(drawn):
    """`method.negatives` is that of the contrast with an earlier step."""
    batch, *_ = drawn
    users, weights = batch.users.reshape(-1), batch.weights.reshape(-1)
    kinds = [progressive.negatives(users, weights, kind) for kind in ("other_users", "batch")]
    assert (np.asarray(kinds[0].keys) != np.asarray(kinds[1].keys)).any()
    got = [
        float(parts_of(drawn, method__negatives=kind, method__step_weight=0.1)["step_contrast"])
        for kind in ("other_users", "batch")
    ]
    assert got[0] < got[1]
