"""The rules for users' files: how lines become cells, and cells ids and times.

`tables` reads a file at once, with Polars; `user_rows` reads it row by row, so that a wrong row
spoils no other. Both keep these rules.
"""

from collections.abc import Iterable
import contextlib
import csv
import dataclasses
import datetime
import decimal
import gzip
import io
import math
from pathlib import Path
from typing import Any

import polars as pl

LARGEST = 2**53  # whole numbers beyond it may have been rounded in a column of floats

csv.field_size_limit(2**31 - 1)  # characters; a long history has more than csv's own 131,072


@dataclasses.dataclass(frozen=True)
class Format:
    """The format of a delimited file.

    separator: the character between two fields.
    quotes:    whether a field may be quoted. Only those of CSV may: titles and ids in
        tab-separated files hold bare quotes.
    """

    separator: str
    quotes: bool

    def records(self, lines: Iterable[str], strict: bool = False) -> Any:
        """Returns the `csv.reader` of the lines; a ``strict`` one raises `csv.Error`."""
        quoting = csv.QUOTE_MINIMAL if self.quotes else csv.QUOTE_NONE
        return csv.reader(lines, delimiter=self.separator, quoting=quoting, strict=strict)

    def fields(self, line: str, strict: bool = False) -> list[str]:
        """Returns the fields of one line; raises ValueError where a ``strict`` one is malformed."""
        try:
            return next(self.records([line], strict), [])
        except csv.Error as error:
            raise ValueError(str(error)) from error


TABS, COMMAS = Format("\t", quotes=False), Format(",", quotes=True)


def suffix(path: Path) -> str:
    """Returns '.csv' of both a.csv and a.csv.gz."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def is_gzip(path: Path) -> bool:
    """Says whether the file's name ends in .gz."""
    return path.suffix.lower() == ".gz"


def open_bytes(path: Path) -> io.BufferedReader | gzip.GzipFile:
    """Opens a file, plain or .gz, to read bytes."""
    return gzip.open(path, "rb") if is_gzip(path) else path.open("rb")


def open_text(path: Path, errors: str = "strict", newline: str | None = "") -> io.TextIOWrapper:
    """Opens a UTF-8 file, plain or .gz, to read text; the last two are those of `open`."""
    return io.TextIOWrapper(open_bytes(path), encoding="utf-8-sig", errors=errors, newline=newline)


def id_text(value: Any) -> str:
    """Returns the id in a cell of any type, "" where there is none.

    Where a number is missing pandas makes all of them floats: 17.0 is "17", and NaN is no id.

    Raises:
        UnicodeError: bytes that are no UTF-8 text.
        TypeError: neither text nor an exact whole number.
    """
    match value:
        case None:
            return ""
        case str():
            return value
        case bytes():
            return value.decode()
        case bool():
            raise TypeError
        case int():
            return str(value)
        case float() if math.isnan(value):
            return ""
        case float() if value.is_integer() and abs(value) <= LARGEST:
            return str(int(value))
        case decimal.Decimal() if value == value.to_integral_value():
            return str(int(value))
    raise TypeError


def id_texts(column: pl.Series) -> pl.Series:
    """Returns a column of ids as Strings, null where there is none; as ``id_text``.

    A float that is no whole number keeps its digits: a table's ids need not be exact.
    """
    if not column.dtype.is_float():
        return column.cast(pl.String)
    column = column.fill_nan(None)
    whole = column.cast(pl.Int64, strict=False)
    as_text = whole.cast(pl.String).zip_with(whole == column, column.cast(pl.String))
    return as_text.set(column.is_null(), None)


def seconds(value: Any) -> float:
    """Returns the time in a cell: a number as it is, a date as seconds since 1970.

    Raises:
        ValueError: neither a finite number nor an ISO date.
    """
    if isinstance(value, datetime.date | datetime.datetime):
        value = value.isoformat()
    with contextlib.suppress(TypeError, ValueError):
        number = float(value)
        if math.isfinite(number):
            return number
    try:
        return iso_seconds(str(value))
    except ValueError as error:
        raise ValueError(f"timestamp {value!r} is neither a number nor an ISO date") from error


def iso_seconds(text: str) -> float:
    """Returns the seconds since 1970 of an ISO date or date-time, UTC unless it has an offset.

    Raises:
        ValueError: the text is not ISO.
    """
    time = datetime.datetime.fromisoformat(text)
    if time.tzinfo is None:
        time = time.replace(tzinfo=datetime.UTC)
    return time.timestamp()


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message; those of libraries may have many."""
    return str(error).strip().partition("\n")[0]
