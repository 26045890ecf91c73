"""Packs windows of users' sequences into rows of fixed size: numpy only, no loop over users.

A *window* is a stretch of one user's items whose last few positions are queries; it becomes a
segment of a row. Windows of the same (length, queries) form a *class* and are interchangeable, so
rows are planned once in terms of classes, and an epoch only decides which window of a class goes
where:

    windows = training_windows(offsets, split, max_length, stride)     # what is encoded
    packing = plan(windows, tokens_per_row, queries_per_row)           # classes -> rows
    order = epoch_order(packing, seed, epoch)                          # windows -> slots
    batch = pack_batch(sequences, order, TRAIN, index, rows)           # arrays

No prefix is ever written down: the memory is O(targets), the time of a batch O(its tokens).
"""

import dataclasses
from typing import NamedTuple

from jaxtyping import Float32, Int32, Int64
import numpy as np

from rearec_jax.data.batches.windows import Windows
from rearec_jax.data.interactions import Sequences

# The cost of a query's slot, in tokens: its reasoning steps in both views and a softmax over the
# catalogue for each, against one pass through the encoder. By hand for PRL, K=2, 12,101 items:
# 82 MFLOP against 5. Only the choice of the row shape depends on it.
QUERY_COST = 16


@dataclasses.dataclass(frozen=True)
class Plan:
    """The rows of an epoch, and the class of the window in each of their slots.

    There are as many slots as windows. Slot ``slots[i]`` takes the class of window ``members[i]``;
    any permutation of ``members`` within a class is a valid packing.

    windows:         all windows.
    tokens_per_row:  the tokens of a row, T.
    queries_per_row: the queries of a row, Q.
    row_starts:      row r has the slots ``row_starts[r] : row_starts[r + 1]``.
    slots:           the slots, sorted by class.
    members:         the windows, sorted by class.
    classes:         the class of each of these slots and windows, ascending.
    """

    windows: Windows
    tokens_per_row: int
    queries_per_row: int
    row_starts: Int64[np.ndarray, "rows_plus_1"]
    slots: Int32[np.ndarray, "W"]
    members: Int32[np.ndarray, "W"]
    classes: Int32[np.ndarray, "W"]

    @property
    def rows(self) -> int:
        """The number of rows of an epoch, the same in every epoch."""
        return len(self.row_starts) - 1

    @property
    def token_fill(self) -> float:
        """The share of the token slots that hold an item."""
        return _share(self.windows.length, self.rows * self.tokens_per_row)

    @property
    def query_fill(self) -> float:
        """The share of the query slots that hold a query."""
        return _share(self.windows.queries, self.rows * self.queries_per_row)

    @property
    def fill(self) -> float:
        """The share in use of the slots, of tokens or queries, that limit the number of rows."""
        return max(self.token_fill, self.query_fill)


@dataclasses.dataclass(frozen=True)
class Order:
    """The order of an epoch.

    plan:    the rows.
    windows: the window in each slot.
    rows:    the rows in the order in which batches take them.
    """

    plan: Plan
    windows: Int32[np.ndarray, "W"]
    rows: Int64[np.ndarray, "rows"]


class Share(NamedTuple):
    """The share of a batch that a host packs for its devices.

    start: the first row.
    stop:  the row after the last.
    total: the rows of the whole batch.
    """

    start: int
    stop: int
    total: int


class PackedBatch(NamedTuple):
    """A batch of rows. The first seven fields are those of `rearec_jax.types.Batch`.

    ``examples`` holds the index in ``items`` of each query's target. A slot without a query has
    query 0, target 0, weight 0, user -1 and example -1. Within a segment, queries ascend.
    """

    tokens: Int32[np.ndarray, "B T"]
    positions: Int32[np.ndarray, "B T"]
    segments: Int32[np.ndarray, "B T"]
    queries: Int32[np.ndarray, "B Q"]
    targets: Int32[np.ndarray, "B Q"]
    weights: Float32[np.ndarray, "B Q"]
    users: Int32[np.ndarray, "B Q"]
    examples: Int64[np.ndarray, "B Q"]


