"""Ranks where the catalogue is split over devices, as `losses.sharded` splits it.

Each device of `model` counts among its items, and a rank is 1 + the sum of the counts.
"""

import functools

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int

from rearec_jax.devices.table_rows import DATA, MODEL, filled, over_mesh
from rearec_jax.evaluation import ranking
from rearec_jax.evaluation.ranking import Examples
from rearec_jax.ops.scores import scores


def target_ranks(
    examples: Examples, table: Float[Array, "N D"], score_mib: int, mesh: Mesh
) -> Int[Array, "M S"]:
    """Computes `ranking.target_ranks` on the devices of ``mesh`` together.

    Args:
        score_mib: The MiB of a block of scores on each device.
    """
    count = functools.partial(_count_not_lower, table.shape[0], score_mib)
    in_specs = PartitionSpec(DATA), PartitionSpec(MODEL)
    padded = jax.tree.map(lambda array: filled(array, mesh.shape[DATA]), examples)
    counts = over_mesh(mesh, count, in_specs, PartitionSpec(DATA))
    found = counts(padded, filled(table, mesh.shape[MODEL]))
    return 1 + found[: examples.vectors.shape[0]]


def _count_not_lower(
    items: int, score_mib: int, examples: Examples, rows: Array
) -> Int[Array, "M S"]:
    """Counts the items of the whole catalogue that do not score lower than the target."""
    count, vectors, _ = examples.vectors.shape
    budget = score_mib * 2**20 // 4
    users = budget // (vectors * rows.shape[0])
    if users >= min(ranking.FEWEST_USERS, count):
        local = _in_blocks_of_users(examples, rows, items, max(1, users))
    else:
        local = _in_blocks_of_items(examples, rows, items, max(1, budget // (count * vectors)))
    return jax.lax.psum(local, MODEL)


def _in_blocks_of_users(
    examples: Examples, rows: Array, items: int, users: int
) -> Int[Array, "M S"]:
    first, real = _slice(rows, items)
    index = jnp.arange(rows.shape[0], dtype=jnp.int32)

    def count(example: Examples) -> Array:
        vectors, target, seen = example
        hidden = _local_ids(seen, first, rows.shape[0])
        every = scores(vectors, rows).at[:, hidden].set(-jnp.inf, mode="drop")
        counts = (index < real) & (index != target - first)
        # The target's score is one of these products, so that exact ties are found as such.
        of_target = jnp.where((index == target - first)[None], every, 0).sum(axis=1)
        of_target = jax.lax.psum(of_target, MODEL)
        return jnp.sum(~(every < of_target[:, None]) & counts[None], axis=1, dtype=jnp.int32)

    return jax.lax.map(count, examples, batch_size=users)


def _in_blocks_of_items(
    examples: Examples, rows: Array, items: int, size: int
) -> Int[Array, "M S"]:
    vectors, targets, seen = examples
    first, real = _slice(rows, items)
    target = _local_ids(targets, first, rows.shape[0])
    here = target < rows.shape[0]
    threshold = ranking.just_below(vectors, rows[jnp.where(here, target, 0)])
    threshold = jax.lax.psum(jnp.where(here[:, None], threshold, 0), MODEL)
    local = Examples(vectors, target, _local_ids(seen, first, rows.shape[0]))
    return ranking.count_not_lower(local, threshold, rows, size, real)


def _slice(rows: Array, items: int) -> tuple[Int[Array, ""], Int[Array, ""]]:
    """Returns the first id of the rows of this device, and how many of them are items."""
    first = jax.lax.axis_index(MODEL).astype(jnp.int32) * rows.shape[0]
    return first, jnp.clip(items - first, 0, rows.shape[0])


def _local_ids(ids: Int[Array, "*shape"], first: Int[Array, ""], size: int) -> Int[Array, "*shape"]:
    """Returns indices in the rows of this device; ``size`` where an item is elsewhere, or none."""
    here = (ids >= first) & (ids < first + size)
    return jnp.where(here, ids - first, size)
