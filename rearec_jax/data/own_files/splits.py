"""Decides what each position is as a target: its period, less what may not be predicted."""

import datetime
from typing import NamedTuple

from jaxtyping import Bool, Int32, Int64, UInt8
import numpy as np
import polars as pl

from rearec_jax.config import DataConfig
from rearec_jax.data.interactions import CONTEXT, TEST, TRAIN, VALIDATION, positions, up_to_here
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
    period = _period(config, offsets, given)
    user = back_in_time(period, offsets)
    if user is not None:
        name = user if given.user_ids is None else given.user_ids[user]
        raise UserError(
            f"user {name}: the given splits go back in time (train after valid or test, or valid"
            " after test); correct the splits or the timestamps"
        )
    codes = period.copy()
    codes[positions(offsets) < config.min_history] = CONTEXT
    if given.target_ok is not None:
        codes[~given.target_ok] = CONTEXT
    if config.known_items_only:
        # This never changes a training target: all before it is training too.
        codes[_has_unknown(items, offsets, period)] = CONTEXT
    _require_targets(codes, period, config, given.timestamps)
    trained = np.concatenate([[0], np.cumsum(period == TRAIN)])
    return Split(codes, np.diff(trained[offsets]))


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
        times = np.sort(timestamps)
        places = (share * len(times) for share in (config.valid_fraction, config.test_fraction))
        valid_from, test_from = (float(times[int(place + 1e-6)]) for place in places)
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


def _period(
    config: DataConfig, offsets: Int64[np.ndarray, "users_plus_1"], given: Given
) -> UInt8[np.ndarray, "total"]:
    if config.split == "leave_one_out":
        return leave_one_out(offsets)
    if config.split == "given":
        if given.split is None:
            raise UserError(
                f"data.split=given needs a column {config.split_column!r} (data.split_column);"
                f" data.source={config.source} has none"
            )
        return given.split
    if given.timestamps is None:
        raise UserError(
            f"data.split={config.split} needs times; set data.timestamp_column (and a source"
            " that has them) or data.split=leave_one_out"
        )
    return by_time(given.timestamps, *time_cuts(config, given.timestamps))


def back_in_time(
    period: UInt8[np.ndarray, "total"], offsets: Int64[np.ndarray, "users_plus_1"]
) -> int | None:
    """Returns the first user whose periods go back in time, None if nobody's do.

    A training target after a held-out one would have that one in its history: a leak.
    """
    back = np.flatnonzero((period[1:] < period[:-1]) & (positions(offsets)[1:] > 0))
    return int(np.searchsorted(offsets, back[0], side="right")) - 1 if len(back) else None


def _has_unknown(
    items: Int32[np.ndarray, "total"],
    offsets: Int64[np.ndarray, "users_plus_1"],
    period: UInt8[np.ndarray, "total"],
) -> Bool[np.ndarray, "total"]:
    """Says for each position whether it or an item before it never occurs in training."""
    known = np.zeros(int(items.max()) + 1, dtype=bool)
    known[items[period == TRAIN]] = True
    return up_to_here(~known[items], offsets)


def _require_targets(
    codes: UInt8[np.ndarray, "total"],
    period: UInt8[np.ndarray, "total"],
    config: DataConfig,
    timestamps: Int64[np.ndarray, "total"] | None,
) -> None:
    """Raises UserError where a split has no target; given ones need but one of the held-out two."""
    absent = [code for code in (VALIDATION, TEST) if not (period == code).any()]
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