def plan(windows: Windows, tokens_per_row: int, queries_per_row: int = 0) -> Plan:
    """Packs windows into rows of two capacities, tokens and queries.

    Best fit, decreasing: a row starts with the largest class left and is filled up with the classes
    that fit best; the pattern found is repeated while the windows last. So the cost grows with the
    number of different rows, not with the number of rows.

    Args:
        windows: the windows to pack.
        tokens_per_row: the tokens of a row, at least those of the longest window.
        queries_per_row: the queries of a row, at least the most of a window; 0: the cheapest.

    Raises:
        ValueError: a window does not fit into a row.
    """
    longest, most = windows.length.max(initial=0), windows.queries.max(initial=0)
    if longest > tokens_per_row or most > (queries_per_row or tokens_per_row):
        raise ValueError(
            f"windows of up to {longest} tokens and {most} queries do not fit into rows of"
            f" {tokens_per_row} tokens and {queries_per_row} queries"
        )
    sizes, class_of, counts = _classes(windows)
    if not queries_per_row:
        queries_per_row = _cheapest_queries_per_row(sizes, counts, tokens_per_row)
    patterns, repeats = _row_patterns(sizes, counts, tokens_per_row, queries_per_row)
    row_length = np.repeat(np.array([len(row) for row in patterns], np.int64), repeats)
    slot_class = np.concatenate(
        [np.empty(0, np.int32)]
        + [
            np.tile(row.astype(np.int32), times)
            for row, times in zip(patterns, repeats, strict=True)
        ]
    )
    slots = np.argsort(slot_class, kind="stable").astype(np.int32)
    return Plan(
        windows=windows,
        tokens_per_row=tokens_per_row,
        queries_per_row=queries_per_row,
        row_starts=np.append(0, np.cumsum(row_length)),
        slots=slots,
        members=np.argsort(class_of, kind="stable").astype(np.int32),
        classes=slot_class[slots],
    )


def fixed_order(packing: Plan) -> Order:
    """Returns the rows and windows as planned: for evaluation."""
    windows = np.empty_like(packing.members)
    windows[packing.slots] = packing.members
    return Order(packing, windows, np.arange(packing.rows))


def epoch_order(packing: Plan, seed: int, epoch: int) -> Order:
    """Returns random windows in the slots of their class, and a random order of rows.

    A pure function of (packing, seed, epoch). Raw Philox words are sorted rather than shuffled by
    numpy's Generator, whose streams may change between versions of numpy: an order never does.
    """
    count = len(packing.members)
    words = np.random.Philox(key=np.array([seed, epoch], np.uint64)).random_raw(
        count + packing.rows
    )
    windows = np.empty_like(packing.members)
    windows[packing.slots] = packing.members[np.lexsort((words[:count], packing.classes))]
    return Order(packing, windows, np.argsort(words[count:], kind="stable"))


def pack_batch(
    data: Sequences,
    order: Order,
    which: int | None,
    index: int,
    rows: int,
    share: Share | None = None,
) -> PackedBatch:
    """Packs rows ``index * rows : (index + 1) * rows`` of an epoch; the last batch may have fewer.

    Empty rows take the place of those that are missing.

    Args:
        data: the users' sequences.
        order: the order of the epoch.
        which: the split whose targets weigh 1; None where nothing is known of the future: every
            query weighs 1, and targets are 0.
        index: the number of the batch, from 0.
        rows: the rows of a batch.
        share: the rows to pack of these, all where it is None; it may reach beyond ``rows``, where
            rows are empty.
    """
    packing, (items, _, split) = order.plan, data
    chosen = order.rows[index * rows : (index + 1) * rows]
    if share is not None:
        chosen, rows = chosen[share.start : share.stop], share.stop - share.start
    counts = packing.row_starts[chosen + 1] - packing.row_starts[chosen]
    row, number = np.repeat(np.arange(len(chosen)), counts), within(counts)
    slot = np.repeat(packing.row_starts[chosen], counts) + number
    window = packing.windows.take(order.windows[slot])
    token = _starts_in_row(window.length, counts)
    query = _starts_in_row(window.queries, counts)

    batch = _empty_batch(rows, packing.tokens_per_row, packing.queries_per_row)
    place = within(window.length)
    slots = np.repeat(row, window.length), np.repeat(token, window.length) + place
    batch.tokens[slots] = items[np.repeat(window.start, window.length) + place]
    batch.positions[slots] = place
    batch.segments[slots] = np.repeat(number + 1, window.length)

    place = within(window.queries)
    slots = np.repeat(row, window.queries), np.repeat(query, window.queries) + place
    place += np.repeat(window.length - window.queries, window.queries)
    example = np.repeat(window.start, window.queries) + place + 1
    batch.queries[slots] = np.repeat(token, window.queries) + place
    batch.targets[slots] = 0 if which is None else items[example]
    batch.weights[slots] = 1 if which is None else split[example] == which
    batch.users[slots] = np.repeat(window.user, window.queries)
    batch.examples[slots] = example
    return batch


