"""Packs histories into rows of few different shapes, because each shape is compiled once.

The packing is that of training and evaluation (`data.batches.packing`). Sizes are rounded up to a
power of two or one and a half times one, so that at most a third of a batch is padding.
"""

from collections.abc import Iterator
from typing import NamedTuple

from jaxtyping import Int32
import numpy as np

from rearec_jax.data.batches import cloze, packing
from rearec_jax.data.batches.packing import PackedBatch
from rearec_jax.data.batches.windows import Windows, latest_windows
from rearec_jax.data.interactions import Sequences
from rearec_jax.recommend.histories import Histories

SHORTEST_ROW = 8
LONG = 1024  # of a longer history each item is excluded only once
CHOSEN_BY_PLAN = 512  # for so many users the cheapest number of queries per row is searched


class Sizes(NamedTuple):
    """The compiled sizes of everything whose size a request decides, ascending.

    Where there are none, or all are too small, a size is rounded up finely.

    row:        The numbers of tokens of a single user's row.
    excluded:   The numbers of excluded items.
    listed:     The numbers of listed items.
    candidates: The numbers of candidates.
    """

    row: tuple[int, ...] = ()
    excluded: tuple[int, ...] = ()
    listed: tuple[int, ...] = ()
    candidates: tuple[int, ...] = ()


FINE = Sizes()


class Rows(NamedTuple):
    """The numpy arrays of a batch.

    tokens:    The items of the users, segment by segment.
    positions: The position of each token in its segment.
    segments:  The number of each token's segment; 0 is padding.
    queries:   The index in its row of the last token of each segment.
    users:     The index in `Histories` of each query's user, -1 where there is none.
    """

    tokens: Int32[np.ndarray, "B T"]
    positions: Int32[np.ndarray, "B T"]
    segments: Int32[np.ndarray, "B T"]
    queries: Int32[np.ndarray, "B Q"]
    users: Int32[np.ndarray, "B Q"]


def rounded(count: int) -> int:
    """Returns the least of 1, 2, 3, 4, 6, 8, 12, 16, 24, ... that is not below ``count``."""
    power = 1 << max(0, count - 1).bit_length()
    return power * 3 // 4 if power >= 4 and count <= power * 3 // 4 else power


def fitting(sizes: tuple[int, ...], count: int, otherwise: int) -> int:
    """Returns the first of ``sizes`` that is not below ``count``; ``otherwise`` if all are."""
    return next((size for size in sizes if size >= count), otherwise)


def batches(
    histories: Histories,
    max_length: int,
    at_once: int,
    mask: int | None,
    row_sizes: tuple[int, ...] = (),
) -> Iterator[Rows]:
    """Yields batches of all users with a history, each with their last items.

    Args:
        histories: the histories.
        max_length: the number of tokens that the model sees of a user.
        at_once: the number of users of a batch, about.
        mask: the id of the token that asks for the next item, of models of the cloze objective;
            None for other models.
        row_sizes: the compiled lengths of a single user's row (`Sizes.row`).
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
    order = packing.fixed_order(plan)
    data = Sequences(items, offsets, np.zeros(len(items), np.uint8))
    for index in range(-(-plan.rows // rows)):
        packed = packing.pack_batch(data, order, None, index, rows)
        yield _rows(packed if mask is None else cloze.mask_last(packed, None, mask))


def _row_length(lengths: Int32[np.ndarray, "W"], max_length: int, sizes: tuple[int, ...]) -> int:
    """Returns the number of tokens of a row; the row of a single user may be short."""
    if len(lengths) > 1:
        return max_length
    length = int(lengths[0])
    return min(max_length, fitting(sizes, length, max(SHORTEST_ROW, rounded(length))))


def _queries_per_row(lengths: Int32[np.ndarray, "W"], tokens: int) -> int:
    """Returns the number of queries of a row; 0 lets the plan search for the cheapest one."""
    if len(lengths) >= CHOSEN_BY_PLAN:
        return 0
    mean = max(1.0, float(lengths.mean()))
    return min(tokens, len(lengths), rounded(int(np.ceil(tokens / mean))))


def _alone(items: Int32[np.ndarray, "total"], windows: Windows, tokens: int) -> Rows:
    """Returns a single user's row: the row of `packing`, in a twentieth of its 0.4 ms."""
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
    """Rounds up to 0, 16, 64, 256, ...: an excluded item costs far less than another shape."""
    return 0 if not width else max(16, 1 << 2 * ((width - 1).bit_length() + 1 >> 1))


def excluded_items(
    users: Int32[np.ndarray, "M"],
    histories: Histories,
    seen: bool,
    given: Int32[np.ndarray, "n"],
    nothing: int,
    sizes: tuple[int, ...] = (),
) -> Int32[np.ndarray, "M L"]:
    """Returns the items that must not be listed for each user; ``nothing`` fills the rest.

    Args:
        users: the indices of the users in ``histories``, -1 for none.
        histories: the histories.
        seen: whether the items of a user's history are left out.
        given: the items that are left out for all users.
        nothing: an id that no item has.
        sizes: the compiled sizes (`Sizes.excluded`).
    """
    had = [_seen(histories, int(user)) if seen and user >= 0 else given[:0] for user in users]
    longest = max(map(len, had), default=0)
    width = longest + len(given)
    out = np.full((len(users), fitting(sizes, width, _coarsely(width))), nothing, np.int32)
    for row, items in zip(out, had, strict=True):
        row[: len(items)] = items
    out[:, longest:width] = given
    return out


def _seen(histories: Histories, user: int) -> Int32[np.ndarray, " n"]:
    """Returns the items of a user; of a long history each once, or it would widen all rows."""
    items = histories.of_user(user)
    return np.unique(items) if len(items) > LONG else items
