"""ERL's diversity equals sum p (log p - log q) written out, in value and gradient."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

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
    return sum(kl(i, j, held=True) for i, j in pairs) / len(pairs)


def value_and_gradients(function, states, table):
    def weighted(states, table):
        values = function(states, table)
        return jnp.sum(jnp.sin(1.0 + jnp.arange(len(values))) * values), values

    loss = jax.grad(weighted, argnums=(0, 1), has_aux=True)
    gradients, values = tiny.jit(loss)(states.astype(table.dtype), table)
    return values, gradients


@pytest.mark.parametrize("kind", KINDS)
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


@pytest.mark.parametrize("kind", KINDS)
def test_equal_steps_have_no_diversity(kind):
    states, table = draw()
    same = jnp.broadcast_to(states[:, :1], states.shape)
    for block in (4, ITEMS):
        got = ensemble.kl_diversity(same, table, 0.1, block, kind)
        np.testing.assert_allclose(got, 0.0, atol=1e-11)


@pytest.mark.parametrize("kind", KINDS)
@given(
    steps=st.integers(2, 3),
    items=st.integers(1, 6),
    block=st.integers(1, 7),
    seed=st.integers(0, 99),
)
@settings(max_examples=5, deadline=None, derandomize=True)
def test_diversity_is_not_negative(kind, steps, items, block, seed):
    states, table = draw(2, steps, items, seed)

    def both(states, table):
        ours = ensemble.kl_diversity(states, table, 1.0, block, kind)
        return ours, direct(states, table, 1.0, kind)

    got, want = tiny.jit(both)(states, table)
    assert (got >= -1e-12).all()
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-11)


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
