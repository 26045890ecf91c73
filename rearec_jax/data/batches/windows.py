"""Cuts users' sequences into windows, the stretches that are encoded, each with its queries.

numpy only, no loop over users. `packing` lays windows into rows.
"""

from collections.abc import Iterable, Iterator
import dataclasses

from jaxtyping import Float64, Int, Int32, Int64, UInt8
import numpy as np

from rearec_jax.data.interactions import TRAIN, parts

_AT_ONCE = 2**18  # windows that are looked at at once


@dataclasses.dataclass(frozen=True)
class Windows:
    """The windows: window w encodes ``items[start[w] : start[w] + length[w]]`` of one user.

    The target of the query at absolute position p is ``items[p + 1]``.

    start:   the absolute position of each window's first item.
    length:  the number of items of each window.
    queries: the number of its last positions that are queries, from 1 to ``length``; the earlier
        positions are context.
    user:    the user of each window.
    """

    start: Int64[np.ndarray, "W"]
    length: Int32[np.ndarray, "W"]
    queries: Int32[np.ndarray, "W"]
    user: Int32[np.ndarray, "W"]

    def __len__(self) -> int:
        return len(self.start)

    def take(self, indices: Int[np.ndarray, "n"] | slice) -> "Windows":
        """Returns the windows at ``indices``, in that order."""
        return Windows(
            self.start[indices], self.length[indices], self.queries[indices], self.user[indices]
        )


def training_windows(
    offsets: Int64[np.ndarray, "users_plus_1"],
    split: UInt8[np.ndarray, "total"],
    max_length: int,
    stride: int,
) -> Windows:
    """Returns windows in which every training target that has a history occurs exactly once.

    A user's targets are cut, from the last one backwards, into chunks of ``stride`` positions; a
    chunk's window ends at the input of its last training target and reaches ``max_length`` items
    back, or to the user's first item. Example of 7 items, all but the first a target,
    max_length 4, stride 2 (inputs of queries in brackets): 2 3 [4 5], 0 1 [2 3], [0 1].

    ``stride == max_length`` encodes no item twice; ``stride == 1`` gives each target the last
    ``max_length`` items before it, as the authors do.
    """
    if not 1 <= stride <= max_length:
        raise ValueError(f"stride {stride} must lie between 1 and max_length {max_length}")

    def of_part(targets: np.ndarray, users: np.ndarray) -> Windows:
        last = np.zeros(1 + users.max(initial=0) - users.min(initial=0), np.int64)
        of_user = users - users.min(initial=0)
        last[of_user] = targets  # ascending, so the last one of a user stays
        chunk = (last[of_user] - targets) // stride
        is_first = np.ones(len(targets), bool)
        is_first[1:] = (users[1:] != users[:-1]) | (chunk[1:] != chunk[:-1])
        first, end = targets[is_first], targets[np.roll(is_first, -1)]
        user = users[is_first]
        start = np.maximum(offsets[user], end - max_length)
        return _windows(start, end - start, end - first + 1, user)

    return _joined(of_part(*targets) for targets in _targets(offsets, split, TRAIN))


def evaluation_windows(
    offsets: Int64[np.ndarray, "users_plus_1"],
    split: UInt8[np.ndarray, "total"],
    which: int,
    max_length: int,
) -> Windows:
    """Returns a window for each position of split ``which`` that has items before it.

    The window holds the last ``max_length`` of these items.
    """

    def of_part(targets: np.ndarray, user: np.ndarray) -> Windows:
        start = np.maximum(offsets[user], targets - max_length)
        return _windows(start, targets - start, np.ones_like(targets), user)

    return _joined(of_part(*targets) for targets in _targets(offsets, split, which))


def latest_windows(offsets: Int64[np.ndarray, "users_plus_1"], max_length: int) -> Windows:
    """Returns a window for each user with items: the last ``max_length``, to recommend from."""
    user = np.flatnonzero(np.diff(offsets))
    end = offsets[user + 1]
    start = np.maximum(offsets[user], end - max_length)
    return _windows(start, end - start, np.ones_like(user), user)


def count_targets(split: UInt8[np.ndarray, "total"], windows: Windows, which: int) -> int:
    """Counts the queries whose target belongs to split ``which``: those of weight 1."""
    count = 0
    for part in range(0, len(windows), _AT_ONCE):
        some = windows.take(slice(part, part + _AT_ONCE))
        end = some.start + some.length + 1
        low = int(some.start.min())
        before = np.append(0, np.cumsum(split[low : end.max()] == which, dtype=np.int64))
        count += int((before[end - low] - before[end - some.queries - low]).sum())
    return count


def sums_over(
    start: Int64[np.ndarray, "W"],
    end: Int64[np.ndarray, "W"],
    values: Float64[np.ndarray, "W"],
    total: int,
) -> Float64[np.ndarray, "total"]:
    """Returns for each position the sum of the values of the stretches start .. end - 1 with it."""
    change = np.bincount(start, values, total + 1) - np.bincount(end, values, total + 1)
    return np.cumsum(change)[:-1]


def _targets(
    offsets: np.ndarray, split: np.ndarray, which: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the positions of the split that have a history, ascending, and their users.

    There are those of a stretch of users at a time: positions of all would need more memory than
    the windows that are made of them.
    """
    for part, rows in parts(offsets):
        found = rows.start + np.flatnonzero(split[rows] == which)
        users = part.start + np.searchsorted(offsets[part], found, side="right") - 1
        has_history = found > offsets[users]
        yield found[has_history], users[has_history]


def _joined(found: Iterable[Windows]) -> Windows:
    nothing = np.zeros(0, np.int64)
    every = [_windows(nothing, nothing, nothing, nothing), *found]
    fields = (field.name for field in dataclasses.fields(Windows))
    return Windows(*(np.concatenate([getattr(one, name) for one in every]) for name in fields))


def _windows(
    start: np.ndarray, length: np.ndarray, queries: np.ndarray, user: np.ndarray
) -> Windows:
    return Windows(
        start.astype(np.int64),
        length.astype(np.int32),
        queries.astype(np.int32),
        user.astype(np.int32),
    )
