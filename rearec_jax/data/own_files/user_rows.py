"""Reads an input file in pieces of bounded size; a wrong row is reported and left out."""

from collections.abc import Callable, Iterator
import dataclasses
import functools
import itertools
import pathlib
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from rearec_jax.data.own_files import cells, paths, tables, timestamps
from rearec_jax.data.own_files.columns import ITEM, SEVERAL, TIME, USER, choose, likely, plain
from rearec_jax.data.own_files.records import Header, TextOptions, Wrong
from rearec_jax.errors import UserError

ROWS = 16_384  # users of a piece
_TYPED_HEADERS = (".inter", ".item")  # of RecBole


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
class Piece:
    """The good rows and the wrong ones of a stretch of the file.

    lines:  the first line of each user.
    users:  the id of each user.
    values: the item ids of each user.
    wrong:  the rows that were left out.
    """

    lines: list[int]
    users: list[str]
    values: list[list[str]]
    wrong: list[Wrong]


class Input(NamedTuple):
    """An input file.

    path:       the file.
    header:     all its columns.
    columns:    the names of its columns.
    is_by_user: whether a row is a user with all items, and not one interaction.
    """

    path: pathlib.Path
    header: Header
    columns: Columns
    is_by_user: bool


def open_input(path: str, columns: Columns) -> Input:
    """Finds out what the input file holds.

    Raises:
        UserError: there is no such file, or it has neither kind of rows.
    """
    found = paths.existing_file(path, "--input")
    header = tables.read_header(found, TextOptions(typed=paths.suffix(found) in _TYPED_HEADERS))
    names = header.columns
    columns = _there(path, columns, names)
    if columns.user not in names or not {columns.items, columns.item} & set(names):
        raise UserError(
            f"{path} needs a column {columns.user!r} (--user_column) and one of"
            f" {columns.items!r} (--items_column) or {columns.item!r} (--item_column); its columns"
            f" are {', '.join(names)}"
        )
    is_by_user = columns.items in names
    used = ("user", "items") if is_by_user else ("user", "item", "timestamp")
    for one, other in itertools.combinations(used, 2):
        if (name := getattr(columns, one)) == getattr(columns, other):
            raise UserError(
                f"{path}: --{one}_column and --{other}_column are both {name!r}; name a column each"
            )
    return Input(found, header, columns, is_by_user)


def _there(path: str, columns: Columns, names: list[str]) -> Columns:
    """Returns the columns that a file has in place of the default ones that it lacks."""
    found = {"items": next((name for name in names if plain(name) in SEVERAL), columns.items)}
    if columns.items in names or columns.items != "items":
        found = {}
    for field, role in {"user": USER, "item": ITEM, "timestamp": TIME}.items():
        given = getattr(columns, field)
        single = [name for name in names if plain(name) not in SEVERAL]
        if given == role.default and likely(single, role):
            found[field] = choose(single, role, given, f"--{field}_column", path)
    return dataclasses.replace(columns, **found)


def pieces(source: Input) -> Iterator[Piece]:
    """Yields a file of a row a user from its start to its end, ``ROWS`` rows a piece.

    Raises:
        UserError: the file cannot be read on.
    """
    user, items = source.columns.user, source.columns.items
    for table in tables.stretches(source.path, source.header, [user, items], ROWS):
        ids, wrong = table.ids(user), list(table.wrong)
        for start in range(0, max(1, len(ids)), ROWS):
            rows = slice(start, start + ROWS)
            piece = Piece([], [], [], wrong if start == 0 else [])
            columns = (ids[rows], table.frame[user][rows], table.frame[items][rows])
            number = np.float32 if columns[2].dtype == pl.List(pl.Float32) else None
            for line, one, given, cell in zip(
                table.lines[rows].tolist(), *(one.to_list() for one in columns), strict=True
            ):
                try:
                    if one is None:
                        raise ValueError(cells.id_fault(given, f"column {user!r}"))
                    values = _items(cell, number)
                except ValueError as error:
                    piece.wrong.append(Wrong(line, str(error)))
                    continue
                piece.lines.append(line)
                piece.users.append(one)
                piece.values.append(values)
            yield piece


def interactions(source: Input) -> Iterator[tuple[pl.DataFrame, list[Wrong]]]:
    """Yields a file of interactions from its start to its end, and the rows that were left out.

    The columns are line, user and item and, in a file that has times, time and fraction (see
    `timestamps.Times`).

    Raises:
        UserError: the file cannot be read on.
    """
    user, item, timestamp = source.columns.user, source.columns.item, source.columns.timestamp
    faults = {"user": (user, _id_fault(user)), "item": (item, _id_fault(item))}
    if timestamp in source.header.columns:
        faults["time"] = (timestamp, timestamps.fault)
    wanted = [column for column, _ in faults.values()]
    dates = None  # whether times are dates, as the first stretch says
    for table in tables.stretches(source.path, source.header, wanted):
        found = {"line": pl.Series(table.lines), "user": table.ids(user), "item": table.ids(item)}
        if "time" in faults:
            column = table.column(timestamp, timestamps.NEEDED, *timestamps.UNFIT)
            times = timestamps.read_times(column, dates)
            dates = times.are_dates if len(column) else dates
            found |= {"time": times.whole, "fraction": times.fraction}
        frame = pl.DataFrame(found)
        wrong = dict(table.wrong)
        for name, (column, fault) in faults.items():
            for row in frame[name].is_null().arg_true():
                wrong.setdefault(int(table.lines[row]), fault(table.frame[column][row]))
        yield frame.drop_nulls(), [Wrong(*one) for one in sorted(wrong.items())]


def _id_fault(column: str) -> Callable[[Any], str]:
    return functools.partial(cells.id_fault, place=f"column {column!r}")


def _items(cell: Any, number: type | None) -> list[str]:
    """Returns the ids of a list, or of a cell of text. Raises ValueError where it is neither.

    ``number`` is NumPy's type of the list's numbers where Polars makes wider ones of them.
    """
    if isinstance(cell, bytes):
        cell = cell.decode()  # UnicodeError is a ValueError
    items = cells.item_list(cell) if isinstance(cell, str) else [] if cell is None else cell
    if not isinstance(items, list):
        raise ValueError(f"items are {cell!r}, not a list of ids")
    if number:
        items = [None if item is None else number(item) for item in items]
    ids = [cells.id_or_none(item) for item in items]
    if None in ids:
        raise ValueError(cells.id_fault(items[ids.index(None)], "an item id"))
    return ids  # type: ignore[return-value]
