"""Ranks and best items where the catalogue is spread over devices (see `losses.parallel`).

Each device of `model` counts among its own items; a rank is one more than the sum of the counts.
The best items of all are among the best of each.
"""

from collections.abc import Callable
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int

from rearec_jax.devices.table_rows import DATA, MODEL, filled
from rearec_jax.evaluation import ranking
from rearec_jax.evaluation.ranking import Best
from rearec_jax.ops.scores import scores


def target_ranks(
    vectors: Float[Array, "M S D"],
    targets: Int[Array, " M"],
    seen: Int[Array, "M L"],
    table: Float[Array, "N D"],
    score_mib: int,
    mesh: Mesh,
) -> Int[Array, "M S"]:
    """`ranking.target_ranks`, shared by the devices of ``mesh``; ``score_mib`` is of each."""
    count = functools.partial(_not_lower, table.shape[0], score_mib)
    examples = vectors, targets, seen
    found = _shared(mesh, count, examples, table, PartitionSpec(DATA))
    return 1 + found[: vectors.shape[0]]


def top_k(
    vectors: Float[Array, "M D"],
    table: Float[Array, "N D"],
    excluded: Int[Array, "M L"],
    k: int,
    block: int,
    mesh: Mesh,
) -> Best:
    """`ranking.top_k`, shared by the devices of ``mesh``; of equal scores the lower id first."""
    items = table.shape[0]

    def local(vectors: Array, excluded: Array, rows: Array) -> Best:
        first, real = _slice(rows, items)
        hidden = _local_ids(excluded, first, rows.shape[0])
        best = ranking.top_k(vectors, rows, hidden, k, block, real)
        ids = jnp.where(jnp.isneginf(best.scores), items, best.items + first)
        return Best(ids[None], best.scores[None])

    examples = vectors, excluded
    parts = _shared(mesh, local, examples, table, PartitionSpec(MODEL, DATA))
    # Lower ids are in earlier slices, and top_k keeps the first of equals.
    ids, values = (jnp.concatenate(list(part[:, : vectors.shape[0]]), axis=1) for part in parts)
    values, places = jax.lax.top_k(values, k)
    return Best(jnp.take_along_axis(ids, places, axis=1), values)


def _shared(
    mesh: Mesh,
    function: Callable[..., Any],
    examples: tuple[Array, ...],
    table: Array,
    out_specs: PartitionSpec,
) -> Any:
    data, model = mesh.shape[DATA], mesh.shape[MODEL]
    in_specs = (*[PartitionSpec(DATA)] * len(examples), PartitionSpec(MODEL))
    shared = jax.shard_map(
        function, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False
    )
    return shared(*(filled(array, data) for array in examples), filled(table, model))


def _not_lower(
    items: int, score_mib: int, vectors: Array, targets: Array, seen: Array, rows: Array
) -> Int[Array, "M S"]:
    """Items of the whole catalogue that do not score lower than the target, in either way."""
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
    place = jnp.arange(rows.shape[0], dtype=jnp.int32)

    def count(example: tuple[Array, Array, Array]) -> Array:
        vectors, target, seen = example
        hidden = _local_ids(seen, first, rows.shape[0])
        every = scores(vectors, rows).at[:, hidden].set(-jnp.inf, mode="drop")
        counts = (place < real) & (place != target - first)
        # The target's score is one of these products, so that exact ties are found as such.
        own = jnp.where((place == target - first)[None], every, 0).sum(axis=1)
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
    """First id of this device's rows, and how many of them are items."""
    first = jax.lax.axis_index(MODEL).astype(jnp.int32) * rows.shape[0]
    return first, jnp.clip(items - first, 0, rows.shape[0])


def _local_ids(ids: Int[Array, "*shape"], first: Int[Array, ""], size: int) -> Int[Array, "*shape"]:
    """Places in this device's rows; ``size`` where an item is elsewhere, or none."""
    here = (ids >= first) & (ids < first + size)
    return jnp.where(here, ids - first, size)
