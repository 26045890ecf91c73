"""Rows of an input file in pieces of bounded size; a wrong row is told, not fatal.

Read record by record: a row's line in the file is known, and one bad row spoils no other.
"""

from collections.abc import Iterator, Sequence
import contextlib
import csv
import dataclasses
import datetime
import decimal
import gzip
import io
import itertools
import math
import pathlib
from typing import Any
import zlib

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from rearec_jax.errors import UserError

ROWS = 16_384  # of a file in memory at once
FORMATS = (".parquet", ".csv", ".tsv")
BAD_BYTES = "surrogateescape"  # what is not UTF-8 becomes characters that no text has
LARGEST = 2**53  # of whole numbers in a float column: those beyond may have been rounded

csv.field_size_limit(2**31 - 1)  # characters; a long history has more than csv's own 131,072


@dataclasses.dataclass(frozen=True)
class Columns:
    """Names in the input. A file has ``items``, a row a user, or ``item``, a row an interaction."""

    user: str
    items: str
    item: str
    timestamp: str


@dataclasses.dataclass(frozen=True)
class Wrong:
    """A row that was left out. line: of the file, the header is 1; of Parquet, the row from 1."""

    line: int
    reason: str


@dataclasses.dataclass(frozen=True)
class Piece:
    """Good rows and wrong ones of a stretch of the file.

    values: of a user's row its list of item ids, of an interaction's its item and time.
    """

    lines: list[int]
    users: list[str]
    values: list[Any]
    wrong: list[Wrong]


def existing(path: str) -> pathlib.Path:
    """The input file.

    Raises:
        UserError: there is none, or its kind is unknown.
    """
    place = pathlib.Path(path)
    if not place.is_file():
        raise UserError(f"--input={path} does not exist")
    if suffix(place) not in FORMATS:
        raise UserError(f"--input={path}: its name must end in {', '.join(FORMATS)} (or .csv.gz)")
    return place


def suffix(path: pathlib.Path) -> str:
    """'.csv' of both a.csv and a.csv.gz."""
    return pathlib.Path(path.name.lower().removesuffix(".gz")).suffix


def is_by_user(path: pathlib.Path, columns: Columns) -> bool:
    """Is a row a user with all items (else one interaction)?

    Raises:
        UserError: neither, or the file cannot be read.
    """
    names = _names(path)
    kinds = f"{columns.items!r} (--items_column) or {columns.item!r} (--item_column)"
    if columns.user not in names or not {columns.items, columns.item} & set(names):
        raise UserError(
            f"{path} needs a column {columns.user!r} (--user_column) and one of {kinds}; its"
            f" columns are {', '.join(names)}"
        )
    return columns.items in names


def pieces(path: pathlib.Path, columns: Columns) -> Iterator[Piece]:
    """The file from its start to its end, ``ROWS`` rows a piece.

    Raises:
        UserError: the file cannot be read on.
    """
    by_user, names = is_by_user(path, columns), _names(path)
    timed = not by_user and columns.timestamp in names
    wanted = [columns.user, columns.items if by_user else columns.item]
    wanted += [columns.timestamp] if timed else []
    read = _parquet(path, wanted) if suffix(path) == ".parquet" else _delimited(path, wanted)
    for rows in _blocks(path, read):
        piece = Piece([], [], [], [])
        for line, fields in rows:
            try:
                user, value = _row(fields, by_user)
            except ValueError as error:
                piece.wrong.append(Wrong(line, str(error)))
                continue
            piece.lines.append(line)
            piece.users.append(user)
            piece.values.append(value)
        yield piece


def _blocks(path: pathlib.Path, read: Iterator[Any]) -> Iterator[list[Any]]:
    try:
        while rows := list(itertools.islice(read, ROWS)):
            yield rows
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        raise UserError(f"{path} cannot be read on: {_first_line(error)}") from error


def _names(path: pathlib.Path) -> list[str]:
    try:
        if suffix(path) == ".parquet":
            return pq.read_schema(path).names
        with _open(path) as file:
            return _fields(file.readline(), path)
    except (OSError, EOFError, ValueError, zlib.error, pa.ArrowException) as error:
        raise UserError(f"{path} cannot be read: {_first_line(error)}") from error