def _classes(windows: Windows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the different (length, queries) [C, 2], each window's class [W], and counts [C]."""
    base = 1 + int(windows.queries.max(initial=0))
    code = windows.length.astype(np.int64) * base + windows.queries
    code, class_of, counts = np.unique(code, return_inverse=True, return_counts=True)
    return np.stack(np.divmod(code, base), axis=1), class_of, counts


def _share(used: np.ndarray, slots: int) -> float:
    return int(used.sum(dtype=np.int64)) / max(1, slots)


def _cheapest_queries_per_row(sizes: np.ndarray, counts: np.ndarray, tokens_per_row: int) -> int:
    """Chooses the queries of a row: few make many rows, many leave slots empty.

    Numbers about the average are tried.
    """
    tokens, queries = np.maximum(1, counts @ sizes)
    average = tokens_per_row * queries / tokens
    lowest = sizes[:, 1].max(initial=1)
    tried = {
        int(np.clip(round(average * factor), lowest, tokens_per_row))
        for factor in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25)
    }

    def cost(per_row: int) -> tuple[int, int]:
        _, repeats = _row_patterns(sizes, counts, tokens_per_row, per_row)
        return sum(repeats) * (tokens_per_row + QUERY_COST * per_row), -per_row

    return min(tried, key=cost)


def _row_patterns(
    sizes: np.ndarray, counts: np.ndarray, tokens_per_row: int, queries_per_row: int
) -> tuple[list[np.ndarray], list[int]]:
    """Returns the different rows, each as its classes, and how often each is used.

    Balanced filling needs 15-25 % fewer rows where queries and tokens are both scarce (evaluation),
    largest first where one of them is plenty: whichever needs fewer is taken.
    """
    capacity = np.array([tokens_per_row, queries_per_row])
    both = [_fill_rows(sizes, counts, capacity, balanced) for balanced in (False, True)]
    return min(both, key=lambda patterns_and_repeats: sum(patterns_and_repeats[1]))


def _fill_rows(
    sizes: np.ndarray, counts: np.ndarray, capacity: np.ndarray, balanced: bool
) -> tuple[list[np.ndarray], list[int]]:
    left = counts.copy()
    patterns, repeats = [], []
    while left.any():
        row = _fill_row(sizes, left, capacity, balanced)
        classes, needed = np.unique(row, return_counts=True)
        times = int((left[classes] // needed).min())
        left[classes] -= times * needed
        patterns.append(row)
        repeats.append(times)
    return patterns, repeats


def _fill_row(
    sizes: np.ndarray, left: np.ndarray, capacity: np.ndarray, balanced: bool
) -> np.ndarray:
    """Returns the classes of one row: the largest, then the best of those that fit.

    The best is the largest or, balanced, that whose shape is nearest to the room's: room for 20
    tokens and 5 queries suits 4 tokens a query, so that neither runs out before the other.
    """
    left, room = left.copy(), capacity
    share, shape = (sizes / capacity).max(axis=1), sizes[:, 0] / sizes[:, 1]
    row = []
    fits = left > 0
    while fits.any():
        candidates = np.flatnonzero(fits)
        if balanced and row:
            skew = np.abs(shape[candidates] - room[0] / room[1])
            candidates = candidates[skew == skew.min()]
        best = candidates[np.argmax(share[candidates])]
        row.append(best)
        left[best] -= 1
        room = room - sizes[best]
        fits = (left > 0) & (sizes <= room).all(axis=1)
    return np.array(row)


def within(lengths: np.ndarray) -> np.ndarray:
    """Returns 0 .. n-1 for each n of ``lengths``: [3, 1, 2] -> 0 1 2 0 0 1."""
    ends = np.cumsum(lengths, dtype=np.int64)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)


def _starts_in_row(lengths: np.ndarray, segments_in_row: np.ndarray) -> np.ndarray:
    """Returns the start of each segment in its row: [3, 1, 2] in rows of [2, 1] -> 0 3 0."""
    starts = np.cumsum(lengths, dtype=np.int64) - lengths
    first = np.cumsum(segments_in_row) - segments_in_row
    return starts - np.repeat(starts[first], segments_in_row)


def _empty_batch(rows: int, tokens: int, queries: int) -> PackedBatch:
    def full(width: int, value: int = 0, dtype: type = np.int32) -> np.ndarray:
        return np.full((rows, width), value, dtype)

    return PackedBatch(
        tokens=full(tokens),
        positions=full(tokens),
        segments=full(tokens),
        queries=full(queries),
        targets=full(queries),
        weights=full(queries, dtype=np.float32),
        users=full(queries, -1),
        examples=full(queries, -1, np.int64),
    )
