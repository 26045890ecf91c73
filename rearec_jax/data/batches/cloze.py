"""Masks items for the cloze objective of BERT4Rec (arXiv 1904.06690). numpy only.

A window holds its targets themselves: a query stands at the position of its target, whose token is
replaced by the mask, id N. Batches are packed like any others, with as many queries in each window
as items will be masked; ``mask_some`` then chooses these, anew in each epoch, and ``mask_last``
masks the last item, to predict the next one.
"""

import dataclasses

from jaxtyping import Bool, Float64, Int, Int32, Int64, UInt8, UInt64
import numpy as np

from rearec_jax.data.batches.packing import PackedBatch
from rearec_jax.data.batches.windows import (
    Windows,
    latest_windows,
    sums_over,
    training_windows,
)
from rearec_jax.data.interactions import TRAIN, Sequences


@dataclasses.dataclass(frozen=True)
class Masking:
    """The settings of the cloze objective.

    mask:      the id of the mask token, N.
    rate:      the share of a window's targets that is masked.
    last_only: the share of the segments in which only the last target is masked.
    """

    mask: int
    rate: float
    last_only: float


def with_room(array: np.ndarray) -> np.ndarray:
    """Appends a zero: a query may stand at the last position, and packing reads the one after."""
    return np.append(array, np.zeros(1, array.dtype))


def masked_windows(
    offsets: Int64[np.ndarray, "users_plus_1"],
    split: UInt8[np.ndarray, "total"],
    max_length: int,
    stride: int,
    rate: float,
) -> Windows:
    """Returns training windows with their targets; ``rate`` of these, at least 1, are queries."""
    windows = training_windows(offsets, split, max_length - 1, min(stride, max_length - 1))
    masked = np.maximum(1, np.rint(rate * windows.queries)).astype(np.int32)
    return Windows(windows.start, windows.length + 1, masked, windows.user)


def latest_windows_with_target(
    offsets: Int64[np.ndarray, "users_plus_1"], max_length: int
) -> Windows:
    """Returns the last ``max_length - 1`` items of each user, and the position that comes next."""
    return one_longer(latest_windows(offsets, max_length - 1))


def one_longer(windows: Windows) -> Windows:
    """Returns windows that hold the position of the target too, or that of what comes next."""
    return Windows(windows.start, windows.length + 1, windows.queries, windows.user)


def mask_some(
    packed: PackedBatch, data: Sequences, masking: Masking, seed: int, epoch: int
) -> PackedBatch:
    """Masks training targets drawn at random, as many as a segment has queries.

    In a share ``masking.last_only`` of the segments only the last target is masked, as evaluation
    does; their other queries then weigh nothing.
    """
    is_query = packed.examples >= 0
    row, _ = np.nonzero(is_query)
    segment = packed.segments[row, packed.queries[is_query]]
    count = np.zeros((len(packed.tokens), packed.segments.max(initial=0) + 1), np.int64)
    np.add.at(count, (row, segment), 1)
    shift = np.zeros_like(count)  # from the column to the index in `items`; `examples` is one ahead
    shift[row, segment] = packed.examples[is_query] - 1 - packed.queries[is_query]

    b, t = np.nonzero(np.take_along_axis(count, packed.segments, 1) * (packed.segments > 0))
    s = packed.segments[b, t]
    index = t + shift[b, s]
    is_target = data.split[index] == TRAIN
    # Last targets come first where only they are wanted; the others in an order of the epoch.
    words = _words(index, seed, epoch)
    threshold = np.uint64(masking.last_only * (2.0**64 - 2.0**12))
    alone = _words(shift[b, s] + (1 << 40), seed, epoch) < threshold
    words[alone] = np.uint64(0xFFFFFFFFFFFFFFFF) - index[alone].astype(np.uint64)
    order = np.lexsort((words, ~is_target, s, b))
    b, t, s, index, is_target, alone = (x[order] for x in (b, t, s, index, is_target, alone))
    rank = _rank_in_group(b, s)
    chosen = rank < count[b, s]
    counts = is_target & ~(alone & (rank > 0))
    at = (b[chosen], t[chosen])
    return _masked(packed, at, index[chosen], data.items, masking.mask, counts[chosen])


def expected_targets(
    windows: Windows, is_target: Bool[np.ndarray, "total"], last_only: float
) -> Float64[np.ndarray, "total"]:
    """Returns how often an epoch masks each position and counts it, on average; see `mask_some`."""
    end = windows.start + windows.length
    before = np.append(0, np.cumsum(is_target))
    targets = before[end] - before[windows.start]
    share = (1 - last_only) * np.minimum(1, windows.queries / np.maximum(targets, 1))
    expected = is_target * sums_over(windows.start, end, share, len(is_target))
    last = np.flatnonzero(is_target)[before[end] - 1]
    np.add.at(expected, last, last_only * (targets > 0))
    return expected


def mask_last(
    packed: PackedBatch, items: Int32[np.ndarray, "total"] | None, mask: int
) -> PackedBatch:
    """Masks the position of each query, its target; ``items`` None: the future is unknown."""
    is_query = packed.examples >= 0
    index = packed.examples[is_query] - 1
    at = np.nonzero(is_query)[0], packed.queries[is_query]
    return _masked(packed, at, index, items, mask, np.ones(len(index), bool))


def _masked(
    packed: PackedBatch,
    at: tuple[np.ndarray, np.ndarray],
    index: Int64[np.ndarray, "n"],
    items: Int32[np.ndarray, "total"] | None,
    mask: int,
    counts: Bool[np.ndarray, "n"],
) -> PackedBatch:
    """Returns the batch with its queries moved to ``at`` (row, column), in the same rows.

    ``index``: the index of each query's target in ``items``; ``counts``: whether it weighs 1.
    """
    is_query = packed.examples >= 0
    fields = {name: array.copy() for name, array in packed._asdict().items()}
    fields["tokens"][at[0][counts], at[1][counts]] = mask
    fields["queries"][is_query] = at[1]
    fields["targets"][is_query] = 0 if items is None else items[index]
    fields["weights"][is_query] = counts
    fields["examples"][is_query] = index
    return PackedBatch(**fields)


def _rank_in_group(*keys: Int[np.ndarray, "n"]) -> Int64[np.ndarray, "n"]:
    """Returns 0, 1, 2, ..., anew wherever a key changes; the keys are sorted."""
    changes = np.ones(len(keys[0]), bool)
    changes[1:] = np.any([key[1:] != key[:-1] for key in keys], axis=0)
    starts = np.flatnonzero(changes)
    return np.arange(len(changes)) - np.repeat(starts, np.diff(np.append(starts, len(changes))))


def _words(index: Int64[np.ndarray, "n"], seed: int, epoch: int) -> UInt64[np.ndarray, "n"]:
    """Returns a random word for each index (SplitMix64), another one in each epoch."""
    key = np.random.Philox(key=np.array([seed, epoch], np.uint64)).random_raw(1)[0]
    x = (index.astype(np.uint64) + key) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
