"""Reads an input file in pieces of bounded size; a wrong row is reported and left out.

The file is read record by record: the line of a row is known, and one bad row spoils no other.
"""

from collections.abc import Iterator, Sequence
import dataclasses
import itertools
import pathlib
from typing import Any
import zlib

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from rearec_jax.data.own_files import cells
from rearec_jax.errors import UserError

ROWS = 16_384  # of a file in memory at once
FORMATS = (".parquet", ".csv", ".tsv")
BAD_BYTES = "surrogateescape"  # what is not UTF-8 becomes characters that no text has


@dataclasses.dataclass(frozen=True)
class Columns:
    """The names of the columns. A file has ``items``, a row a user, or ``item``, a row an item.

    user:      the column of user ids.
    items:     the column of a user's items, oldest first.
    item:      the column of an interaction's item.
    timestamp: the column of an interaction's time; the file may lack it.
    """

    user: str
    items: str
    item: str
    timestamp: str


@dataclasses.dataclass(frozen=True)
class Wrong:
    """A row that was left out.

    line:   its line in the file, where the header is 1; of Parquet, its row, from 1.
    reason: what is wrong with it.
    """

    line: int
    reason: str


@dataclasses.dataclass(frozen=True)
class Piece:
    """The good rows and the wrong ones of a stretch of the file.

    lines:  the line of each good row.
    users:  the user id of each good row.
    values: the list of item ids of a user's row; the item and the time of an interaction.
    wrong:  the rows that were left out.
    """

    lines: list[int]
    users: list[str]
    values: list[Any]
    wrong: list[Wrong]


def existing(path: str) -> pathlib.Path:
    """Returns the path of the input file.

    Raises:
        UserError: there is no such file, or its kind is unknown.
    """
    found = pathlib.Path(path)
    if not found.is_file():
        raise UserError(f"--input={path} does not exist")
    if cells.suffix(found) not in FORMATS:
        raise UserError(f"--input={path}: its name must end in {', '.join(FORMATS)} (or .csv.gz)")
    return found


def is_by_user(path: pathlib.Path, columns: Columns) -> bool:
    """Says whether a row is a user with all items, and not one interaction.

    Raises:
        UserError: it is neither, or the file cannot be read.
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
    """Yields the file from its start to its end, ``ROWS`` rows a piece.

    Raises:
        UserError: the file cannot be read on.
    """
    by_user, names = is_by_user(path, columns), _names(path)
    timed = not by_user and columns.timestamp in names
    wanted = [columns.user, columns.items if by_user else columns.item]
    wanted += [columns.timestamp] if timed else []
    is_parquet = cells.suffix(path) == ".parquet"
    read = _parquet(path, wanted) if is_parquet else _delimited(path, wanted)
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
        raise UserError(f"{path} cannot be read on: {cells.first_line(error)}") from error


def _names(path: pathlib.Path) -> list[str]:
    try:
        if cells.suffix(path) == ".parquet":
            return pq.read_schema(path).names
        with cells.open_text(path, BAD_BYTES, newline=None) as file:
            return _fields(file.readline(), path)
    except (OSError, EOFError, ValueError, zlib.error, pa.ArrowException) as error:
        raise UserError(f"{path} cannot be read: {cells.first_line(error)}") from error


def _parquet(path: pathlib.Path, wanted: Sequence[str]) -> Iterator[tuple[int, list[Any]]]:
    number = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(ROWS, columns=list(wanted)):
            # Polars turns columns of lists into Python's lists far faster than Arrow does.
            columns = [pl.Series(batch.column(name)).to_list() for name in wanted]
            for fields in zip(*columns, strict=True):
                number += 1
                yield number, list(fields)


def _delimited(path: pathlib.Path, wanted: Sequence[str]) -> Iterator[tuple[int, Any]]:
    """Yields lines and the wanted fields; a ValueError in their place where a line is malformed.

    Each line is parsed for itself: a quote that is never closed spoils one line, not the rest.
    """
    with cells.open_text(path, BAD_BYTES, newline=None) as file:
        names = _fields(file.readline(), path)
        indices = [names.index(name) for name in wanted]
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
            yield number, [fields[index] for index in indices]


def _fields(line: str, path: pathlib.Path) -> list[str]:
    form = cells.TABS if cells.suffix(path) == ".tsv" else cells.COMMAS
    return form.fields(line.rstrip("\n"), strict=True)


def _row(fields: Any, by_user: bool) -> tuple[str, Any]:
    """Returns user and value of a row. Raises ValueError, which says what is wrong with it."""
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
    return user, (item, cells.seconds(fields[2]) if len(fields) > 2 else 0.0)


def _id(value: Any, kind: str) -> str:
    try:
        text = cells.id_text(value)
        text.encode()
    except UnicodeError as error:
        raise ValueError(f"the {kind} id is not UTF-8 text") from error
    except TypeError as error:
        raise ValueError(
            f"the {kind} id {value!r} is neither text nor an exact whole number"
        ) from error
    if not text.strip():
        raise ValueError(f"no {kind} id")
    return text
