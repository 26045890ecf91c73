"""ERL's diversity equals sum p (log p - log q) written out, in value and gradient."""

import itertools

from hypothesis import given
from hypothesis import strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from rearec_jax.losses import ensemble
from tests import tiny

EXAMPLES, STEPS, WIDTH, ITEMS = 4, 3, 5, 11
KINDS = ("released", "paper")


@pytest.fixture(scope="module", autouse=True)
def float64():
    with tiny.float64():
        yield


def draw(examples=EXAMPLES, steps=STEPS, items=ITEMS, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    shapes = (examples, steps, WIDTH), (items, WIDTH)
    return tuple(jnp.asarray(scale * rng.normal(size=shape)) for shape in shapes)


def direct(states, table, temperature, kind):
    """[M, S, N] distributions, every pair of them, and JAX's own gradient."""
    log_p = jax.nn.log_softmax(states @ table.T / temperature, axis=-1)
    steps = states.shape[1]

    def kl(i, j, held):
        log_q = jax.lax.stop_gradient(log_p[:, j]) if held else log_p[:, j]
        return jnp.sum(jnp.exp(log_p[:, i]) * (log_p[:, i] - log_q), axis=-1)

    if kind == "paper":
        return sum(kl(i, j, held=False) for i, j in itertools.combinations(range(steps), 2))
    pairs = list(itertools.permutations(range(steps), 2))
    return sum(kl(i, j, held=kind == "released") for i, j in pairs) / len(pairs)


def value_and_gradients(function, states, table):
    def weighted(states, table):
        values = function(states, table)
        return jnp.sum(jnp.sin(1.0 + jnp.arange(len(values))) * values), values

    loss = jax.grad(weighted, argnums=(0, 1), has_aux=True)
    gradients, values = tiny.jit(loss)(states.astype(table.dtype), table)
    return values, gradients


@pytest.mark.parametrize("kind", [*KINDS, "both"])
@pytest.mark.parametrize("block", [4, ITEMS])
def test_diversity_equals_the_direct_form(kind, block):
    states, table = draw()
    temperature = 0.7

    def ours(states, table):
        return ensemble.kl_diversity(states, table, temperature, block, kind)

    def want(states, table):
        return direct(states, table, temperature, kind)

    got, expected = (value_and_gradients(f, states, table) for f in (ours, want))
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert abs(other).max() > 1e-3
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("block", [4, ITEMS])
def test_nothing_flows_into_the_held_distribution(block):
    """Seen at a step that is certain of an item: p_i no longer moves with its state.

    So the only gradient it could have is that of the held one of a pair.
    """
    states, _ = draw(steps=2)
    table = jnp.eye(ITEMS, WIDTH)  # scores are the state itself; items >= WIDTH score 0
    certain = jnp.zeros(WIDTH).at[0].set(100.0)
    states = states.at[:, 1].set(certain)

    def loss(kind, states):
        return ensemble.kl_diversity(states, table, 1.0, block, kind).sum()

    def gradients(states):
        return [jax.grad(loss, argnums=1)(kind, states) for kind in KINDS]

    released, paper = tiny.jit(gradients)(states)
    np.testing.assert_allclose(released[:, 1], 0.0, atol=1e-12)
    assert abs(paper[:, 1]).max() > 0.1  # where it does flow, it is large
    assert abs(released[:, 0]).max() > 0.1


def compiled(kind, block):
    return tiny.jit(
        lambda s, t: ensemble.kl_diversity(s, t, temperature=0.5, block=block, kind=kind)
    )


# Compiled once (for each number of steps), and not once an example.
DIVERSITY = {(kind, block): compiled(kind, block) for kind in KINDS for block in (1, 4, ITEMS)}


@pytest.mark.parametrize("steps", [2, 3])
@pytest.mark.parametrize(("kind", "block"), DIVERSITY)
@given(data=st.data())
def test_divergence_equals_its_definition(kind, block, steps, data):
    """It is never negative, and 0 between equal steps."""
    states, table = data.draw(tiny.arrays(3, steps, 2)), data.draw(tiny.arrays(ITEMS, 2))
    log_p = log_softmax(2 * states @ table.T, axis=-1)
    pairs = itertools.permutations(range(steps), 2)
    pairs = [(i, j) for i, j in pairs if kind == "released" or i < j]
    each = [np.sum(np.exp(log_p[:, i]) * (log_p[:, i] - log_p[:, j]), axis=-1) for i, j in pairs]
    want = np.mean(each, axis=0) if kind == "released" else np.sum(each, axis=0)
    got = np.asarray(DIVERSITY[kind, block](states, table))
    np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-6)
    assert (got > -1e-6).all()
    alike = np.broadcast_to(states[:, :1], states.shape)
    np.testing.assert_allclose(DIVERSITY[kind, block](alike, table), 0, atol=1e-6)


def test_orders_of_the_pairs():
    """Paper: the earlier step is the first argument, KL(p_i || p_j) with i < j."""
    table = jnp.asarray([[1.0], [0.0]])
    states = jnp.asarray([[[2.0], [-1.0]]])

    def kl(a, b):
        p, q = 1 / (1 + np.exp(-a)), 1 / (1 + np.exp(-b))
        return p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))

    paper, released = (
        float(ensemble.kl_diversity(states, table, 1.0, 2, kind)[0]) for kind in KINDS[::-1]
    )
    assert paper == pytest.approx(kl(2, -1), rel=1e-10)
    assert released == pytest.approx((kl(2, -1) + kl(-1, 2)) / 2, rel=1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("block", [4, ITEMS])
def test_large_scores_do_not_overflow(kind, block):
    states, table = (x.astype("float32") for x in draw(scale=30.0))
    got = value_and_gradients(
        lambda s, t: ensemble.kl_diversity(s, t, 0.1, block, kind), states, table
    )
    assert all(np.isfinite(array).all() for array in jax.tree.leaves(got))
