"""Reads files of interactions: user, item, and timestamp, rating and split where given."""

from pathlib import Path

import polars as pl

from rearec_jax.config import DataConfig
from rearec_jax.data import interactions
from rearec_jax.data.own_files import tables, timestamps
from rearec_jax.errors import UserError

_SPLIT_CODES = {
    "train": interactions.TRAIN,
    "valid": interactions.VALIDATION,
    "validation": interactions.VALIDATION,
    "test": interactions.TEST,
}


def read(config: DataConfig) -> pl.DataFrame:
    """Reads ``config.path``: one row an interaction, users together, each in time order.

    The columns are user and item (String); timestamp (Int64, seconds UTC) unless the source has
    none; rating (Float64) with ``rating_column``; split (UInt8 code) with ``split=given``.
    Interactions of a user at the same time keep the order of the file.

    Raises:
        UserError: the file is missing or malformed; the message names the file, the line and the
            remedy.
    """
    path = tables.existing_file(config.path, "data.path", config.hint)
    return READERS[config.source](path, config)


def _read_sequences(path: Path, config: DataConfig) -> pl.DataFrame:
    """Reads lines ``user item item ...``, oldest item first, without a header."""
    if config.rating_column or config.split not in ("leave_one_out",):
        raise UserError(
            f"{path}: lines of 'user item item ...' have no ratings, times or given splits; set"
            " data.split=leave_one_out and data.rating_column='', or use data.source=table"
        )
    lines = tables.read_lines(path)
    fields = lines.str.extract_all(r"\S+")
    counts = fields.list.len()
    if not counts.max():
        raise UserError(f"{path} is empty; it needs lines of 'user item item ...'")
    short = ((counts > 0) & (counts < 3)).arg_true()
    if len(short):
        line = short[0]
        raise UserError(
            f"{path}, line {line + 1}: user {fields[line][0]} has {counts[line] - 1} item(s);"
            " a user needs at least 2, so remove the line"
        )
    filled = counts > 0
    frame = pl.DataFrame({"line": pl.int_range(1, len(lines) + 1, eager=True), "all": fields})
    frame = frame.filter(filled).select("line", user=pl.col("all").list.first(), item="all")
    _require_one_line_each(path, frame)
    return frame.select("user", pl.col("item").list.slice(1)).explode("item")


def _require_one_line_each(path: Path, frame: pl.DataFrame) -> None:
    again = frame.filter(~pl.col("user").is_first_distinct())
    if not again.is_empty():
        user, line = again["user"][0], again["line"][0]
        first = frame.filter(pl.col("user") == user)["line"][0]
        raise UserError(
            f"{path}, line {line}: user {user} already has line {first}; put all of a user's"
            " items on one line"
        )


def _read_interactions(path: Path, config: DataConfig) -> pl.DataFrame:
    """Reads files of one interaction a row: the sources 'table' and 'recbole'."""
    wanted = {config.user_column: "data.user_column", config.item_column: "data.item_column"}
    if config.timestamp_column:
        wanted[config.timestamp_column] = (
            "data.timestamp_column; '' if the rows are in time order already"
        )
    if config.rating_column:
        wanted[config.rating_column] = "data.rating_column"
    if config.split == "given":
        wanted[config.split_column] = "data.split_column"
    _require_different_columns(path, config)
    table = tables.read_table(path, wanted, typed_header=config.source == "recbole")

    columns = {
        "user": _ids(table, config.user_column),
        "item": _ids(table, config.item_column),
    }
    per_second = 1
    if config.timestamp_column:
        columns["timestamp"], per_second = timestamps.parse_column(
            table.column(config.timestamp_column, "times", pl.Boolean), table.location
        )
    if config.rating_column:
        columns["rating"] = _ratings(table, config.rating_column)
    if config.split == "given":
        columns["split"] = _splits(table, config.split_column)
    frame = pl.DataFrame(columns)
    if config.split == "leave_one_out" and config.core < 2:
        _require_two_each(table, frame)
    # Rows are sorted before times are cut to seconds: a finer unit keeps more of the order.
    frame = frame.sort([key for key in ("user", "timestamp") if key in frame], maintain_order=True)
    if per_second > 1:
        frame = frame.with_columns(pl.col("timestamp") // per_second)
    return frame


def _require_different_columns(path: Path, config: DataConfig) -> None:
    seen: dict[str, str] = {}
    for option in ("user_column", "item_column", "timestamp_column", "rating_column"):
        column = getattr(config, option)
        if column and column in seen:
            raise UserError(
                f"{path}: data.{seen[column]} and data.{option} are both {column!r}; name a column"
                " each"
            )
        seen[column] = option


def _ids(table: tables.Table, column: str) -> pl.Series:
    ids = table.ids(column)
    empty = (ids.is_null() | (ids == "")).arg_true()
    if len(empty):
        raise UserError(f"{table.location(empty[0])}: column {column!r} is empty")
    return ids


def _ratings(table: tables.Table, column: str) -> pl.Series:
    raw = table.column(column, "numbers", pl.Date, pl.Datetime)
    ratings = raw.cast(pl.Float64, strict=False)
    bad = (~ratings.is_finite().fill_null(False)).arg_true()
    if len(bad):
        raise UserError(
            f"{table.location(bad[0])}: {column} {str(raw[bad[0]])!r} is not a finite number"
        )
    return ratings


def _splits(table: tables.Table, column: str) -> pl.Series:
    raw = table.column(column, "names of splits").cast(pl.String)
    codes = raw.replace_strict(_SPLIT_CODES, default=None, return_dtype=pl.UInt8)
    bad = codes.is_null().arg_true()
    if len(bad):
        raise UserError(
            f"{table.location(bad[0])}: {column} {raw[bad[0]]!r} must be one of"
            f" {', '.join(_SPLIT_CODES)}"
        )
    return codes


def _require_two_each(table: tables.Table, frame: pl.DataFrame) -> None:
    single = frame["user"].is_unique().arg_true()
    if len(single):
        raise UserError(
            f"{table.location(single[0])}: user {frame['user'][single[0]]} has one interaction"
            " only, too few to leave one out; set data.core=2 or more to remove such users"
        )


READERS = {  # data.source -> how its file is read: (path, options) -> the table of `read`
    "sequences": _read_sequences,
    "table": _read_interactions,
    "recbole": _read_interactions,
}
