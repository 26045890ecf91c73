"""Histories as packed rows in few different shapes: each shape is a program to compile.

The packing is that of training and evaluation (`data.packing`). Sizes are rounded up to a power of
two or one and a half times one, so that a third of a batch at most is padding.
"""

from collections.abc import Iterator
from typing import NamedTuple

from jaxtyping import Int32
import numpy as np

from rearec_jax.data.batches import cloze, packing
from rearec_jax.data.batches.packing import PackedBatch
from rearec_jax.data.batches.windows import Windows, latest_windows
from rearec_jax.recommend.histories import Histories

SHORTEST_ROW = 8
LONG = 1024  # items of a history, of which each is excluded once
CHOSEN_BY_PLAN = 512  # users for whom the cheapest number of queries a row is searched


class Sizes(NamedTuple):
    """The sizes that are compiled, ascending, of what a request decides; () = rounded finely.

    What exceeds the largest of them is rounded finely too.
    """

    row: tuple[int, ...] = ()  # tokens of a single user's
    excluded: tuple[int, ...] = ()
    listed: tuple[int, ...] = ()
    candidates: tuple[int, ...] = ()


FINE = Sizes()


class Rows(NamedTuple):
    """A batch for the program, numpy arrays; see `rearec_jax.types.Batch` for the first four.

    users: index in `Histories` of each query, -1 where there is none.
    """

    tokens: Int32[np.ndarray, "B T"]
    positions: Int32[np.ndarray, "B T"]
    segments: Int32[np.ndarray, "B T"]
    queries: Int32[np.ndarray, "B Q"]
    users: Int32[np.ndarray, "B Q"]


def rounded(count: int) -> int:
    """The next of 1, 2, 3, 4, 6, 8, 12, 16, 24, ..."""
    power = 1 << max(0, count - 1).bit_length()
    return power * 3 // 4 if power >= 4 and count <= power * 3 // 4 else power


def fitting(sizes: tuple[int, ...], count: int, otherwise: int) -> int:
    """The first of ``sizes`` that holds ``count``; ``otherwise`` where none does."""
    return next((size for size in sizes if size >= count), otherwise)


def batches(
    histories: Histories,
    max_length: int,
    at_once: int,
    mask: int | None,
    row_sizes: tuple[int, ...] = (),
) -> Iterator[Rows]:
    """All users with a history, about ``at_once`` a batch, each with their last items.

    Args:
        histories: of dense ids.
        max_length: items that the model sees.
        at_once: users of a batch, about; few fit a CPU's caches.
        mask: id of the token that asks for the next item (models of the cloze objective).
        row_sizes: as `Sizes.row`.
    """
    items, offsets = histories.items, histories.offsets
    if mask is None:
        windows = latest_windows(offsets, max_length)
    else:
        windows = cloze.latest_windows_with_target(offsets, max_length)
        items = cloze.with_room(items)
    if not len(windows):
        return
    tokens = _row_length(windows.length, max_length, row_sizes)
    if len(windows) == 1 and mask is None:
        yield _alone(items, windows, tokens)
        return
    plan = packing.plan(windows, tokens, _queries_per_row(windows.length, tokens))
    rows = rounded(min(plan.rows, max(1, round(at_once * plan.rows / len(windows)))))
    order, split = packing.fixed_order(plan), np.zeros(len(items), np.uint8)
    for index in range(-(-plan.rows // rows)):
        packed = packing.pack_batch(items, split, plan, order, None, index, rows)
        yield _rows(packed if mask is None else cloze.mask_last(packed, None, mask))


def _row_length(lengths: Int32[np.ndarray, "W"], max_length: int, sizes: tuple[int, ...]) -> int:
    """A row as long as the model sees, or for a single user as short as will do."""
    if len(lengths) > 1:
        return max_length
    length = int(lengths[0])
    return min(max_length, fitting(sizes, length, max(SHORTEST_ROW, rounded(length))))


def _queries_per_row(lengths: Int32[np.ndarray, "W"], tokens: int) -> int:
    """0 = let the plan search for it."""
    if len(lengths) >= CHOSEN_BY_PLAN:
        return 0
    mean = max(1.0, float(lengths.mean()))
    return min(tokens, len(lengths), rounded(int(np.ceil(tokens / mean))))


def _alone(items: Int32[np.ndarray, "total"], windows: Windows, tokens: int) -> Rows:
    """A single user's row, as packing makes it in twenty times as long (0.4 ms)."""
    (start,), (length,), (user,) = windows.start, windows.length, windows.user
    ids, positions, segments = np.zeros((3, 1, tokens), np.int32)
    ids[0, :length] = items[start : start + length]
    positions[0, :length] = np.arange(length)
    segments[0, :length] = 1
    last, user = np.full((2, 1, 1), [[[length - 1]], [[user]]], np.int32)
    return Rows(ids, positions, segments, last, user)


def _rows(packed: PackedBatch) -> Rows:
    return Rows(packed.tokens, packed.positions, packed.segments, packed.queries, packed.users)


def _coarsely(width: int) -> int:
    """0, 16, 64, 256, ...: an excluded item costs next to nothing, a shape a compilation."""
    return 0 if not width else max(16, 1 << 2 * ((width - 1).bit_length() + 1 >> 1))


def excluded(
    users: Int32[np.ndarray, "M"],
    histories: Histories,
    seen: bool,
    given: Int32[np.ndarray, "n"],
    nothing: int,
    sizes: tuple[int, ...] = (),
) -> Int32[np.ndarray, "M L"]:
    """Items that must not be listed for each of ``users``; ``nothing`` fills the rest.

    Args:
        users: indices in ``histories``, -1 = none.
        histories: what each user had.
        seen: leave out what a user had.
        given: leave these out for everybody.
        nothing: an id that no item has.
        sizes: as `Sizes.excluded`.
    """
    own = [_seen(histories, int(user)) if seen and user >= 0 else given[:0] for user in users]
    longest = max(map(len, own), default=0)
    width = longest + len(given)
    out = np.full((len(users), fitting(sizes, width, _coarsely(width))), nothing, np.int32)
    for row, items in zip(out, own, strict=True):
        row[: len(items)] = items
    out[:, longest:width] = given
    return out


def _seen(histories: Histories, user: int) -> Int32[np.ndarray, " n"]:
    """What a user had; each item once where it is much, or one user would make all rows so wide."""
    items = histories.of_user(user)
    return np.unique(items) if len(items) > LONG else items
