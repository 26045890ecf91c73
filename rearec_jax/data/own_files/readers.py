"""Reads files of interactions: user, item, and timestamp, rating and split where given."""

from collections.abc import Callable, Iterator, Mapping, Sequence
import dataclasses
import itertools
import logging
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from rearec_jax.config import DataConfig
from rearec_jax.data import interactions
from rearec_jax.data.own_files import cells, filters, paths, sequences, tables, timestamps
from rearec_jax.data.own_files.columns import (
    EVENT,
    ITEM,
    SEVERAL,
    TIME,
    USER,
    Role,
    choose,
    likely,
    plain,
)
from rearec_jax.data.own_files.records import Header, TextOptions
from rearec_jax.errors import UserError
from rearec_jax.run.files import scratch

_SPLIT_CODES = {
    "train": interactions.TRAIN,
    "valid": interactions.VALIDATION,
    "validation": interactions.VALIDATION,
    "test": interactions.TEST,
}
_LIST = r"^\s*\[.*\]\s*$"  # a cell '[item, item, ...]'
_log = logging.getLogger(__name__)


def read(config: DataConfig) -> pl.DataFrame:
    """Reads the files of ``config``: one row an interaction, users together, each in time order.

    The columns are user and item (String); timestamp (Int64, seconds UTC) unless the source has
    none; rating (Float64) with ``rating_column``; split (UInt8 code) with ``split=given``.
    Interactions of a user at the same time keep the order of the file, those of other splits the
    order train, valid, test.

    Raises:
        UserError: a file is missing or malformed; the message names the file, the line and the
            remedy.
    """
    ids = pl.col("user", "item").cast(pl.String)
    return pl.concat(part.with_columns(ids) for part in read_parts(config))


def read_parts(config: DataConfig) -> Iterator[pl.DataFrame]:
    """Yields what `read` returns in parts, each with all rows of its users, in bounded memory.

    Ids are Int64 where a typed file has whole numbers: text takes more time and room.
    """
    found = READERS[config.source](files_of(config)["data.path"], config)
    yield from [found] if isinstance(found, pl.DataFrame) else found


def files_of(config: DataConfig) -> dict[str, list[Path]]:
    """Returns the files of interactions by the option that names them.

    Raises:
        UserError: there are none.
    """
    found = {"data.path": paths.existing_files(config.path, "data.path", config.hint)}
    for option in ("times_path", "validation_path", "test_path"):
        if path := getattr(config, option):
            found[f"data.{option}"] = paths.existing_files(path, f"data.{option}")
    return found


@dataclasses.dataclass
class _Totals:
    """The counts over all parts of the files, and what the first part's times are.

    events:     rows of all kinds of events.
    kinds:      the kinds of events.
    rows:       interactions.
    left_out:   those of them that repeat others.
    tied:       those whose time another one of their user has.
    dates:      whether times are dates, as the first part says; None before it.
    per_second: how many of their units make a second.
    step:       the units below which times do not differ; 0: they are exact.
    """

    events: int = 0
    kinds: set[str] = dataclasses.field(default_factory=set)
    rows: int = 0
    left_out: int = 0
    tied: int = 0
    dates: bool | None = None
    per_second: int = 1
    step: float = 0.0


def _read_interactions(files: Sequence[Path], config: DataConfig) -> Iterator[pl.DataFrame]:
    """Yields parts of tables: the sources 'table' and 'recbole'.

    A row is an interaction, or a user with lists.
    """
    by_option = files_of(config)
    files = [file for group in by_option.values() for file in group]
    typed = config.source == "recbole"
    options = TextOptions(config.separator, tuple(_parts(config.columns)), typed)
    headers = [tables.read_header(path, options) for path in files]
    names = _columns(files[0], headers[0], config)
    totals, room = _Totals(), scratch(config.cache_dir)
    for table in tables.read_by_user(files, headers, list(names.values()), names["user"], room):
        table = _one_row_an_item(table, names, headers[0], config)
        if "event" in names:
            table = _kept_events(table, names["event"], config, totals)
            if table.frame.is_empty():
                continue
        columns = {"user": _ids(table, names["user"]), "item": _ids(table, names["item"])}
        if "time" in names:
            times = _times(table, names["time"], totals)
            columns |= {"timestamp": times.whole}
            columns |= {"fraction": times.fraction} if (times.fraction != 0).any() else {}
        if not totals.rows:
            _log.info("%s", _described(files, headers[0], names, totals))
        if "rating" in names:
            columns["rating"] = _ratings(table, names["rating"])
        if len(by_option) > 1:
            columns["split"] = _splits_of_files(table, by_option, files)
        elif config.split == "given":
            columns["split"] = _splits(table, names["split"])
        frame = pl.DataFrame(columns)
        if totals.step > 1:
            totals.tied += _ties(frame)
        kept = filters.in_order(frame, config, totals.per_second)
        totals.rows += len(frame)
        totals.left_out += len(frame) - len(kept)
        yield kept
    _say(totals, files[0], names.get("event"), config)


