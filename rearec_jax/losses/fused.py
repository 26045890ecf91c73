"""A weighted cross-entropy over a table whose forward pass computes the gradients as well.

It takes a block of queries at a time, small enough that its logits stay in the cache of a CPU. With
weights w, and s = sum_n exp(h . e_n - max) of a state:

    total = sum_m w_m CE_m
    dh_m = (w_m / s_m) exp(..) E - w_m e_y,    dE^T = (w_m / s_m h_m)^T exp(..), less w_m h_m at y

The backward pass only scales both by a number. So the logits never go to memory, exp is taken once,
and there are three matrix products, one for the logits and one for each gradient.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rearec_jax.losses.partition import Candidates
from rearec_jax.ops.matmul import transposed
from rearec_jax.ops.scores import product, scores

CACHE_BYTES = 12 * 2**20  # the size of a block's logits: a third of a usual last-level cache
FEWEST_ROWS = 128  # fewer do not pay, as a block reads and writes the gradient of the whole table
MOST_BYTES = 64 * 2**20  # the limit of a block's logits, beyond which there are no blocks


class Weighted(NamedTuple):
    """The weighted sum, which can be differentiated, and the value of each state, which cannot."""

    total: Float[Array, ""]
    values: Float[Array, " M"]


class _Inputs(NamedTuple):
    """The arguments of `weighted_cross_entropy` by which it can be differentiated."""

    states: Float[Array, "M D"]
    table: Float[Array, "N D"]
    weights: Float[Array, " M"]


class _Constants(NamedTuple):
    """The arguments of `weighted_cross_entropy` by which it cannot be differentiated."""

    targets: Int[Array, " M"]
    candidates: Candidates | None


class _Block(NamedTuple):
    """A block of states with their weights, targets and keys."""

    states: Float[Array, "m D"]
    weights: Float[Array, " m"]
    targets: Int[Array, " m"]
    keys: Int[Array, " m"] | None


def rows_a_block(items: int, logits_gib: float) -> int:
    """Returns the number of queries in a block; 0 where the catalogue is too large for blocks.

    It is the same on every kind of device, so that a program can be planned on another machine.

    Args:
        logits_gib: The GiB that a block's logits and their exponentials may take together.
    """
    rows = max(FEWEST_ROWS, CACHE_BYTES // (4 * items))
    fits = 4 * items * rows <= MOST_BYTES and 2 * 4 * items * rows <= logits_gib * 2**30
    return rows if fits else 0


def weighted_cross_entropy(
    states: Float[Array, "M D"],
    targets: Int[Array, " M"],
    table: Float[Array, "N D"],
    weights: Float[Array, " M"],
    rows: int,
    candidates: Candidates | None = None,
) -> Weighted:
    """Computes sum_m w_m CE(h_m, y_m) of states divided by their temperatures, and each CE.

    Args:
        rows: The most queries in a block; all blocks have the same size.
        candidates: The items that compete with a target, which itself counts once in any case.
    """
    total, values = _weighted(
        rows, _Inputs(states, table, weights), _Constants(targets, candidates)
    )
    return Weighted(total, jax.lax.stop_gradient(values))


def _sums(
    rows: int, inputs: _Inputs, constants: _Constants, with_gradients: bool
) -> tuple[tuple[Array, Array], tuple[Array, Array] | None]:
    """Computes the sum, the values, and the gradients by states and table (formulas above)."""
    states, table, weights = inputs
    targets, candidates = constants
    dtype = jnp.promote_types(states.dtype, jnp.float32)
    of_targets = table[targets].astype(states.dtype)
    weights = weights.astype(dtype)

    def block(by_item: Array, some: _Block) -> tuple[Array, tuple[Array, Array]]:
        h, weight = some.states, some.weights
        logits = scores(h, table)
        if candidates is not None:
            logits = _against(candidates, logits, some)
        maximum = logits.max(axis=-1)
        exponentials = jnp.exp(logits - maximum[:, None])
        total = exponentials.sum(axis=-1)
        log_sum = maximum + jnp.log(total)
        if not with_gradients:
            return by_item, (log_sum, h)
        scale = (weight / total)[:, None]
        by_state = scale * product(exponentials, table, h.dtype)
        by_item += product(transposed(scale * h.astype(dtype)), exponentials, h.dtype)
        return by_item, (log_sum, by_state)

    start = jnp.zeros(table.shape[::-1] if with_gradients else (), dtype)  # dE^T
    keys = None if candidates is None else candidates.of_states
    blocks = jax.tree.map(lambda x: _cut(x, rows), _Block(states, weights, targets, keys))
    by_item, (log_sum, by_state) = jax.lax.scan(block, start, blocks)
    count = states.shape[0]
    values = log_sum.reshape(-1)[:count] - jnp.sum(states * of_targets, axis=-1, dtype=dtype)
    sums = jnp.sum(weights * values), values
    if not with_gradients:
        return sums, None
    by_state = by_state.reshape(-1, states.shape[1])[:count]
    by_state -= weights[:, None] * of_targets.astype(dtype)
    by_item = by_item.T.at[targets].add(-weights[:, None] * states.astype(dtype))
    return sums, (by_state.astype(states.dtype), by_item.astype(table.dtype))


def _against(
    candidates: Candidates, logits: Float[Array, "m N"], some: _Block
) -> Float[Array, "m N"]:
    """Weights the logits; they are -inf for items that neither are the target nor compete."""
    weighted = logits + candidates.log_weight.astype(logits.dtype)[None]
    if some.keys is not None and candidates.of_items is not None:
        other = some.keys[:, None] != candidates.of_items[None]
        weighted = jnp.where(other, weighted, -jnp.inf)
    items = jnp.arange(logits.shape[1])
    return jnp.where(some.targets[:, None] == items[None], logits, weighted)


def _cut(array: Array, rows: int) -> Array:
    """Cuts an array into blocks of equal size, [blocks, rows, ...]; zeros fill the last one."""
    count = array.shape[0]
    number = -(-count // max(rows, 1))
    size = -(-count // number)
    ends = [(0, number * size - count)] + [(0, 0)] * (array.ndim - 1)
    return jnp.pad(array, ends).reshape(number, size, *array.shape[1:])


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _weighted(rows: int, inputs: _Inputs, constants: _Constants) -> tuple[Array, Array]:
    return _sums(rows, inputs, constants, with_gradients=False)[0]


def _weighted_forward(
    rows: int, inputs: _Inputs, constants: _Constants
) -> tuple[tuple[Array, Array], _Inputs]:
    sums, gradients = _sums(rows, inputs, constants, with_gradients=True)
    assert gradients is not None
    return sums, _Inputs(*gradients, sums[1].astype(inputs.weights.dtype))


def _weighted_backward(
    rows: int, kept: _Inputs, cotangents: tuple[Array, Array]
) -> tuple[_Inputs, None]:
    return jax.tree.map(lambda array: array * cotangents[0].astype(array.dtype), kept), None


_weighted.defvjp(_weighted_forward, _weighted_backward)
