"""The log-partition of a table, and its gradient, of which losses over a catalogue are made.

    A(h) = log sum_n exp(h . e_n),    X(h) = grad A(h) = sum_n p_n e_n,    p = softmax(h E^T)

The caller divides h by the temperature. With ``block`` >= N the logits [M, N] are computed once and
kept for the backward pass. Otherwise a maximum and a sum are kept over blocks of the catalogue, and
a hand-written backward pass computes each block again: it takes memory O(M * block) in both
directions and one more matrix product, for the same values. With cotangents a of A and x of X,

    w_n = p_n (a + x . (e_n - X)),    dh = sum_n w_n e_n,    de_n = sum_m w_mn h_m + p_mn x_m

which are plain operations, so that they can be differentiated again.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rearec_jax.ops.scores import product, scores


class Partition(NamedTuple):
    """A(h) and X(h), the expected item under softmax."""

    log_sum: Float[Array, " M"]
    expected: Float[Array, "M D"]


class Candidates(NamedTuple):
    """The items that count for each state, and their weights in sum_n weight_n exp(h . e_n).

    An item does not count where its weight is 0, nor, where there are keys, for a state of the same
    key. A state for which no item counts has A = -inf and no gradient. All are constants, by which
    nothing is differentiated.

    of_states:  The keys of the states.
    of_items:   The keys of the items.
    log_weight: The logarithms of the items' weights.
    """

    of_states: Int[Array, " M"] | None
    of_items: Int[Array, " N"] | None
    log_weight: Float[Array, " N"]


class _Options(NamedTuple):
    """The static arguments of the streaming passes.

    block:         The number of items in a block.
    with_expected: Whether X is computed besides A.
    hold_items:    Whether X is differentiated only through the probabilities.
    """

    block: int
    with_expected: bool
    hold_items: bool


class _Block(NamedTuple):
    """A block of the catalogue, with the weights and keys of its items."""

    rows: Float[Array, "n D"]
    log_weight: Float[Array, " n"]
    keys: Int[Array, " n"] | None


def log_partition(
    states: Float[Array, "M D"],
    table: Float[Array, "N D"],
    block: int,
    candidates: Candidates | None = None,
) -> Float[Array, " M"]:
    """Computes A(h) of every state."""
    if block < table.shape[0]:
        options = _Options(block, with_expected=False, hold_items=False)
        return _stream(options, states, table, candidates).log_sum
    logits = scores(states, table)
    if candidates is None:
        return jax.nn.logsumexp(logits, axis=-1)
    whole = _whole(table, candidates, logits.dtype)
    counted = _counted(whole, candidates)
    logits += jnp.where(jnp.isneginf(whole.log_weight), 0.0, whole.log_weight)[None]
    # With `where` logsumexp gives -inf where nothing counts, and a gradient of 0.
    return jax.nn.logsumexp(logits, axis=-1, where=jnp.broadcast_to(counted, logits.shape))


def log_partition_and_expected(
    states: Float[Array, "M D"],
    table: Float[Array, "N D"],
    block: int,
    hold_items: bool = False,
    candidates: Candidates | None = None,
) -> Partition:
    """Computes A(h) and X(h) of every state, in one pass over the table.

    Args:
        hold_items: Whether X is sum p_n * stop_gradient(e_n), differentiated only through the
            probabilities.
        candidates: The items that count, of which every state needs at least one.
    """
    if block < table.shape[0]:
        options = _Options(block, with_expected=True, hold_items=hold_items)
        return _stream(options, states, table, candidates)
    logits = scores(states, table)
    if candidates is not None:
        whole = _whole(table, candidates, logits.dtype)
        logits = jnp.where(_counted(whole, candidates), logits + whole.log_weight[None], -jnp.inf)
    log_sum = jax.nn.logsumexp(logits, axis=-1)
    items = jax.lax.stop_gradient(table) if hold_items else table
    return Partition(log_sum, product(jnp.exp(logits - log_sum[:, None]), items, states.dtype))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _stream(
    options: _Options, states: Array, table: Array, candidates: Candidates | None = None
) -> Partition:
    return _forward(options, states, table, candidates)


def _forward(
    options: _Options, states: Array, table: Array, candidates: Candidates | None
) -> Partition:
    """Computes A and X by an online softmax, whose sums are scaled by exp(-maximum so far)."""
    count, width = states.shape[0], table.shape[1] if options.with_expected else 0
    dtype = jnp.promote_types(states.dtype, jnp.float32)

    def add(
        carry: tuple[Array, Array, Array], block: _Block
    ) -> tuple[tuple[Array, Array, Array], None]:
        maximum, total, weighted = carry
        counted = _counted(block, candidates)
        logits = scores(states, block.rows) + block.log_weight[None]
        logits = jnp.where(counted, logits, -jnp.inf)
        new_maximum = jnp.maximum(maximum, logits.max(axis=-1))
        # Until the first item that counts the maximum is -inf, and -inf - -inf is not a number.
        reference = jnp.where(jnp.isneginf(new_maximum), 0.0, new_maximum)
        shrink = jnp.exp(maximum - reference)
        weights = jnp.exp(logits - reference[:, None])
        if options.with_expected:
            weighted = weighted * shrink[:, None] + product(weights, block.rows, states.dtype)
        return (new_maximum, total * shrink + weights.sum(axis=-1), weighted), None

    start = (
        jnp.full((count,), -jnp.inf, dtype),
        jnp.zeros((count,), dtype),
        jnp.zeros((count, width), dtype),
    )
    blocks = _blocks(options.block, table, candidates, dtype)
    (maximum, total, weighted), _ = jax.lax.scan(add, start, blocks)
    return Partition(maximum + jnp.log(total), weighted / total[:, None])


def _forward_and_keep(
    options: _Options, states: Array, table: Array, candidates: Candidates | None
) -> tuple[Partition, tuple[Array, Array, Candidates | None, Partition]]:
    result = _forward(options, states, table, candidates)
    return result, (states, table, candidates, result)


def _backward(
    options: _Options,
    kept: tuple[Array, Array, Candidates | None, Partition],
    cotangents: Partition,
) -> tuple[Array, Array, None]:
    """Computes the gradients by the formulas at the top of this file, a block at a time."""
    states, table, candidates, (log_sum, expected) = kept
    of_sum, of_expected = cotangents
    slope = of_sum
    if options.with_expected:
        slope -= jnp.sum(of_expected * expected, axis=-1)
    reference = jnp.where(jnp.isneginf(log_sum), 0.0, log_sum)

    def pull_back(by_state: Array, block: _Block) -> tuple[Array, Array]:
        logits = scores(states, block.rows) + block.log_weight[None]
        p = jnp.where(_counted(block, candidates), jnp.exp(logits - reference[:, None]), 0.0)
        w = slope[:, None]
        if options.with_expected:
            w += product(of_expected, block.rows.T, states.dtype)
        w = p * w
        by_item = product(w.T, states, states.dtype)
        if options.with_expected and not options.hold_items:
            by_item += product(p.T, of_expected, states.dtype)
        return by_state + product(w, block.rows, states.dtype), by_item

    start = jnp.zeros(states.shape, log_sum.dtype)
    blocks = _blocks(options.block, table, candidates, log_sum.dtype)
    by_state, by_item = jax.lax.scan(pull_back, start, blocks)
    by_item = by_item.reshape(-1, table.shape[1])[: table.shape[0]]
    return by_state.astype(states.dtype), by_item.astype(table.dtype), None


_stream.defvjp(_forward_and_keep, _backward)


def _blocks(size: int, table: Array, candidates: Candidates | None, dtype: jnp.dtype) -> _Block:
    """Cuts the table, weights and keys into [blocks, size, ...], and pads the last block."""
    whole = _whole(table, candidates, dtype)
    number = -(-table.shape[0] // size)
    padding = number * size - table.shape[0]

    def cut(array: Array, fill: float = 0) -> Array:
        ends = [(0, padding)] + [(0, 0)] * (array.ndim - 1)
        padded = jnp.pad(array, ends, constant_values=fill)
        return padded.reshape(number, size, *array.shape[1:])

    keys = None if whole.keys is None else cut(whole.keys)
    return _Block(cut(whole.rows), cut(whole.log_weight, -jnp.inf), keys)


def _whole(table: Array, candidates: Candidates | None, dtype: jnp.dtype) -> _Block:
    if candidates is None:
        return _Block(table, jnp.zeros(table.shape[0], dtype), None)
    return _Block(table, candidates.log_weight.astype(dtype), candidates.of_items)


def _counted(block: _Block, candidates: Candidates | None) -> Bool[Array, "_ n"]:
    """Says which items count, [M, n], or [1, n] where it is the same for every state."""
    counts = ~jnp.isneginf(block.log_weight)[None]
    if candidates is None or candidates.of_states is None or block.keys is None:
        return counts
    return counts & (candidates.of_states[:, None] != block.keys[None])
