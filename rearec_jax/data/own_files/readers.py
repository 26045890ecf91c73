"""Reads files of interactions: user, item, and timestamp, rating and split where given."""

from collections.abc import Callable
import logging
from pathlib import Path
from typing import Any

import polars as pl

from rearec_jax.config import DataConfig
from rearec_jax.data import interactions
from rearec_jax.data.own_files import cells, tables, timestamps
from rearec_jax.errors import UserError

_SPLIT_CODES = {
    "train": interactions.TRAIN,
    "valid": interactions.VALIDATION,
    "validation": interactions.VALIDATION,
    "test": interactions.TEST,
}
_COMMAS = r"^\s*[^\s,]+\s+[^\s,]+(,[^\s,]+)*,?\s*$"  # a line 'user item,item,...'
_BRACKETS = r"^\s*\S+\s+[\[({].*[\])}]\s*$"  # a line 'user [item, item, ...]'


def read(config: DataConfig) -> pl.DataFrame:
    """Reads ``config.path``: one row an interaction, users together, each in time order.

    The columns are user and item (String); timestamp (Int64, seconds UTC) unless the source has
    none; rating (Float64) with ``rating_column``; split (UInt8 code) with ``split=given``.
    Interactions of a user at the same time keep the order of the file, those of other splits the
    order train, valid, test.

    Raises:
        UserError: the file is missing or malformed; the message names the file, the line and the
            remedy.
    """
    path = tables.existing_file(config.path, "data.path", config.hint)
    return READERS[config.source](path, config)


def _read_sequences(path: Path, config: DataConfig) -> pl.DataFrame:
    """Reads lines ``user item item ...``, oldest item first, without a header.

    Two other kinds are known by their lines: ``user item``, a line an interaction, and
    ``user item,item,...``. ``times_path`` has the times on the same lines.
    """
    has_times = bool(config.times_path)
    splits = ("leave_one_out", *(("time", "time_fraction") if has_times else ()))
    if config.rating_column or config.split not in splits:
        no_times = "" if has_times else "; name a file of 'user time time ...' in data.times_path"
        raise UserError(
            f"{path}: lines of 'user item item ...' have no ratings, times or given splits; set"
            " data.split=leave_one_out and data.rating_column='', or use data.source=table"
            + no_times
        )
    found = _lists(path, "item")
    are_pairs = found["list"].list.len().eq(1).all() and not found["user"].is_unique().all()
    if not are_pairs:
        _require_histories(path, found)
    flat = found.explode("list")
    users, items = cells.id_texts(flat["user"]), cells.id_texts(flat["list"])
    frame = pl.DataFrame({"user": users, "item": items})
    if has_times:
        times, per_second = _parallel_times(found, path, config)
        frame = frame.with_columns(timestamp=times.whole, fraction=times.fraction)
        return _in_order(frame, per_second)
    return frame.sort("user", maintain_order=True) if are_pairs else frame


def _parallel_times(
    items: pl.DataFrame, path: Path, config: DataConfig
) -> tuple[timestamps.Times, int]:
    """Reads the times of all interactions, and how many of their units make a second.

    Raises:
        UserError: a line has another user or number than that of the items, or a time is none.
    """
    file = tables.existing_file(config.times_path, "data.times_path")
    found = _lists(file, "time")
    shape = pl.col("user"), pl.col("list").list.len().alias("count")
    here, there = (frame.select("line", *shape).rows() for frame in (items, found))
    for (line, user, count), (at, other, given) in zip(here, there, strict=False):
        if (user, count) != (other, given):
            raise UserError(
                f"{file}, line {at}: user {other} has {given} times, where line {line} of {path}"
                f" has {count} items of user {user}; write the times of a line's items on the same"
                " line"
            )
    if len(items) != len(found):
        raise UserError(
            f"{file} has {len(found):,} users' lines and {path} {len(items):,}; write the times of"
            " a line's items on the same line"
        )
    flat = found.explode("list")
    times = timestamps.read_times(flat["list"])

    def location(row: int) -> str:
        return f"{file}, line {flat['line'][row]}"

    if times.whole.has_nulls():
        row = int(times.whole.is_null().arg_max() or 0)
        raise UserError(f"{location(row)}: {timestamps.fault(flat['list'][row])}")
    return times, timestamps.units_per_second(times, location)


