"""The log-partition of a table, from which every loss over the catalogue is made.

    A(h) = log sum_n exp(h . e_n),    grad A(h) = sum_n p_n e_n,   p = softmax(h E^T)

Temperatures are divided into h before the call. Both functions are exact and differentiable in h
and in the table. With ``block`` >= N the logits [M, N] are computed once and kept for the backward
pass; otherwise blocks of the catalogue stream through an online maximum and sum, and the backward
pass computes each block again: memory O(M * block), one matrix product more.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Partition(NamedTuple):
    """A(h), and grad A(h): the expected item under softmax."""

    log_sum: Float[Array, " M"]
    expected: Float[Array, "M D"]


class _Online(NamedTuple):
    """Running maximum, and sums scaled by exp(-maximum) over the blocks so far."""

    maximum: Float[Array, " M"]
    total: Float[Array, " M"]
    weighted: Float[Array, "M W"]  # W = D, or 0 where the expected item is not asked for


def log_partition(
    states: Float[Array, "M D"], table: Float[Array, "N D"], block: int
) -> Float[Array, " M"]:
    """A(h) of every state."""
    if block >= table.shape[0]:
        return jax.nn.logsumexp(scores(states, table), axis=-1)
    online = _stream(states, table, block, with_expected=False)
    return online.maximum + jnp.log(online.total)


def log_partition_and_expected(
    states: Float[Array, "M D"], table: Float[Array, "N D"], block: int, hold_items: bool = False
) -> Partition:
    """A(h) and grad A(h) of every state, in one pass over the table.

    Args:
        hold_items: sum p_n * stop_gradient(e_n): the expectation is differentiated through the
            probabilities only.
    """
    if block >= table.shape[0]:
        logits = scores(states, table)
        log_sum = jax.nn.logsumexp(logits, axis=-1)
        items = jax.lax.stop_gradient(table) if hold_items else table
        return Partition(log_sum, jnp.exp(logits - log_sum[:, None]) @ items.astype(logits.dtype))
    online = _stream(states, table, block, with_expected=True, hold_items=hold_items)
    log_sum = online.maximum + jnp.log(online.total)
    return Partition(log_sum, online.weighted / online.total[:, None])


def scores(
    states: Float[Array, "*batch D"], table: Float[Array, "N D"]
) -> Float[Array, "*batch N"]:
    """h . e_n, accumulated in float32 or better."""
    accumulate = jnp.promote_types(states.dtype, jnp.float32)
    dtype = states.dtype
    return jnp.matmul(states, table.astype(dtype).T, preferred_element_type=accumulate)


def _stream(
    states: Array, table: Array, block: int, with_expected: bool, hold_items: bool = False
) -> _Online:
    items, width = table.shape
    blocks = -(-items // block)
    padded = jnp.pad(table, ((0, blocks * block - items), (0, 0)))
    real = jnp.arange(blocks * block).reshape(blocks, block) < items
    dtype = jnp.promote_types(states.dtype, jnp.float32)
    count = states.shape[0]
    start = _Online(
        maximum=jnp.full((count,), -jnp.inf, dtype),
        total=jnp.zeros((count,), dtype),
        weighted=jnp.zeros((count, width if with_expected else 0), dtype),
    )
    step = jax.checkpoint(functools.partial(_add_block, states, hold_items))
    online, _ = jax.lax.scan(step, start, (padded.reshape(blocks, block, width), real))
    return online


def _add_block(
    states: Array, hold_items: bool, online: _Online, block: tuple[Array, Array]
) -> tuple[_Online, None]:
    rows, real = block
    logits = jnp.where(real[None], scores(states, rows), -jnp.inf)
    # The maximum only keeps exp() in range: A does not depend on it, so no gradient flows through.
    maximum = jnp.maximum(online.maximum, jax.lax.stop_gradient(logits.max(axis=-1)))
    shrink = jnp.exp(online.maximum - maximum)
    weights = jnp.exp(logits - maximum[:, None])
    items = jax.lax.stop_gradient(rows) if hold_items else rows
    items = items[:, : online.weighted.shape[1]].astype(weights.dtype)
    weighted = online.weighted * shrink[:, None] + weights @ items
    return _Online(maximum, online.total * shrink + weights.sum(axis=-1), weighted), None