def _parquet(path: pathlib.Path, wanted: Sequence[str]) -> Iterator[tuple[int, list[Any]]]:
    number = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(ROWS, columns=list(wanted)):
            # Through Polars: lists of a quarter of a second's rows become Python's in no time.
            columns = [pl.Series(batch.column(name)).to_list() for name in wanted]
            for fields in zip(*columns, strict=True):
                number += 1
                yield number, list(fields)


def _delimited(path: pathlib.Path, wanted: Sequence[str]) -> Iterator[tuple[int, Any]]:
    """Lines and the wanted fields; a ValueError in their place where a line is malformed.

    Each line is parsed for itself: a quote that is never closed spoils one line, not the rest.
    """
    with _open(path) as file:
        names = _fields(file.readline(), path)
        places = [names.index(name) for name in wanted]
        for number, line in enumerate(file, start=2):
            if not line.strip():
                continue
            try:
                fields = _fields(line, path)
                if len(fields) != len(names):
                    raise ValueError(f"{len(fields)} fields where the header has {len(names)}")
            except ValueError as error:
                yield number, error
                continue
            yield number, [fields[place] for place in places]


def _fields(line: str, path: pathlib.Path) -> list[str]:
    """Fields of a line; raises ValueError. Only CSV has quotes: ids in TSV may hold bare ones."""
    tabbed = suffix(path) == ".tsv"
    separator, quoting = ("\t", csv.QUOTE_NONE) if tabbed else (",", csv.QUOTE_MINIMAL)
    reader = csv.reader([line.rstrip("\n")], delimiter=separator, quoting=quoting, strict=True)
    try:
        return next(reader, [])
    except csv.Error as error:
        raise ValueError(str(error)) from error


def _row(fields: Any, by_user: bool) -> tuple[str, Any]:
    """User and value of a row. Raises ValueError, which says what is wrong with it."""
    if isinstance(fields, ValueError):
        raise fields
    user = _id(fields[0], "user")
    if by_user:
        items = fields[1]
        items = items.split() if isinstance(items, str) else [] if items is None else items
        if not isinstance(items, list):
            raise ValueError(f"items are {items!r}, not a list of ids")
        return user, [_id(item, "item") for item in items]
    item = _id(fields[1], "item")
    return user, (item, _seconds(fields[2]) if len(fields) > 2 else 0.0)


def _id(value: Any, what: str) -> str:
    try:
        text = _id_text(value)
        text.encode()
    except UnicodeError as error:
        raise ValueError(f"the {what} id is not UTF-8 text") from error
    except TypeError as error:
        raise ValueError(
            f"the {what} id {value!r} is neither text nor an exact whole number"
        ) from error
    if not text.strip():
        raise ValueError(f"no {what} id")
    return text


def _id_text(value: Any) -> str:
    """The id in a column of any type: "17" of 17.0, as pandas has it where a number is missing.

    Raises:
        UnicodeError: bytes that are no text.
        TypeError: nothing that an id may be.
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
        case float() if math.isnan(value):  # what pandas writes for a missing number
            return ""
        case float() if value.is_integer() and abs(value) <= LARGEST:
            return str(int(value))
        case decimal.Decimal() if value == value.to_integral_value():
            return str(int(value))
    raise TypeError


def _seconds(value: Any) -> float:
    """Numbers as they are, dates as seconds since 1970 (UTC unless they say otherwise)."""
    if isinstance(value, datetime.date | datetime.datetime):
        value = value.isoformat()
    with contextlib.suppress(TypeError, ValueError):
        number = float(value)
        if math.isfinite(number):
            return number
    try:
        time = datetime.datetime.fromisoformat(str(value))
    except ValueError as error:
        raise ValueError(f"timestamp {value!r} is neither a number nor an ISO date") from error
    if time.tzinfo is None:
        time = time.replace(tzinfo=datetime.UTC)
    return time.timestamp()


def _open(path: pathlib.Path) -> io.TextIOWrapper:
    is_gzip = path.suffix.lower() == ".gz"
    return io.TextIOWrapper(
        gzip.open(path, "rb") if is_gzip else path.open("rb"),
        encoding="utf-8-sig",
        errors=BAD_BYTES,
    )


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
