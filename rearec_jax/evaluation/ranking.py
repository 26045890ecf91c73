"""Ranks of targets and lists of the best items, without ever holding [users, items].

Two ways of cutting the same work. Few items: a block of users against the whole catalogue at once;
the target's own score is one of those products, so exact ties are found as such. Many items: all
users of the batch against a block of the catalogue after another, so that the table is read once
for all of them and not once for every few.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rearec_jax.ops.scores import scores

FEWEST_USERS = 32  # in a block; below that, blocks of the catalogue
# Another order of summation may give a target's own score another last digit: in blocks of the
# catalogue, scores that are this near count as ties, against us. Relative to the sum of the
# products' magnitudes: where they cancel, the score itself is no measure of its error.
NEARLY = 1e-6


class Best(NamedTuple):
    """The k best items of each row, best first; N and -inf where there are fewer."""

    items: Int[Array, "M k"]
    scores: Float[Array, "M k"]


def target_ranks(
    vectors: Float[Array, "M S D"],
    targets: Int[Array, " M"],
    seen: Int[Array, "M L"],
    table: Float[Array, "N D"],
    score_mib: int,
) -> Int[Array, "M S"]:
    """1 + the items, those ``seen`` aside, that score higher than the target or equal.

    Args:
        seen: item ids, N where there is none; L may be 0. The target is not among them.
        score_mib: memory of one block of scores.
    """
    budget = score_mib * 2**20 // 4
    users = budget // (vectors.shape[1] * table.shape[0])
    if users >= min(FEWEST_USERS, vectors.shape[0]):
        return _in_blocks_of_users(vectors, targets, seen, table, max(1, users))
    items = max(1, budget // (vectors.shape[0] * vectors.shape[1]))
    return _in_blocks_of_items(vectors, targets, seen, table, items)


def _in_blocks_of_users(
    vectors: Array, targets: Array, seen: Array, table: Array, users: int
) -> Int[Array, "M S"]:
    def rank_one(example: tuple[Array, Array, Array]) -> Array:
        vectors, target, seen = example
        all_scores = scores(vectors, table).at[:, seen].set(-jnp.inf, mode="drop")
        return rank_of_target(all_scores, jnp.broadcast_to(target, all_scores.shape[:1]))

    return jax.lax.map(rank_one, (vectors, targets, seen), batch_size=users)


def _in_blocks_of_items(
    vectors: Array, targets: Array, seen: Array, table: Array, size: int
) -> Int[Array, "M S"]:
    threshold = just_below(vectors, table[targets])
    return 1 + not_lower(vectors, threshold, targets, seen, table, size)


def just_below(
    vectors: Float[Array, "M S D"], of_targets: Float[Array, "M D"]
) -> Float[Array, "M S"]:
    """A little less than each target's own score: what is not lower ties with it, or beats it.

    The products are those of `scores`, with its types and precision; only their order differs.
    """
    rows = of_targets.astype(vectors.dtype)
    accumulate = jnp.promote_types(vectors.dtype, jnp.float32)

    def product(vectors: Array, rows: Array) -> Array:
        return jnp.einsum("msd,md->ms", vectors, rows, preferred_element_type=accumulate)

    return product(vectors, rows) - NEARLY * product(jnp.abs(vectors), jnp.abs(rows))


def not_lower(
    vectors: Float[Array, "M S D"],
    threshold: Float[Array, "M S"],
    targets: Int[Array, " M"],
    seen: Int[Array, "M L"],
    table: Float[Array, "N D"],
    size: int,
    real: Int[Array, ""] | None = None,
) -> Int[Array, "M S"]:
    """How many items, target and ``seen`` aside, do not score lower than that; in blocks.

    Args:
        threshold: `just_below` the targets' own scores.
        size: items a block.
        real: rows of the table that are items; None: all.
    """
    items = table.shape[0] if real is None else real

    def count(better: Array, block: tuple[Array, Array]) -> tuple[Array, None]:
        start, rows = block
        found = scores(vectors, rows)
        counts = _counts(start, rows.shape[0], items, targets, seen)
        # "Not lower": also NaN, on either side.
        not_lower = ~(found < threshold[..., None]) & counts[:, None]
        return better + not_lower.sum(axis=-1, dtype=jnp.int32), None

    start = jnp.zeros(vectors.shape[:2], jnp.int32)
    return jax.lax.scan(count, start, _blocks(table, size))[0]


def top_k(
    vectors: Float[Array, "M D"],
    table: Float[Array, "N D"],
    excluded: Int[Array, "M L"],
    k: int,
    block: int,
) -> Best:
    """The k items of the highest scores for each vector; of equal scores the lower id first.

    Args:
        excluded: item ids that are not listed, N where there is none; L may be 0.
        block: items a block of the catalogue.
    """
    count, items = vectors.shape[0], table.shape[0]
    dtype = jnp.promote_types(vectors.dtype, jnp.float32)

    def merge(best: Best, block: tuple[Array, Array]) -> tuple[Best, None]:
        start, rows = block
        size = rows.shape[0]
        counts = _counts(start, size, items, jnp.full((count,), items), excluded)
        found = jnp.where(counts, scores(vectors, rows), -jnp.inf)
        ids = jnp.broadcast_to(start + jnp.arange(size), found.shape)
        # Earlier blocks first: top_k keeps the first of equals.
        both = jnp.concatenate([best.scores, found], axis=1)
        values, places = jax.lax.top_k(both, k)
        ids = jnp.take_along_axis(jnp.concatenate([best.items, ids], axis=1), places, axis=1)
        return Best(jnp.where(jnp.isneginf(values), items, ids), values), None

    nothing = Best(jnp.full((count, k), items), jnp.full((count, k), -jnp.inf, dtype))
    return jax.lax.scan(merge, nothing, _blocks(table, min(block, table.shape[0])))[0]


def _blocks(table: Array, size: int) -> tuple[Int[Array, " blocks"], Float[Array, "blocks n D"]]:
    """First id and rows of each block; the last one is padded with zeros."""
    number = -(-table.shape[0] // size)
    padded = jnp.pad(table, ((0, number * size - table.shape[0]), (0, 0)))
    return jnp.arange(number) * size, padded.reshape(number, size, -1)


def _counts(
    start: Int[Array, ""],
    size: int,
    items: int | Int[Array, ""],
    targets: Int[Array, " M"],
    hidden: Int[Array, "M L"],
) -> Bool[Array, "M n"]:
    """Which items of a block count for whom: real ones, the target and the hidden aside."""
    ids = start + jnp.arange(size)
    counts = (ids < items)[None] & (ids[None] != targets[:, None])
    places = jnp.where((hidden >= start) & (hidden < start + size), hidden - start, size)
    return jax.vmap(lambda row, out: row.at[out].set(False, mode="drop"))(counts, places)


def rank_of_target(scores: Float[Array, "M N"], targets: Int[Array, "M"]) -> Int[Array, "M"]:
    """1 + the number of items, the target aside, that score higher or equal. Best is 1, worst N.

    Ties count against us, so a constant score earns rank N. Not-a-number counts against us too: a
    target without a score gets rank N, an item without a score ranks above every target.
    """
    own = jnp.take_along_axis(scores, targets[:, None], axis=1)
    # "Not lower" rather than "higher or equal": true for ties, for NaN on either side, and for the
    # target itself, which is the 1 of the rank.
    return jnp.sum(~(scores < own), axis=1, dtype=jnp.int32)
