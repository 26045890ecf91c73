"""Streaming over the catalogue equals the direct form, in value and gradient."""

import functools

from hypothesis import given, settings
from hypothesis import strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp, softmax

from rearec_jax.losses import partition
from tests import tiny

BLOCKS = [1, 4, 11, 16]  # of 11 items: single ones, no multiple, all, more than all


@pytest.fixture(scope="module", autouse=True)
def float64():
    with tiny.float64():
        yield


def draw(states, items, width, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    shapes = (states, width), (items, width)
    return tuple(jnp.asarray(scale * rng.normal(size=shape)) for shape in shapes)


def close(got, want, tolerance=1e-11, scale=1.0):
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * scale)


def weighted(function, *arguments):
    """A scalar with a different weight for every output, so that no gradient cancels."""
    outputs = jax.tree.leaves(function(*arguments))
    return sum(jnp.sum(jnp.sin(1.0 + jnp.arange(x.size)) * x.ravel()) for x in outputs)


def value_and_gradients(function, states, table):
    return compiled(function)(states, table)


def compiled(function):
    """The value and the gradients of a function of states and table, as one program."""

    def both(states, table):
        loss = jax.grad(lambda s, t: weighted(function, s, t), argnums=(0, 1))
        return function(states, table), loss(states, table)

    return tiny.jit(both)


# Compiled once, and not once an example.
LOG_PARTITION = {
    block: compiled(functools.partial(partition.log_partition, block=block)) for block in BLOCKS
}
BOTH = {
    block: tiny.jit(functools.partial(partition.log_partition_and_expected, block=block))
    for block in BLOCKS
}


class TestLogPartition:
    @pytest.mark.parametrize("block", BLOCKS)
    @given(states=tiny.arrays(3, 2), table=tiny.arrays(11, 2))
    def test_value_and_gradient(self, block, states, table):
        value, (by_state, by_item) = LOG_PARTITION[block](states, table)
        close(value, logsumexp(states @ table.T, axis=-1))
        p = softmax(states @ table.T, axis=-1) * np.sin(1.0 + np.arange(3))[:, None]
        close(by_state, p @ table, scale=30)
        close(by_item, p.T @ states, scale=30)

    @pytest.mark.parametrize("block", BLOCKS)
    @given(states=tiny.arrays(3, 2), table=tiny.arrays(11, 2), shift=tiny.arrays(2))
    def test_moving_all_items_moves_it_by_the_product(self, block, states, table, shift):
        before, after = (LOG_PARTITION[block](states, t)[0] for t in (table, table + shift))
        close(after - before, states @ shift, scale=2_000)

    @given(
        shape=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 3)),
        block=st.integers(1, 10),
        scale=st.sampled_from([0.1, 30.0]),
    )
    @settings(max_examples=6, deadline=None, derandomize=True)
    def test_any_shape(self, shape, block, scale):
        states, table = draw(*shape, scale=scale)
        got = tiny.jit(lambda s, t: partition.log_partition(s, t, block))(states, table)
        close(got, logsumexp(states @ table.T, axis=-1))


class TestExpectedItem:
    @pytest.mark.parametrize("block", BLOCKS)
    @given(states=tiny.arrays(3, 2), table=tiny.arrays(11, 2))
    def test_value(self, block, states, table):
        log_sum, expected = BOTH[block](states, table)
        close(log_sum, logsumexp(states @ table.T, axis=-1))
        close(expected, softmax(states @ table.T, axis=-1) @ table, scale=30)

    @pytest.mark.parametrize("hold", [False, True])
    @pytest.mark.parametrize("block", [4, 11])
    def test_value_and_gradient(self, block, hold):
        states, table = draw(3, 11, 5)

        def direct(states, table):
            logits = states @ table.T
            items = jax.lax.stop_gradient(table) if hold else table
            return jax.nn.logsumexp(logits, axis=-1), jax.nn.softmax(logits, axis=-1) @ items

        def ours(states, table):
            return partition.log_partition_and_expected(states, table, block, hold_items=hold)

        got, want = (value_and_gradients(f, states, table) for f in (ours, direct))
        jax.tree.map(close, (tuple(got[0]), got[1]), want)

    def test_is_the_gradient_of_the_log_partition(self):
        states, table = draw(3, 11, 5)
        want = jax.grad(lambda s: partition.log_partition(s, table, 11).sum())(states)
        close(partition.log_partition_and_expected(states, table, 4).expected, want)


class TestSecondDerivative:
    """The hand-written backward pass is made of plain operations."""

    @pytest.mark.parametrize("block", [4, 11])
    def test_hessian_is_the_covariance_of_the_items(self, block):
        states, table = draw(1, 11, 3)

        def log_sum(state):
            return partition.log_partition(state[None], table, block)[0]

        got = tiny.jit(jax.jacrev(jax.grad(log_sum)))(states[0])
        p = softmax(np.asarray(states[0] @ table.T))
        mean = p @ np.asarray(table)
        table = np.asarray(table)
        close(got, (table.T * p) @ table - np.outer(mean, mean), 1e-10)

    def test_expected_item(self):
        states, table = draw(2, 7, 3)

        def second(block):
            def loss(states):
                return weighted(
                    lambda s, t: partition.log_partition_and_expected(s, t, block), states, table
                )

            return tiny.jit(jax.grad(lambda states: jax.grad(loss)(states).sum()))(states)

        close(second(3), second(7), 1e-9)


