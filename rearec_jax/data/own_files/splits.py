"""Decides what each position is as a target: its period, less what may not be predicted."""

from collections.abc import Iterator
import datetime
from typing import NamedTuple

from jaxtyping import Bool, Int32, Int64, UInt8
import numpy as np
import polars as pl

from rearec_jax.config import DataConfig
from rearec_jax.data.interactions import (
    CONTEXT,
    PART,
    TEST,
    TRAIN,
    VALIDATION,
    parts,
    positions,
    up_to_here,
)
from rearec_jax.data.own_files.timestamps import parse_option
from rearec_jax.errors import UserError


class Split(NamedTuple):
    """The split of a data set.

    codes:            CONTEXT, TRAIN, VALIDATION or TEST of every position.
    training_lengths: the number of each user's positions in the training period.
    """

    codes: UInt8[np.ndarray, "total"]
    training_lengths: Int64[np.ndarray, "users"]


class Given(NamedTuple):
    """The columns that a source may give beside users and items; None where it lacks one.

    timestamps: the time of each position, seconds since 1970.
    split:      the split code of each position.
    target_ok:  False for positions that may not be targets.
    user_ids:   the raw id of each user, for errors.
    """

    timestamps: Int64[np.ndarray, "total"] | None = None
    split: UInt8[np.ndarray, "total"] | None = None
    target_ok: Bool[np.ndarray, "total"] | None = None
    user_ids: pl.Series | None = None


def assign(
    config: DataConfig,
    items: Int32[np.ndarray, "total"],
    offsets: Int64[np.ndarray, "users_plus_1"],
    given: Given,
) -> Split:
    """Assigns split codes by ``config``, in three steps.

    1. The period of each position (TRAIN, VALIDATION, TEST), by ``config.split``.
    2. CONTEXT where the history is shorter than ``min_history`` or ``target_ok`` is False.
    3. With ``known_items_only``, CONTEXT where a held-out target or an item of its history does
       not occur in the training period (whether as a target or as context).

    Given splits may lack validation, and train without early stopping then, or the test, and have
    no results of it.

    Raises:
        UserError: the data lack times or splits, the given splits of a user go back in time, or no
            target is left in training, validation or test.
    """
    cuts = _cuts(config, given)
    known = None
    if config.known_items_only:
        known = np.zeros(int(items.max()) + 1, dtype=bool)
        for _, rows, period in _periods(config, offsets, given, cuts):
            known[items[rows][period == TRAIN]] = True
    codes = np.empty(len(items), np.uint8)
    lengths = np.empty(len(offsets) - 1, np.int64)
    there: set[int] = set()
    for users, rows, period in _periods(config, offsets, given, cuts):
        own = offsets[users.start : users.stop + 1] - rows.start
        user = back_in_time(period, own)
        if user is not None:
            user += users.start
            name = user if given.user_ids is None else given.user_ids[user]
            raise UserError(
                f"user {name}: the given splits go back in time (train after valid or test, or"
                " valid after test); correct the splits or the timestamps"
            )
        part = codes[rows]
        part[:] = period
        part[positions(own) < config.min_history] = CONTEXT
        if given.target_ok is not None:
            part[~given.target_ok[rows]] = CONTEXT
        if known is not None:
            # This never changes a training target: all before it is training too.
            part[up_to_here(~known[items[rows]], own)] = CONTEXT
        lengths[users] = np.diff(np.append(0, np.cumsum(period == TRAIN))[own])
        there.update(np.unique(period).tolist())
    _require_targets(codes, there, config, given.timestamps)
    return Split(codes, lengths)


def leave_one_out(offsets: Int64[np.ndarray, "users_plus_1"]) -> UInt8[np.ndarray, "total"]:
    """Returns TEST for a user's last position, VALIDATION for the one before, else TRAIN.

    Users with fewer than three interactions only train.
    """
    period = np.full(offsets[-1], TRAIN, dtype=np.uint8)
    ends = offsets[1:][np.diff(offsets) >= 3]
    period[ends - 1] = TEST
    period[ends - 2] = VALIDATION
    return period


def by_time(
    timestamps: Int64[np.ndarray, "total"], valid_from: float, test_from: float
) -> UInt8[np.ndarray, "total"]:
    """Returns TEST from ``test_from`` on, VALIDATION from ``valid_from`` on, else TRAIN.

    All times are seconds since 1970.
    """
    period = np.full(len(timestamps), TRAIN, dtype=np.uint8)
    period[timestamps >= valid_from] = VALIDATION
    period[timestamps >= test_from] = TEST
    return period


