"""The items that a user has had before a target, which `eval.exclude_seen` does not rank."""

from collections.abc import Iterator

from jaxtyping import Int32, Int64
import numpy as np

from rearec_jax.data.batches.packing import within
from rearec_jax.data.interactions import Interactions

NARROWEST = 256  # the least width of an array of seen items: another width is another program
MOST = 2**22  # the interactions that are read at once


def seen_items(
    data: Interactions, examples: Int64[np.ndarray, "B Q"]
) -> Int32[np.ndarray, "B Q L"]:
    """Returns the items before each target; N fills the rest.

    Each item stands there once, and the target itself does not. L is the `width` of the most.

    Args:
        examples: The index of each target in ``data.items``, -1 where there is none.
    """
    real = np.flatnonzero(examples.reshape(-1) >= 0)
    rows, items = seen_pairs(data, examples.reshape(-1)[real])
    counts = np.bincount(rows, minlength=len(real))
    most = width(int(counts.max(initial=0)), data.num_items)
    seen = np.full((examples.size, most), data.num_items, np.int32)
    seen[real[rows], within(counts)] = items
    return seen.reshape(*examples.shape, most)


def width(most: int, num_items: int) -> int:
    """Returns the width of an array for ``most`` distinct items: a power of two, or N."""
    return min(num_items, max(NARROWEST, 1 << (most - 1).bit_length()))


def in_parts(data: Interactions, examples: Int64[np.ndarray, " M"]) -> Iterator[slice]:
    """Yields slices of the examples that have at most MOST interactions before them, or are one."""
    ends = np.cumsum(examples - _starts(data, examples))
    start = 0
    while start < len(examples):
        read = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, read + MOST, "right")))
        yield slice(start, stop)
        start = stop


def seen_pairs(
    data: Interactions, examples: Int64[np.ndarray, " M"]
) -> tuple[Int64[np.ndarray, " P"], Int64[np.ndarray, " P"]]:
    """Returns the number of an example and a distinct item before its target, for each of these.

    The target itself is left out. The pairs ascend.
    """
    starts = _starts(data, examples)
    lengths = examples - starts
    rows = np.repeat(np.arange(len(examples)), lengths)
    before = data.items[np.repeat(starts, lengths) + within(lengths)]
    rows, items = np.divmod(np.unique(rows * data.num_items + before), data.num_items)
    others = items != data.items[examples][rows]
    return rows[others], items[others]


def _starts(data: Interactions, examples: Int64[np.ndarray, " M"]) -> Int64[np.ndarray, " M"]:
    """Returns the index of the first item of each example's user."""
    return data.offsets[np.searchsorted(data.offsets, examples, "right") - 1]
