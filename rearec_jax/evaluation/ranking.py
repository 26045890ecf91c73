"""Ranks of targets and lists of the best items, without an array of all users times all items.

The work is cut in one of two ways. With few items, a block of users is scored against the whole
catalogue at once; the score of the target is one of these, so that exact ties are found as such.
With many items, all users of the batch are scored against one block of the catalogue after another,
so that the table is read once for all of them and not once for every few.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rearec_jax.ops.scores import scores

FEWEST_USERS = 32  # the fewest users in a block, below which blocks of items are better
# Another order of summation may give the score of a target another last digit. So in blocks of the
# catalogue, scores that are this near count as ties, against the target. The gap is relative to the
# sum of the magnitudes of the products: where these cancel, the score is no measure of its error.
NEARLY = 1e-6


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


def target_ranks(
    examples: Examples, table: Float[Array, "N D"], score_mib: int
) -> Int[Array, "M S"]:
    """Computes ranks: 1 + the items, except those seen, that score higher than the target or equal.

    Args:
        score_mib: The MiB of a block of scores.
    """
    count, vectors, _ = examples.vectors.shape
    budget = score_mib * 2**20 // 4
    users = budget // (vectors * table.shape[0])
    if users >= min(FEWEST_USERS, count):
        return _in_blocks_of_users(examples, table, max(1, users))
    return _in_blocks_of_items(examples, table, max(1, budget // (count * vectors)))


def _in_blocks_of_users(examples: Examples, table: Array, users: int) -> Int[Array, "M S"]:
    def rank_one(example: Examples) -> Array:
        vectors, target, seen = example
        all_scores = scores(vectors, table).at[:, seen].set(-jnp.inf, mode="drop")
        return rank_of_target(all_scores, jnp.broadcast_to(target, all_scores.shape[:1]))

    return jax.lax.map(rank_one, examples, batch_size=users)


def _in_blocks_of_items(examples: Examples, table: Array, size: int) -> Int[Array, "M S"]:
    threshold = just_below(examples.vectors, table[examples.targets])
    return 1 + count_not_lower(examples, threshold, table, size)


def just_below(
    vectors: Float[Array, "M S D"], of_targets: Float[Array, "M D"]
) -> Float[Array, "M S"]:
    """Computes a little less than the score of each target.

    A score that is not lower ties with that of the target or beats it. The products are those of
    `scores`, in its types and precision, and only the order of summation differs.
    """
    rows = of_targets.astype(vectors.dtype)
    accumulate = jnp.promote_types(vectors.dtype, jnp.float32)

    def product(vectors: Array, rows: Array) -> Array:
        return jnp.einsum("msd,md->ms", vectors, rows, preferred_element_type=accumulate)

    return product(vectors, rows) - NEARLY * product(jnp.abs(vectors), jnp.abs(rows))


def count_not_lower(
    examples: Examples,
    threshold: Float[Array, "M S"],
    table: Float[Array, "N D"],
    size: int,
    real: Int[Array, ""] | None = None,
) -> Int[Array, "M S"]:
    """Counts the items, except the target and those seen, that do not score below the threshold.

    Args:
        threshold: The value `just_below` the score of each target.
        size: The number of items in a block.
        real: The number of rows of the table, the first ones, that are items; None is all.
    """
    vectors, targets, seen = examples
    items = table.shape[0] if real is None else real

    def count(better: Array, block: tuple[Array, Array]) -> tuple[Array, None]:
        start, rows = block
        found = scores(vectors, rows)
        counts = _counts(start, rows.shape[0], items, targets, seen)
        # A comparison with NaN, on either side, is not "lower" either.
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
    """Finds the k items of the highest scores for each vector; of equal scores the lower id first.

    Args:
        excluded: The ids of items that are not listed, N where there is none; L may be 0.
        block: The number of items in a block of the catalogue.
    """
    count, items = vectors.shape[0], table.shape[0]
    dtype = jnp.promote_types(vectors.dtype, jnp.float32)

    def merge(best: Best, block: tuple[Array, Array]) -> tuple[Best, None]:
        start, rows = block
        size = rows.shape[0]
        counts = _counts(start, size, items, jnp.full((count,), items), excluded)
        found = jnp.where(counts, scores(vectors, rows), -jnp.inf)
        ids = jnp.broadcast_to(start + jnp.arange(size), found.shape)
        # The best of earlier blocks come first, because top_k keeps the first of equals.
        both = jnp.concatenate([best.scores, found], axis=1)
        values, columns = jax.lax.top_k(both, k)
        ids = jnp.take_along_axis(jnp.concatenate([best.items, ids], axis=1), columns, axis=1)
        return Best(jnp.where(jnp.isneginf(values), items, ids), values), None

    nothing = Best(jnp.full((count, k), items), jnp.full((count, k), -jnp.inf, dtype))
    return jax.lax.scan(merge, nothing, _blocks(table, min(block, table.shape[0])))[0]


def _blocks(table: Array, size: int) -> tuple[Int[Array, " blocks"], Float[Array, "blocks n D"]]:
    """Returns the first id and the rows of each block; zeros fill the last one."""
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
    """Says which items of a block count for which example: not its target and hidden items."""
    ids = start + jnp.arange(size)
    counts = (ids < items)[None] & (ids[None] != targets[:, None])
    columns = jnp.where((hidden >= start) & (hidden < start + size), hidden - start, size)
    return jax.vmap(lambda row, out: row.at[out].set(False, mode="drop"))(counts, columns)


def rank_of_target(scores: Float[Array, "M N"], targets: Int[Array, "M"]) -> Int[Array, "M"]:
    """Computes 1 + the number of other items that score as high as the target or higher.

    The best rank is 1 and the worst N. Ties count against the target, so that a constant score gets
    rank N. So does NaN: a target whose score is NaN gets rank N, and an item whose score is NaN
    ranks above every target.
    """
    own = jnp.take_along_axis(scores, targets[:, None], axis=1)
    # "Not lower", rather than "higher or equal", holds for ties, for NaN on either side, and for
    # the target itself, which is the 1 of the rank.
    return jnp.sum(~(scores < own), axis=1, dtype=jnp.int32)
