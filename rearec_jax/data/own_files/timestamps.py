"""Reads times, as numbers or ISO dates, as pairs of whole numbers that sort."""

from collections.abc import Callable
import logging
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from rearec_jax.errors import UserError

NEEDED = "times"  # what a column of them must hold, in words
UNFIT = (pl.Boolean, pl.Binary)  # types that hold none
_BILLION = 10**9
# 10^11 seconds are the year 5138; 10^11 milliseconds are 1973. So a size tells the unit.
_UNITS = (
    (10**17, 10**9, "nanoseconds"),
    (10**14, 10**6, "microseconds"),
    (10**11, 10**3, "milliseconds"),
)
UNITS = {1: "s", 10**3: "ms", 10**6: "us", 10**9: "ns"}  # by how many make a second
_NUMBER = r"^\s*([+-]?)(\d+)(?:\.(\d*))?\s*$"
_EXPONENT = r"^\s*[+-]?\d+(?:\.(\d*))?[eE]([+-]?\d+)\s*$"
_ISO = (
    r"^\s*(\d{4})-?(\d{2})-?(\d{2})"  # day
    r"(?:[T ](\d{2}):?(\d{2})(?::?(\d{2})(?:[.,](\d+))?)?"  # time of day
    r"\s*(?:Z|UTC|GMT|([+-])(\d{2})(?::?(\d{2}))?)?)?\s*$"  # offset
)


class Times(NamedTuple):
    """The times of a column; null where a value is neither a number nor an ISO date.

    whole:      Int64, since 1970 in the unit of the column, rounded down.
    fraction:   Int64, the billionths of a unit that are left.
    per_second: how many units make a second; 0: their sizes tell (``units_per_second``).
    step:       the units below which the column's numbers do not differ; 0: it is exact.
    """

    whole: pl.Series
    fraction: pl.Series
    per_second: int
    step: float = 0.0

    @property
    def are_dates(self) -> bool:
        """Says whether they are dates, not numbers."""
        return self.per_second > 0


