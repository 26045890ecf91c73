"""Reads times, as numbers or ISO dates, as whole numbers that sort."""

from collections.abc import Callable
import logging

import numpy as np
import polars as pl

from rearec_jax.data.own_files import cells
from rearec_jax.errors import UserError

# 10^11 seconds are the year 5138; 10^11 milliseconds are 1973. So a size tells the unit.
_UNITS = (
    (10**17, 10**9, "nanoseconds"),
    (10**14, 10**6, "microseconds"),
    (10**11, 10**3, "milliseconds"),
)


def parse_column(column: pl.Series, locate: Callable[[int], str]) -> tuple[pl.Series, int]:
    """Returns times as Int64 in the finest unit of the column, and how many of it make a second.

    Whole numbers are seconds since 1970; where the median exceeds 10^11 they are milliseconds
    (10^14: microseconds, 10^17: nanoseconds), which is logged. Otherwise ISO dates or date-times,
    UTC unless they say otherwise.

    Raises:
        UserError: a value is neither; the message names ``locate(row)`` of the first.
    """
    if column.dtype.is_temporal():
        times = column.cast(pl.Datetime("us")).dt.epoch("us")
        _require(column, times, locate)
        return times, 10**6
    numbers = _whole_numbers(column)
    if column.dtype == pl.String and numbers.null_count() > len(numbers) // 2:
        times = _iso(column)
        if times.null_count() < numbers.null_count():
            _require(column, times, locate)
            return times, 10**6
    _require(column, numbers, locate)
    return numbers, _per_second(numbers, locate)


def parse_option(text: str, option: str) -> int:
    """Returns the seconds since 1970 of an option that is an ISO date or date-time.

    Raises:
        UserError: it is not ISO.
    """
    try:
        return int(cells.iso_seconds(text))
    except ValueError as error:
        raise UserError(
            f"option {option}={text!r} must be an ISO date or date-time, for example 2016-05-14"
        ) from error


def _whole_numbers(column: pl.Series) -> pl.Series:
    if column.dtype.is_integer():
        return column.cast(pl.Int64, strict=False)
    if column.dtype.is_decimal():
        column = column.cast(pl.Float64)
    if column.dtype.is_float():
        whole = pl.when(pl.col("t") == pl.col("t").round()).then(pl.col("t"))
        return column.rename("t").to_frame().select(whole.cast(pl.Int64, strict=False))["t"]
    numbers = column.cast(pl.Int64, strict=False)
    if numbers.has_nulls():  # 881250949.0 or 8.8e8, as tools that keep times as floats write them
        numbers = _whole_numbers(column.cast(pl.Float64, strict=False))
    return numbers


def _iso(column: pl.Series) -> pl.Series:
    """Returns microseconds since 1970; null where a value is not ISO."""
    text = pl.col("t").str.strip_chars().str.replace("T", " ").str.replace("Z$", "+00:00")
    text = text.str.replace(r"^(\d{4}-\d{2}-\d{2})$", "$1 00:00:00")
    text = text.str.replace(r"^(\S+ \d{2}:\d{2})($|[+-])", "${1}:00$2")
    text = text.str.replace(r"(:\d{2}(?:\.\d+)?[+-]\d{2})$", "$1:00")
    text = text.str.replace(r"(:\d{2}(\.\d+)?)$", "$1+00:00")
    # After an offset like +02:00 the line above has added a second one.
    text = text.str.replace(r"([+-]\d{2}:\d{2})\+00:00$", "$1")
    times = text.str.to_datetime("%Y-%m-%d %H:%M:%S%.f%:z", strict=False, time_unit="us")
    return column.rename("t").to_frame().select(times.dt.epoch("us"))["t"]


def _per_second(numbers: pl.Series, locate: Callable[[int], str]) -> int:
    sizes = np.abs(numbers.to_numpy())
    median, row = np.median(sizes), int(sizes.argmax())
    for bound, per_second, unit in _UNITS:
        if median > bound:
            logging.info("timestamps are read as %s", unit)
            _warn_of_seconds(numbers, bound, unit, locate)
            return per_second
        if sizes[row] > bound:
            raise UserError(
                f"{locate(row)}: timestamp {numbers[row]} has another unit than the others, most"
                " of which are far smaller; give all in seconds"
            )
    return 1


def _warn_of_seconds(
    numbers: pl.Series, bound: int, unit: str, locate: Callable[[int], str]
) -> None:
    small = ((numbers > 0) & (numbers < bound)).arg_true()
    if len(small):
        logging.warning(
            "%d of %d timestamps are so small that they are seconds, perhaps, where the others are"
            " %s; the first, %s: %d",
            len(small),
            len(numbers),
            unit,
            locate(small[0]),
            numbers[small[0]],
        )


def _require(column: pl.Series, times: pl.Series, locate: Callable[[int], str]) -> None:
    if times.has_nulls():
        row = int(times.is_null().to_numpy().argmax())
        value = "no timestamp" if column[row] is None else f"timestamp {str(column[row])!r}"
        raise UserError(
            f"{locate(row)}: {value} where seconds since 1970 (a whole number) or an ISO date"
            " is needed"
        )
