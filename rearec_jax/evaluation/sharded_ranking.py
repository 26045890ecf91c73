"""Computes ranks where the catalogue is spread over devices (see `losses.sharded`).

Each device of the mesh's axis `model` counts among its items; a rank is one more than the sum of
the counts.
"""

import functools

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int

from rearec_jax.devices.table_rows import DATA, MODEL, filled
from rearec_jax.evaluation import ranking
from rearec_jax.ops.scores import scores


def target_ranks(
    vectors: Float[Array, "M S D"],
    targets: Int[Array, " M"],
    seen: Int[Array, "M L"],
    table: Float[Array, "N D"],
    score_mib: int,
    mesh: Mesh,
) -> Int[Array, "M S"]:
    """Computes `ranking.target_ranks` on the devices of ``mesh``; ``score_mib`` is for each."""
    shared = jax.shard_map(
        functools.partial(_not_lower, table.shape[0], score_mib),
        mesh=mesh,
        in_specs=(*[PartitionSpec(DATA)] * 3, PartitionSpec(MODEL)),
        out_specs=PartitionSpec(DATA),
        check_vma=False,
    )
    count, parts = vectors.shape[0], mesh.shape[DATA]
    vectors, targets, seen = (filled(array, parts) for array in (vectors, targets, seen))
    return 1 + shared(vectors, targets, seen, filled(table, mesh.shape[MODEL]))[:count]


def _not_lower(
    items: int, score_mib: int, vectors: Array, targets: Array, seen: Array, rows: Array
) -> Int[Array, "M S"]:
    """Counts the items of the whole catalogue that do not score lower than the target.

    It goes through the users in blocks, or where few users' scores fit, through the items.
    """
    budget = score_mib * 2**20 // 4
    users = budget // (vectors.shape[1] * rows.shape[0])
    if users >= min(ranking.FEWEST_USERS, vectors.shape[0]):
        local = _in_blocks_of_users(vectors, targets, seen, rows, items, max(1, users))
    else:
        size = max(1, budget // (vectors.shape[0] * vectors.shape[1]))
        local = _in_blocks_of_items(vectors, targets, seen, rows, items, size)
    return jax.lax.psum(local, MODEL)


def _in_blocks_of_users(
    vectors: Array, targets: Array, seen: Array, rows: Array, items: int, users: int
) -> Int[Array, "M S"]:
    first, real = _slice(rows, items)
    row = jnp.arange(rows.shape[0], dtype=jnp.int32)

    def count(example: tuple[Array, Array, Array]) -> Array:
        vectors, target, seen = example
        hidden = _local_ids(seen, first, rows.shape[0])
        every = scores(vectors, rows).at[:, hidden].set(-jnp.inf, mode="drop")
        counts = (row < real) & (row != target - first)
        # The target's score is one of these products, so that exact ties are found as such.
        own = jnp.where((row == target - first)[None], every, 0).sum(axis=1)
        own = jax.lax.psum(own, MODEL)
        return jnp.sum(~(every < own[:, None]) & counts[None], axis=1, dtype=jnp.int32)

    return jax.lax.map(count, (vectors, targets, seen), batch_size=users)


def _in_blocks_of_items(
    vectors: Array, targets: Array, seen: Array, rows: Array, items: int, size: int
) -> Int[Array, "M S"]:
    first, real = _slice(rows, items)
    target = _local_ids(targets, first, rows.shape[0])
    here = target < rows.shape[0]
    threshold = ranking.just_below(vectors, rows[jnp.where(here, target, 0)])
    threshold = jax.lax.psum(jnp.where(here[:, None], threshold, 0), MODEL)
    hidden = _local_ids(seen, first, rows.shape[0])
    return ranking.not_lower(vectors, threshold, target, hidden, rows, size, real)


def _slice(rows: Array, items: int) -> tuple[Int[Array, ""], Int[Array, ""]]:
    """Returns the first id of this device's rows, and how many of them are items."""
    first = jax.lax.axis_index(MODEL).astype(jnp.int32) * rows.shape[0]
    return first, jnp.clip(items - first, 0, rows.shape[0])


def _local_ids(ids: Int[Array, "*shape"], first: Int[Array, ""], size: int) -> Int[Array, "*shape"]:
    """Returns the indices in this device's rows; ``size`` where an item is elsewhere, or none."""
    here = (ids >= first) & (ids < first + size)
    return jnp.where(here, ids - first, size)