def time_cuts(config: DataConfig, timestamps: Int64[np.ndarray, "total"]) -> tuple[float, float]:
    """Returns the times at which validation and test begin, in seconds since 1970.

    Raises:
        UserError: a date is not ISO, or test begins before validation.
    """
    if config.split == "interaction_fraction":
        shares = (config.valid_fraction, config.test_fraction)
        places = (int(share * len(timestamps) + 1e-6) for share in shares)
        valid_from, test_from = (float(_at_place(timestamps, place)) for place in places)
        return valid_from, test_from
    if config.split == "time_fraction":
        first, last = int(timestamps.min()), int(timestamps.max())
        span = last - first
        return first + config.valid_fraction * span, first + config.test_fraction * span
    valid_from = parse_option(config.valid_from, "data.valid_from")
    test_from = parse_option(config.test_from, "data.test_from")
    if valid_from >= test_from:
        raise UserError(
            f"data.valid_from={config.valid_from} must lie before data.test_from={config.test_from}"
        )
    return float(valid_from), float(test_from)


def _at_place(times: Int64[np.ndarray, "total"], place: int) -> int:
    """Returns the time that stands at ``place`` in sorted order, by halving, without sorting."""
    low, high = int(times.min()), int(times.max())
    while low < high:
        middle = (low + high) // 2
        starts = range(0, len(times), PART)
        count = sum(np.count_nonzero(times[start : start + PART] <= middle) for start in starts)
        low, high = (low, middle) if count > place else (middle + 1, high)
    return low


def _cuts(config: DataConfig, given: Given) -> tuple[float, float] | None:
    """Returns the times at which validation and test begin, None where times do not decide."""
    if config.split == "leave_one_out":
        return None
    if config.split == "given":
        if given.split is None:
            raise UserError(
                f"data.split=given needs a column {config.split_column!r} (data.split_column);"
                f" data.source={config.source} has none"
            )
        return None
    if given.timestamps is None:
        raise UserError(
            f"data.split={config.split} needs times; set data.timestamp_column (and a source"
            " that has them) or data.split=leave_one_out"
        )
    return time_cuts(config, given.timestamps)


def _periods(
    config: DataConfig,
    offsets: Int64[np.ndarray, "users_plus_1"],
    given: Given,
    cuts: tuple[float, float] | None,
) -> Iterator[tuple[slice, slice, UInt8[np.ndarray, "part"]]]:
    """Yields stretches of users: their slice, that of their positions, and the periods of these."""
    for users, rows in parts(offsets):
        if cuts is not None and given.timestamps is not None:
            period = by_time(given.timestamps[rows], *cuts)
        elif config.split == "given" and given.split is not None:
            period = given.split[rows]
        else:
            period = leave_one_out(offsets[users.start : users.stop + 1] - rows.start)
        yield users, rows, period


def back_in_time(
    period: UInt8[np.ndarray, "total"], offsets: Int64[np.ndarray, "users_plus_1"]
) -> int | None:
    """Returns the first user whose periods go back in time, None if nobody's do.

    A training target after a held-out one would have that one in its history: a leak.
    """
    back = np.flatnonzero((period[1:] < period[:-1]) & (positions(offsets)[1:] > 0))
    return int(np.searchsorted(offsets, back[0], side="right")) - 1 if len(back) else None


def _require_targets(
    codes: UInt8[np.ndarray, "total"],
    periods: set[int],
    config: DataConfig,
    timestamps: Int64[np.ndarray, "total"] | None,
) -> None:
    """Raises UserError where a split has no target; given ones need but one of the held-out two."""
    absent = [code for code in (VALIDATION, TEST) if code not in periods]
    may_be_absent = absent[:1] if config.split == "given" else []
    for code, name in ((TRAIN, "training"), (VALIDATION, "validation"), (TEST, "test")):
        if code in may_be_absent or (codes == code).any():
            continue
        filters = [f"data.min_history={config.min_history}"] if config.min_history > 1 else []
        if config.known_items_only:
            filters.append("data.known_items_only")
        if config.rating_above is not None:
            filters.append(f"data.rating_above={config.rating_above}")
        loosen = f", or loosen {', '.join(filters)}" if filters else ""
        hint = _cuts_hint(code, config, timestamps)
        raise UserError(f"no target is left for {name}: {hint}{loosen}")


def _cuts_hint(code: int, config: DataConfig, timestamps: Int64[np.ndarray, "total"] | None) -> str:
    if config.split == "leave_one_out":
        fewest = config.min_history + (3 if code == TRAIN else 2)
        lower = ", so lower data.core" if config.core > fewest else ""
        return f"leave_one_out needs users with at least {fewest} interactions{lower}"
    if timestamps is None or config.split == "given":
        return f"correct column {config.split_column!r}"
    first, last = _day(timestamps.min()), _day(timestamps.max())
    options = ("valid_from", "test_from")
    if config.split != "time":
        options = ("valid_fraction", "test_fraction")
    values = " and ".join(f"data.{name}={getattr(config, name)}" for name in options)
    return f"the data run from {first} to {last}, so change {values}"


def _day(seconds: np.integer) -> str:
    try:
        return datetime.datetime.fromtimestamp(int(seconds), datetime.UTC).strftime("%Y-%m-%d")
    except (ValueError, OverflowError, OSError):  # not of the years 1 to 9999
        return f"{seconds} (seconds since 1970)"
