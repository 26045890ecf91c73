"""The paper's rules for what may be a target, common to Yelp and Amazon (docs/data_sets.md)."""

import dataclasses

from jaxtyping import Bool, Int32, Int64, UInt8
import numpy as np

from rearec_jax.data.interactions import CONTEXT, TEST, TRAIN, VALIDATION, positions
from rearec_jax.data.published.row_counts import Counts
from rearec_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Sequences:
    """All interactions before filtering, user by user, each in time order.

    ``period``: TRAIN, VALIDATION or TEST by time; ``target_ok``: False where the rating is too low.
    """

    items: Int32[np.ndarray, "total"]
    offsets: Int64[np.ndarray, "users_plus_1"]
    timestamps: Int64[np.ndarray, "total"]
    period: UInt8[np.ndarray, "total"]
    target_ok: Bool[np.ndarray, "total"]


def target_codes(
    data: Sequences,
    min_history: tuple[int, int],
    untitled: Bool[np.ndarray, "N"] | None,
    counts: Counts,
) -> UInt8[np.ndarray, "total"]:
    """What each position is as a target after the filters, CONTEXT where it may not be one.

    1. Training: history of at least ``min_history[0]`` items; neither the target nor any item of
       its history is ``untitled``.
    2. Validation and test: history of at least ``min_history[1]`` items; then the target, then all
       items of its history must occur in a row that 1 has left, as target or in the history.

    Raises:
        UserError: no target is left in one of the three.
    """
    held_out = data.period != TRAIN
    codes = np.where(data.target_ok, data.period, CONTEXT)
    _count(counts, "targets by time", codes)
    enough = positions(data.offsets) >= np.where(held_out, min_history[1], min_history[0])
    codes[~enough] = CONTEXT
    if untitled is not None:
        codes[~held_out & _up_to_here(untitled[data.items], data.offsets)] = CONTEXT
    _count(counts, "history long enough", codes)
    unknown = ~_known(data, codes)[data.items]
    codes[held_out & unknown] = CONTEXT
    _count(counts, "target in training", codes)
    codes[held_out & _up_to_here(unknown, data.offsets)] = CONTEXT
    _count(counts, "history in training", codes)
    for code, name in ((TRAIN, "training"), (VALIDATION, "validation"), (TEST, "test")):
        if not (codes == code).any():
            raise UserError(f"{counts.name}: the recipe leaves no target for {name} in these files")
    return codes


def needed(
    codes: UInt8[np.ndarray, "total"], offsets: Int64[np.ndarray, "users_plus_1"]
) -> Bool[np.ndarray, "total"]:
    """Positions up to their user's last target: the rest is in no example.

    So the items of the needed positions are just those that occur in training.
    """
    return positions(offsets) <= np.repeat(_last(codes != CONTEXT, offsets), np.diff(offsets))


def _known(data: Sequences, codes: UInt8[np.ndarray, "total"]) -> Bool[np.ndarray, "N"]:
    """Items that occur in a training row, which is a target and all before it."""
    last = _last(codes == TRAIN, data.offsets)
    inside = positions(data.offsets) <= np.repeat(last, np.diff(data.offsets))
    known = np.zeros(int(data.items.max()) + 1, dtype=bool)
    known[data.items[inside]] = True
    return known


def _last(
    mask: Bool[np.ndarray, "total"], offsets: Int64[np.ndarray, "users_plus_1"]
) -> Int64[np.ndarray, "users"]:
    """Position of each user's last True, -1 where there is none. No user may be empty."""
    marked = np.where(mask, positions(offsets), -1)
    return np.maximum.reduceat(marked, offsets[:-1])


def _up_to_here(
    mask: Bool[np.ndarray, "total"], offsets: Int64[np.ndarray, "users_plus_1"]
) -> Bool[np.ndarray, "total"]:
    """Whether the position or an earlier one of its user is True."""
    before = np.concatenate([[0], np.cumsum(mask)])
    return before[1:] > np.repeat(before[offsets[:-1]], np.diff(offsets))


def _count(counts: Counts, stage: str, codes: UInt8[np.ndarray, "total"]) -> None:
    number = np.bincount(codes, minlength=TEST + 1)
    counts.add(
        stage, train=int(number[TRAIN]), valid=int(number[VALIDATION]), test=int(number[TEST])
    )