def _columns(path: Path, header: Header, config: DataConfig) -> dict[str, str]:
    """Returns the column of each meaning that is read: {"user": "visitorid", ...}.

    Raises:
        UserError: one is absent, or has two meanings.
    """
    names, where = header.columns, str(path)
    if header.has_line and any(map(_is_value, names)):
        where += f" (whose first line {', '.join(names)!r} is no header, perhaps: then name the"
        where += " columns, as in data.columns=user,item,rating,timestamp)"
    chosen = {
        "user": choose(names, USER, config.user_column, "data.user_column", where),
        "item": choose(names, ITEM, config.item_column, "data.item_column", where),
    }
    # Lists may be in order without times, which is known once they are read.
    is_default = config.timestamp_column == TIME.default
    if config.timestamp_column and (likely(names, TIME) or not is_default):
        option = f"data.timestamp_column{_NO_TIMES}"
        chosen["time"] = choose(names, TIME, config.timestamp_column, option, where)
    if config.rating_column:
        chosen["rating"] = _named(names, config.rating_column, "data.rating_column", where)
    if config.split == "given" and not (config.validation_path or config.test_path):
        chosen["split"] = _named(names, config.split_column, "data.split_column", where)
    if config.events:
        chosen["event"] = choose(names, EVENT, config.event_column, "data.event_column", where)
    options = {"user": "user_column", "item": "item_column", "time": "timestamp_column"}
    for one, other in itertools.combinations(chosen, 2):
        if chosen[one] == chosen[other]:
            pair = (f"data.{options.get(role, f'{role}_column')}" for role in (one, other))
            raise UserError(
                f"{path}: {' and '.join(pair)} are both {chosen[one]!r}; name a column each"
            )
    return chosen


_NO_TIMES = "; '' if the rows are in time order already"


def _one_row_an_item(
    table: tables.Table, names: Mapping[str, str], header: Header, config: DataConfig
) -> tables.Table:
    """Returns the table with a row for each item of a user's list, where rows are users.

    Raises:
        UserError: there are no times, and rows are interactions, or a user has several rows.
    """
    frame = table.frame.with_columns(
        _lists(table, name) for role, name in names.items() if role != "user"
    )
    table = dataclasses.replace(table, frame=frame)
    if frame.schema[names["item"]] != pl.List:
        if config.timestamp_column and "time" not in names:
            option = f"data.timestamp_column{_NO_TIMES}"
            choose(header.columns, TIME, config.timestamp_column, option, str(table.path))
        return table
    if "time" not in names and (again := ~frame[names["user"]].is_first_distinct()).any():
        row = int(again.arg_max() or 0)
        raise UserError(
            f"{table.location(row)}: user {frame[names['user']][row]} already has a row; put all of"
            " a user's items into one row, or give their times"
        )
    return table.unrolled([name for name, kind in frame.schema.items() if kind == pl.List])


def _lists(table: tables.Table, name: str) -> pl.Series:
    """Returns a column of lists as such, whether they are typed or text; any other as it is.

    Text holds lists if the column's name is that of several things, or if every cell is in
    brackets and one of them holds two values.
    """
    column = table.frame[name]
    if isinstance(column.dtype, pl.Array):
        return column.arr.to_list()
    if column.dtype != pl.String:
        return column
    if plain(name) not in SEVERAL:
        if not column.head(1).str.contains(_LIST).all():
            return column  # most files: the other cells need not be looked at
        filled = column.drop_nulls()
        if not filled.str.contains(_LIST).all() or not filled.str.contains(r"[,\s]").any():
            return column
    rows: list[list[str] | None] = []
    for row, cell in enumerate(column):
        try:
            rows.append(None if cell is None else list(map(cells.id_text, cells.item_list(cell))))
        except (ValueError, TypeError) as error:
            raise UserError(
                f"{table.location(row)}: column {name!r} is no list: {cells.first_line(error)}"
            ) from error
    return pl.Series(name, rows, dtype=pl.List(pl.String))


def _kept_events(
    table: tables.Table, column: str, config: DataConfig, totals: _Totals
) -> tables.Table:
    """Returns the rows of the events that ``config.events`` lists, and counts all kinds."""
    kinds = table.column(column, "kinds of events").cast(pl.String)
    totals.events += len(kinds)
    totals.kinds.update(kinds.drop_nulls().unique())
    return table.filtered(kinds.is_in(_parts(config.events)).fill_null(False))


def _say(totals: _Totals, path: Path, column: str | None, config: DataConfig) -> None:
    """Says what was counted over all parts.

    Raises:
        UserError: an event that ``config.events`` lists does not occur.
    """
    if column is not None:
        if unknown := set(_parts(config.events)) - totals.kinds:
            raise UserError(
                f"{path}: no row of column {column!r} is {', '.join(sorted(unknown))}"
                f" (option data.events); there are {', '.join(sorted(totals.kinds)[:20])}"
            )
        _log.info("%s: %d of %d rows are %s", path, totals.rows, totals.events, config.events)
    if totals.tied:
        logging.warning(
            "%s: its times are floats that do not tell apart what is less than %g seconds apart:"
            " %d of %d interactions have the time of another one of their user, and keep the order"
            " of the file; write times as whole numbers",
            path,
            totals.step / totals.per_second,
            totals.tied,
            totals.rows,
        )
    filters.warn_of_repeated(config, totals.left_out, totals.rows)