def read_times(column: pl.Series, dates: bool | None = None) -> Times:
    """Reads numbers, or ISO dates or date-times, UTC unless they say otherwise.

    Args:
        column: the column, of numbers, dates or text.
        dates: of text, whether it holds dates; None: whether most of it does.
    """
    kind = column.dtype
    if kind.is_temporal():
        column = column.cast(pl.Datetime("us")) if kind == pl.Date else column
        unit = {"ms": 10**3, "us": 10**6, "ns": 10**9}[column.dtype.time_unit]  # type: ignore[attr-defined]
        return Times(column.to_physical(), _zeros(column), unit)
    if kind.is_integer():
        return Times(column.cast(pl.Int64, strict=False), _zeros(column), 0)
    if kind.is_float():
        return Times(*_of_floats(column), 0, _spacing(column))
    text = column.cast(pl.String)
    numbers = _numbers(text)
    if dates or (dates is None and numbers.whole.null_count() > len(text) // 2):
        times = _dates(text)
        if dates or times.whole.null_count() < numbers.whole.null_count():
            return times
    return numbers


def fault(value: Any) -> str:
    """Returns what is wrong with a value that is no time."""
    given = "no timestamp" if value is None else f"timestamp {str(value)!r}"
    return f"{given} where seconds since 1970 (a number) or an ISO date is needed"


def parse_option(text: str, option: str) -> int:
    """Returns the seconds since 1970 of an option that is an ISO date or date-time.

    Raises:
        UserError: it is not ISO.
    """
    seconds = _dates(pl.Series([text])).whole[0]
    if seconds is None:
        raise UserError(
            f"option {option}={text!r} must be an ISO date or date-time, for example 2016-05-14"
        )
    return seconds


def units_per_second(times: Times, locate: Callable[[int], str]) -> int:
    """Returns how many units of a column without null make a second.

    Numbers are seconds; where the median exceeds 10^11 they are milliseconds (10^14: microseconds,
    10^17: nanoseconds).

    Raises:
        UserError: a number has a larger unit than most; the message names ``locate(row)``.
    """
    if times.per_second:
        return times.per_second
    numbers = times.whole
    sizes = np.abs(numbers.to_numpy())
    median, row = np.median(sizes), int(sizes.argmax())
    for bound, per_second, unit in _UNITS:
        if median > bound:
            small = ((numbers > 0) & (numbers < bound)).arg_true()
            if len(small):
                logging.warning(
                    "%d of %d timestamps are so small that they are seconds, perhaps, where the"
                    " others are %s; the first, %s: %d",
                    len(small),
                    len(numbers),
                    unit,
                    locate(small[0]),
                    numbers[small[0]],
                )
            return per_second
        if sizes[row] > bound:
            raise UserError(
                f"{locate(row)}: timestamp {numbers[row]} has another unit than the others, most"
                " of which are far smaller; give all in seconds"
            )
    return 1


def _zeros(column: pl.Series) -> pl.Series:
    return pl.zeros(len(column), dtype=pl.Int64, eager=True)


def _spacing(column: pl.Series) -> float:
    """Returns how far the largest float of a column is from the next one of its type."""
    finite = column.filter(column.is_finite()).abs().to_numpy()
    return float(np.spacing(finite.max(initial=0)))


def _of_floats(column: pl.Series) -> tuple[pl.Series, pl.Series]:
    column = column.cast(pl.Float64)
    column = column.set(~column.is_finite(), None)
    whole = column.floor()
    fraction = ((column - whole) * _BILLION).round().cast(pl.Int64)
    return whole.cast(pl.Int64, strict=False), fraction


def _numbers(text: pl.Series) -> Times:
    """Reads numbers such as 881250949, 881250949.25 or 8.8e8."""
    whole = text.cast(pl.Int64, strict=False)
    if not whole.has_nulls():  # most files; the patterns take ten times as long
        return Times(whole, _zeros(whole), 0)
    parts = _groups(text, _NUMBER, "sign", "whole", "fraction").select(
        whole=pl.col("whole").cast(pl.Int64, strict=False) * _sign("sign"),
        fraction=_billionths("fraction") * _sign("sign"),
    )
    is_below = parts["fraction"] < 0  # -1.25 is -2 and 0.75
    whole = parts["whole"] - is_below.cast(pl.Int64)
    fraction = parts["fraction"] + _BILLION * is_below.cast(pl.Int64)
    if not whole.has_nulls():
        return Times(whole, fraction, 0)
    with_exponent = _groups(text, _EXPONENT, "digits", "exponent")
    is_float = with_exponent["exponent"].is_not_null()
    floats, fractions = _of_floats(text.cast(pl.Float64, strict=False))
    finest = with_exponent.select(
        (pl.col("exponent").cast(pl.Int64, strict=False) - pl.col("digits").str.len_chars()).min()
    ).item()
    step = 0.0
    if is_float.all() and finest is not None:
        step = max(10.0 ** min(finest, 18), _spacing(text.cast(pl.Float64, strict=False)))
    return Times(floats.zip_with(is_float, whole), fractions.zip_with(is_float, fraction), 0, step)


def _dates(text: pl.Series) -> Times:
    """Reads ISO dates and date-times."""
    names = ("year", "month", "day", "hour", "minute", "second", "fraction")
    parts = _groups(text, _ISO, *names, "sign", "hours", "minutes")
    fields = [pl.col(name).fill_null("00") for name in names[:-1]]
    start = pl.concat_str(fields, separator=" ").str.to_datetime(
        "%Y %m %d %H %M %S", strict=False, time_unit="us"
    )
    offset = 60 * pl.col("hours").cast(pl.Int64) + pl.col("minutes").fill_null("0").cast(pl.Int64)
    offset = pl.when(pl.col("hours").is_null()).then(0).otherwise(60 * offset * _sign("sign"))
    found = parts.select(
        whole=pl.when(pl.col("year").is_not_null()).then(start.dt.epoch("s") - offset),
        fraction=_billionths("fraction"),
    )
    return Times(found["whole"], found["fraction"], 1)


def _groups(text: pl.Series, pattern: str, *names: str) -> pl.DataFrame:
    """Returns a column for each group of the pattern, null where it does not match."""
    return text.str.extract_groups(pattern).struct.rename_fields(list(names)).struct.unnest()


def _sign(column: str) -> pl.Expr:
    return pl.when(pl.col(column) == "-").then(-1).otherwise(1)


def _billionths(column: str) -> pl.Expr:
    """Returns the digits after a point, "25", as billionths, 250000000; none are 0."""
    return pl.col(column).fill_null("").str.pad_end(9, "0").str.slice(0, 9).cast(pl.Int64)
