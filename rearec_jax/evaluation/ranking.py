"""Ranks of targets and lists of the best items, without an array of all users times all items.

The work is cut in one of two ways. With few items, a block of users is scored against the whole
catalogue at once. With many items, all users of the batch are scored against one block of the
catalogue after another, so that the table is read once for all of them and not once for every few.

Either way the score of a target is one number of a product that scores other items too. So it is
rounded as theirs are, by accelerators that multiply float32 as bfloat16 or TF32 as well, and equal
items tie exactly.

Where the catalogue is split over devices, each device of `model` counts among its items, and a rank
is 1 + the sum of the counts. `losses.sharded` splits the arrays in the same way.
"""

from collections.abc import Callable
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Bool, Float, Int

from rearec_jax.devices.mesh import DATA, MODEL, ONE, Devices, filled
from rearec_jax.ops.scores import scores

FEWEST_USERS = 32  # the fewest users in a block, below which blocks of items are better


class Examples(NamedTuple):
    """Examples whose targets are ranked.

    vectors: The S vectors of each example that score the items.
    targets: The ids of the targets.
    seen:    The ids of the items that are not ranked, N where there is none; L may be 0. The target
             is not among them.
    """

    vectors: Float[Array, "M S D"]
    targets: Int[Array, " M"]
    seen: Int[Array, "M L"]


class Best(NamedTuple):
    """The k best items of each row and their scores, best first; N and -inf if there are fewer."""

    items: Int[Array, "M k"]
    scores: Float[Array, "M k"]


class _Slice(NamedTuple):
    """The rows of the catalogue on this device, which are all of them where there is no mesh.

    rows:  The vectors; those of no item may follow the last item.
    first: The id of the first row.
    end:   The id after that of the last item.
    total: Sums an array over the devices that share the catalogue.
    """

    rows: Float[Array, "n D"]
    first: int | Int[Array, ""]
    end: int | Int[Array, ""]
    total: Callable[[Array], Array]

    def of_items(self, values: Array, ids: Int[Array, "*M"], axis: int = 0) -> Array:
        """Returns the values of items, which lie along an axis, from the devices that hold them."""
        index = ids - self.first
        here = (index >= 0) & (index < values.shape[axis])
        found = jnp.take(values, index, axis, mode="clip")
        here = here.reshape(here.shape + (1,) * (found.ndim - here.ndim))
        return self.total(jnp.where(here, found, 0))


def target_ranks(
    examples: Examples, table: Float[Array, "N D"], score_mib: int, devices: Devices = ONE
) -> Int[Array, "M S"]:
    """Computes ranks: 1 + the items, except those seen, that score higher than the target or equal.

    Args:
        score_mib: The MiB of a block of scores on each device.
        devices: The devices that share examples and catalogue.
    """
    items = table.shape[0]
    if devices.mesh is None:
        return 1 + _count_in_blocks(examples, _Slice(table, 0, items, lambda x: x), score_mib)

    def count(examples: Examples, rows: Array) -> Array:
        first = jax.lax.axis_index(MODEL).astype(jnp.int32) * rows.shape[0]
        total = functools.partial(jax.lax.psum, axis_name=MODEL)
        end = jnp.minimum(first + rows.shape[0], items)
        return total(_count_in_blocks(examples, _Slice(rows, first, end, total), score_mib))

    of_slices = devices.shared(
        count, (PartitionSpec(DATA), PartitionSpec(MODEL)), PartitionSpec(DATA)
    )
    of_devices = jax.tree.map(lambda array: filled(array, devices.data), examples)
    better = of_slices(of_devices, filled(table, devices.model))
    return 1 + better[: examples.vectors.shape[0]]