def _described(
    files: Sequence[Path], header: Header, names: Mapping[str, str], totals: _Totals
) -> str:
    """Returns what the files are taken for, in a line."""
    packed = paths.packing(files[0])
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    chosen = ", ".join(f"{role}={name}" for role, name in names.items())
    if totals.dates is not None:
        time = " as dates" if totals.dates else f" in {timestamps.UNITS[totals.per_second]}"
        chosen = chosen.replace(f"time={names['time']}", f"time={names['time']}{time}")
    return f"{files[0]}{more}: {packed + ', ' if packed else ''}{header}, {chosen}"


def _parts(text: str) -> list[str]:
    """Returns ['view', 'buy'] of 'view, buy'."""
    return [part.strip() for part in text.split(",") if part.strip()]


def _is_value(name: str) -> bool:
    """Says whether what should be the name of a column is a number."""
    try:
        return bool(name) and float(name) is not None
    except ValueError:
        return False


def _named(names: Sequence[str], column: str, option: str, where: str) -> str:
    return choose(names, Role("", "", ()), column, option, where)


def _ids(table: tables.Table, column: str) -> pl.Series:
    kind = table.frame[column].dtype
    whole = kind.is_integer() and kind not in (pl.UInt64, pl.Int128, pl.UInt128)
    ids = table.frame[column].cast(pl.Int64) if whole else table.ids(column)
    _require(table, column, ids, lambda value: cells.id_fault(value, f"column {column!r}"))
    return ids


def _times(table: tables.Table, column: str, totals: _Totals) -> timestamps.Times:
    """Reads the times of a part, in the unit of the first one."""
    raw = table.column(column, timestamps.NEEDED, *timestamps.UNFIT)
    times = timestamps.read_times(raw, totals.dates)
    _require(table, column, times.whole, timestamps.fault)
    per_second = timestamps.units_per_second(times, table.location)
    if totals.dates is None:
        totals.dates, totals.per_second = times.are_dates, per_second
    elif per_second != totals.per_second:
        units = (timestamps.UNITS[unit] for unit in (totals.per_second, per_second))
        raise UserError(
            f"{table.location(0)}: the times of many users are in"
            f" {' and of others in '.join(units)}; give all in seconds"
        )
    totals.step = max(totals.step, times.step)
    return times


def _ratings(table: tables.Table, column: str) -> pl.Series:
    raw = table.column(column, "numbers", pl.Binary, pl.Date, pl.Datetime)
    ratings = raw.cast(pl.Float64, strict=False)
    ratings = ratings.set(~ratings.is_finite(), None)
    _require(table, column, ratings, lambda value: f"{column} {value!r} is not a finite number")
    return ratings


def _splits(table: tables.Table, column: str) -> pl.Series:
    raw = table.column(column, "names of splits", pl.Binary).cast(pl.String)
    codes = raw.replace_strict(_SPLIT_CODES, default=None, return_dtype=pl.UInt8)
    known = ", ".join(_SPLIT_CODES)
    _require(table, column, codes, lambda value: f"{column} {value!r} must be one of {known}")
    return codes


def _splits_of_files(
    table: tables.Table, by_option: Mapping[str, Sequence[Path]], files: Sequence[Path]
) -> pl.Series:
    """Returns the split code of each row, which the option says that names its file."""
    codes = {"data.path": interactions.TRAIN, "data.validation_path": interactions.VALIDATION}
    of_files = [
        codes.get(option, interactions.TEST) for option, group in by_option.items() for _ in group
    ]
    return pl.Series(np.array(of_files, np.uint8)[table.file_of_rows(files)])


def _require(
    table: tables.Table, column: str, values: pl.Series, fault: Callable[[Any], str]
) -> None:
    """Raises UserError for the first null of what was made of a column; ``fault`` says why."""
    if values.has_nulls():
        row = int(values.is_null().arg_max() or 0)
        value = table.frame[column][row]
        why = f"column {column!r} is empty" if value is None else fault(value)
        raise UserError(f"{table.location(row)}: {why}")


def _ties(frame: pl.DataFrame) -> int:
    """Counts the interactions that have the time of another one of their user."""
    keys = [key for key in ("user", "timestamp", "fraction") if key in frame.columns]
    return frame.select(pl.struct(keys).is_duplicated().sum()).item()


# data.source -> how its files are read: (files, options) -> the table of `read`, or its parts
READERS: dict[
    str, Callable[[Sequence[Path], DataConfig], pl.DataFrame | Iterator[pl.DataFrame]]
] = {
    "sequences": sequences.read,
    "table": _read_interactions,
    "recbole": _read_interactions,
}