def _in_order(frame: pl.DataFrame, per_second: int) -> pl.DataFrame:
    """Sorts rows by user and time, and then cuts times to seconds.

    In this order, because a finer unit keeps more of the order.
    """
    order = [key for key in ("user", "timestamp", "fraction", "split") if key in frame.columns]
    frame = frame.sort(order, maintain_order=True)
    return frame.with_columns(pl.col("timestamp") // per_second).drop("fraction", strict=False)


def _lists(path: Path, kind: str) -> pl.DataFrame:
    """Reads the filled lines of a file: the number of each, its user, and the list that follows."""
    lines = tables.read_lines(path)
    filled = lines.filter(lines.str.contains(r"\S"))
    if len(filled) and filled.str.contains(_BRACKETS).all():
        raise UserError(
            f"{path}: its lines are 'user [{kind}, {kind}, ...]'; write 'user {kind} {kind} ...',"
            " without brackets and quotes"
        )
    with_commas = filled.str.contains(_COMMAS).all() and filled.str.contains(",").any()
    fields = lines.str.extract_all(r"[^\s,]+" if with_commas else r"\S+")
    frame = pl.DataFrame({"line": pl.int_range(1, len(lines) + 1, eager=True), "all": fields})
    frame = frame.filter(pl.col("all").list.len() > 0)
    if frame.is_empty():
        raise UserError(f"{path} is empty; it needs lines of 'user {kind} {kind} ...'")
    return frame.select("line", user=pl.col("all").list.first(), list=pl.col("all").list.slice(1))


def _require_histories(path: Path, frame: pl.DataFrame) -> None:
    """Raises UserError for a user with one item, or with two lines."""
    short = frame.filter(pl.col("list").list.len() < 2)
    if not short.is_empty():
        line, user, items = short.row(0)
        remedy = "so remove the line"
        if any(mark in user for mark in (",", ";", "::", "|")):
            remedy = "so write blanks between a user and its items, or set data.source=table"
        raise UserError(
            f"{path}, line {line}: user {user} has {len(items)} item(s); a user needs at least 2,"
            f" {remedy}"
        )
    again = frame.filter(~pl.col("user").is_first_distinct())
    if not again.is_empty():
        line, user = again["line"][0], again["user"][0]
        first = frame.filter(pl.col("user") == user)["line"][0]
        raise UserError(
            f"{path}, line {line}: user {user} already has line {first}; put all of a user's"
            " items on one line"
        )


def _read_interactions(path: Path, config: DataConfig) -> pl.DataFrame:
    """Reads files of one interaction a row: the sources 'table' and 'recbole'."""
    wanted = _wanted(path, config)
    table = tables.read_table(path, wanted, typed_header=config.source == "recbole")
    columns = {
        "user": _ids(table, config.user_column),
        "item": _ids(table, config.item_column),
    }
    per_second, step = 1, 0.0
    if config.timestamp_column:
        times = _times(table, config.timestamp_column)
        per_second, step = timestamps.units_per_second(times, table.location), times.step
        columns |= {"timestamp": times.whole}
        columns |= {"fraction": times.fraction} if (times.fraction != 0).any() else {}
    if config.rating_column:
        columns["rating"] = _ratings(table, config.rating_column)
    if config.split == "given":
        columns["split"] = _splits(table, config.split_column)
    frame = pl.DataFrame(columns)
    if "timestamp" not in columns:
        return frame.sort("user", maintain_order=True)
    if step > 1:
        _warn_of_ties(frame, path, f"{step / per_second:g}")
    return _in_order(frame, per_second)


def _wanted(path: Path, config: DataConfig) -> dict[str, str]:
    """Returns the columns to read, each with the option that names it."""
    wanted: dict[str, str] = {}
    options = ["user_column", "item_column", "timestamp_column", "rating_column"]
    for option in options + ["split_column"] * (config.split == "given"):
        column = getattr(config, option)
        if column in wanted:
            raise UserError(
                f"{path}: {wanted[column]} and data.{option} are both {column!r}; name a column"
                " each"
            )
        if column:
            wanted[column] = f"data.{option}"
    if config.timestamp_column:
        wanted[config.timestamp_column] += "; '' if the rows are in time order already"
    return wanted


def _ids(table: tables.Table, column: str) -> pl.Series:
    ids = table.ids(column)
    _require(table, column, ids, lambda value: cells.id_fault(value, f"column {column!r}"))
    return ids


def _times(table: tables.Table, column: str) -> timestamps.Times:
    times = timestamps.read_times(table.column(column, timestamps.NEEDED, *timestamps.UNFIT))
    _require(table, column, times.whole, timestamps.fault)
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


def _require(
    table: tables.Table, column: str, values: pl.Series, fault: Callable[[Any], str]
) -> None:
    """Raises UserError for the first null of what was made of a column; ``fault`` says why."""
    if values.has_nulls():
        row = int(values.is_null().arg_max() or 0)
        value = table.frame[column][row]
        why = f"column {column!r} is empty" if value is None else fault(value)
        raise UserError(f"{table.location(row)}: {why}")


def _warn_of_ties(frame: pl.DataFrame, path: Path, seconds: str) -> None:
    keys = [key for key in ("user", "timestamp", "fraction") if key in frame.columns]
    ties = frame.select(pl.struct(keys).is_duplicated().sum()).item()
    if ties:
        logging.warning(
            "%s: its times are floats that do not tell apart what is less than %s seconds apart:"
            " %d of %d interactions have the time of another one of their user, and keep the order"
            " of the file; write times as whole numbers",
            path,
            seconds,
            ties,
            len(frame),
        )


READERS = {  # data.source -> how its file is read: (path, options) -> the table of `read`
    "sequences": _read_sequences,
    "table": _read_interactions,
    "recbole": _read_interactions,
}