def _count_in_blocks(examples: Examples, part: _Slice, score_mib: int) -> Int[Array, "M S"]:
    """Counts the items of a slice that do not score lower than the target."""
    count, vectors, _ = examples.vectors.shape
    budget = score_mib * 2**20 // 4
    users = budget // (vectors * part.rows.shape[0])
    if users >= min(FEWEST_USERS, count):
        return _in_blocks_of_users(examples, part, max(1, users))
    return _in_blocks_of_items(examples, part, max(1, budget // (count * vectors)))


def _in_blocks_of_users(examples: Examples, part: _Slice, users: int) -> Int[Array, "M S"]:
    def count(example: Examples) -> Array:
        vectors, target, seen = example
        found = scores(vectors, part.rows)
        ids = part.first + jnp.arange(part.rows.shape[0])
        own = part.of_items(found, target, axis=1)
        return count_not_lower(found, own, _others(ids, part, target, seen)[None])

    return jax.lax.map(count, examples, batch_size=users)


def _in_blocks_of_items(examples: Examples, part: _Slice, size: int) -> Int[Array, "M S"]:
    vectors, targets, seen = examples
    count = targets.shape[0]
    # The targets come first, so that their scores are known when the first item is compared.
    rows = jnp.concatenate([part.of_items(part.rows, targets), part.rows])

    def add(carry: tuple[Array, Array], block: tuple[Array, Array]) -> tuple[Any, None]:
        own, better = carry
        start, rows = block
        found = scores(vectors, rows)
        column = jnp.arange(count) - start
        here = (column >= 0) & (column < size)
        column = jnp.where(here, column, 0)[:, None, None]
        own = jnp.where(here[:, None], jnp.take_along_axis(found, column, axis=2)[..., 0], own)
        ids = part.first - count + start + jnp.arange(size)
        others = jax.vmap(lambda target, seen: _others(ids, part, target, seen))(targets, seen)
        return (own, better + count_not_lower(found, own, others[:, None])), None

    none = jnp.zeros(vectors.shape[:2], jnp.promote_types(vectors.dtype, jnp.float32))
    carry = none, none.astype(jnp.int32)
    return jax.lax.scan(add, carry, _blocks(rows, size))[0][1]


def count_not_lower(
    found: Float[Array, "*M n"], own: Float[Array, "*M"], counted: Bool[Array, "... n"]
) -> Int[Array, "*M"]:
    """Counts the items that score as high as the target or higher, among those that count.

    Ties count against the target, so that a constant score gives the rank N. So does NaN, on either
    side: a target whose score is NaN has the rank N, and an item whose score is NaN ranks above
    every target.
    """
    # "Not lower", rather than "higher or equal", is true of NaN.
    return jnp.sum(~(found < own[..., None]) & counted, axis=-1, dtype=jnp.int32)


def top_k(
    vectors: Float[Array, "M D"],
    table: Float[Array, "N D"],
    excluded: Int[Array, "M L"],
    k: int,
    block: int,
) -> Best:
    """Finds the k items of the highest scores for each vector; of equal scores the lower id first.

    Args:
        excluded: The ids of items that are not listed, N where there is none; L may be 0.
        block: The number of items in a block of the catalogue.
    """
    count, items = vectors.shape[0], table.shape[0]
    dtype = jnp.promote_types(vectors.dtype, jnp.float32)
    allowed = jax.vmap(_allowed, in_axes=(None, 0))

    def merge(best: Best, block: tuple[Array, Array]) -> tuple[Best, None]:
        start, rows = block
        ids = start + jnp.arange(rows.shape[0])
        listed = allowed(ids, excluded) & (ids < items)[None]
        found = jnp.where(listed, scores(vectors, rows), -jnp.inf)
        # The best of earlier blocks come first, because top_k keeps the first of equals.
        both = jnp.concatenate([best.scores, found], axis=1)
        values, columns = jax.lax.top_k(both, k)
        ids = jnp.concatenate([best.items, jnp.broadcast_to(ids, found.shape)], axis=1)
        ids = jnp.take_along_axis(ids, columns, axis=1)
        return Best(jnp.where(jnp.isneginf(values), items, ids), values), None

    nothing = Best(jnp.full((count, k), items), jnp.full((count, k), -jnp.inf, dtype))
    return jax.lax.scan(merge, nothing, _blocks(table, min(block, table.shape[0])))[0]


def _blocks(table: Array, size: int) -> tuple[Int[Array, " blocks"], Float[Array, "blocks n D"]]:
    """Returns the index of the first row and the rows of each block; zeros fill the last one."""
    number = -(-table.shape[0] // size)
    padded = jnp.pad(table, ((0, number * size - table.shape[0]), (0, 0)))
    return jnp.arange(number) * size, padded.reshape(number, size, -1)


def _others(
    ids: Int[Array, " n"], part: _Slice, target: Int[Array, ""], seen: Int[Array, " L"]
) -> Bool[Array, " n"]:
    """Says which of consecutive ids are items of the slice, neither the target nor seen."""
    return _allowed(ids, seen) & (ids >= part.first) & (ids < part.end) & (ids != target)


def _allowed(ids: Int[Array, " n"], hidden: Int[Array, " L"]) -> Bool[Array, " n"]:
    """Says which of consecutive ids are not hidden."""
    size = ids.shape[0]
    columns = hidden - ids[0]
    columns = jnp.where(columns >= 0, columns, size)
    return jnp.ones(size, bool).at[columns].set(False, mode="drop")