class TestCandidates:
    WEIGHTS = np.array([1, 2, 0.5, 0, 1, 0, 1, 1, 0, 0, 1])
    KEYS = np.array([0, 1, 2]), np.array([0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 4])

    @pytest.mark.parametrize("block", [2, 4, 11])
    def test_value_and_gradient(self, block):
        states, table = draw(3, 11, 5)
        of_states, of_items = self.KEYS
        with np.errstate(divide="ignore"):
            keys = partition.Candidates(*map(jnp.asarray, (*self.KEYS, np.log(self.WEIGHTS))))
        counted = (self.WEIGHTS > 0)[None] & (of_states[:, None] != of_items[None])
        value, (by_state, by_item) = value_and_gradients(
            lambda s, t: partition.log_partition(s, t, block, keys), states, table
        )
        log_weight = np.log(np.where(self.WEIGHTS > 0, self.WEIGHTS, 1.0))
        logits = np.where(counted, np.asarray(states @ table.T) + log_weight, -np.inf)
        close(value, logsumexp(logits, axis=-1))
        p = softmax(logits, axis=-1) * np.sin(1.0 + np.arange(3))[:, None]
        close(by_state, p @ table)
        close(by_item, p.T @ states)

    @pytest.mark.parametrize("block", [4, 11])
    def test_a_state_without_items(self, block):
        states, table = draw(2, 11, 5)
        nothing = partition.Candidates(jnp.asarray([0, 1]), jnp.zeros(11, int), jnp.zeros(11))
        value = partition.log_partition(states, table, block, nothing)
        assert value[0] == -np.inf and np.isfinite(value[1])

        def loss(states):
            return jnp.logaddexp(partition.log_partition(states, table, block, nothing), 1.0).sum()

        gradient = jax.grad(loss)(states)
        assert not gradient[0].any() and gradient[1].any() and np.isfinite(gradient).all()


@pytest.mark.parametrize("block", [3, 11])
@pytest.mark.parametrize("offset", [-3000.0, 3000.0], ids=["low", "high"])
def test_large_scores_do_not_overflow(block, offset):
    states, table = draw(3, 11, 5, scale=30.0)
    states, table = states.at[:, 0].set(offset).astype("float32"), table.astype("float32")
    table = table.at[:, 0].set(1.0)  # so that every score is shifted by the offset

    def ours(states, table):
        return partition.log_partition_and_expected(states, table, block)

    (log_sum, expected), gradients = value_and_gradients(ours, states, table)
    scores = np.float64(states) @ np.float64(table).T
    assert abs(scores).max() > 1000  # exp() of which no float32 holds
    np.testing.assert_allclose(log_sum, logsumexp(scores, axis=-1), rtol=1e-5)
    assert np.isfinite(expected).all()
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def sizes(jaxpr):
    """Elements of every array that a computation makes, also inside its loops."""
    for equation in jaxpr.eqns:
        yield from (v.aval.size for v in equation.outvars if hasattr(v.aval, "size"))
        for parameter in jax.tree.leaves(
            equation.params, is_leaf=lambda x: hasattr(x, "eqns") or hasattr(x, "jaxpr")
        ):
            inner = getattr(parameter, "jaxpr", parameter)
            if hasattr(inner, "eqns"):
                yield from sizes(inner)


@pytest.mark.parametrize(
    "function", [partition.log_partition, partition.log_partition_and_expected]
)
def test_streaming_never_holds_the_logits(function):
    states, table = draw(64, 1000, 2)

    def largest(block):
        whole = jax.value_and_grad(
            lambda s, t: weighted(lambda s, t: function(s, t, block), s, t), argnums=(0, 1)
        )
        return max(sizes(jax.make_jaxpr(whole)(states, table).jaxpr))

    assert largest(1000) >= 64 * 1000
    assert largest(50) < 64 * 1000 / 8


def test_bfloat16_sums_in_float32():
    states, table = (x.astype("float32") for x in draw(3, 3000, 4, scale=0.3))
    rounded = states.astype("bfloat16"), table.astype("bfloat16")
    for block in (700, 3000):
        got = partition.log_partition(rounded[0], table, block)
        assert got.dtype == jnp.float32
        want = logsumexp(np.float64(rounded[0]) @ np.float64(rounded[1]).T, axis=-1)
        np.testing.assert_allclose(got, want, rtol=1e-4)


def test_bfloat16_gradients_are_those_of_float32_to_three_digits():
    """Operands of the products are rounded to 8 bits; sums, exponentials and A stay float32."""
    states, table = (x.astype("float32") for x in draw(8, 300, 16, scale=0.5))
    rounded = tuple(x.astype("bfloat16") for x in (states, table))

    def gradients(states, table):
        def loss(states, table):
            parts = partition.log_partition_and_expected(states, table, 64)
            return parts.log_sum.sum() + (parts.expected**2).sum()

        return jax.grad(loss, argnums=(0, 1))(states, table)

    exact = gradients(*(x.astype("float32") for x in rounded))
    for got, want in zip(gradients(*rounded), exact, strict=True):
        assert got.dtype == jnp.bfloat16
        assert np.linalg.norm(np.float32(got) - want) < 0.01 * np.linalg.norm(want)
