"""Reads lines of users' items (``data.source=sequences``), which have no header."""

from collections.abc import Sequence
import logging
from pathlib import Path

import polars as pl

from rearec_jax.config import DataConfig
from rearec_jax.data.own_files import cells, filters, paths, tables, timestamps
from rearec_jax.errors import UserError

# A line 'user item,item,...', with or without blanks beside the commas.
_COMMAS = r"^\s*[^\s,]+(\s|,\s)\s*[^\s,]+(\s*,\s*[^\s,]+)*\s*,?\s*$"
_BRACKETS = r"^\s*\S+\s+[\[({].*[\])}]\s*$"  # a line 'user [item, item, ...]'
_log = logging.getLogger(__name__)


def read(files: Sequence[Path], config: DataConfig) -> pl.DataFrame:
    """Reads lines of users' items, without a header; what a later file adds to a user is newer."""
    path, has_times = files[0], bool(config.times_path)
    splits = ("leave_one_out", "time", "time_fraction", "interaction_fraction")
    splits = splits if has_times else splits[:1]
    if config.rating_column or config.split not in splits or config.event_column:
        no_times = "" if has_times else "; name a file of 'user time time ...' in data.times_path"
        raise UserError(
            f"{path}: lines of 'user item item ...' have no ratings, times or given splits; set"
            " data.split=leave_one_out and data.rating_column='', or use data.source=table"
            + no_times
        )
    if has_times:
        return _read_with_times(files, config)
    frame = pl.concat([_read_lines(path) for path in files]).drop("line")
    return _said(frame, filters.drop_repeated(frame, config), config)


def _read_with_times(files: Sequence[Path], config: DataConfig) -> pl.DataFrame:
    """Reads a file of users' items, and the file that has the times on the same lines.

    Raises:
        UserError: there are several files, a line has another user or number than that of the
            items, or a time is none.
    """
    times_files = paths.existing_files(config.times_path, "data.times_path")
    if len(files) > 1 or len(times_files) > 1:
        raise UserError(
            f"data.times_path belongs to one file of items, and data.path names {len(files)} files"
            f" and data.times_path {len(times_files)}; join them into one of each"
        )
    path, times_file = files[0], times_files[0]
    rows = _read_lines(path).sort("line", maintain_order=True)
    found = _read_lists(times_file, "time")
    here = rows.group_by("line", "user", maintain_order=True).len().rows()
    there = zip(found["line"], cells.id_texts(found["user"]), found["list"].list.len(), strict=True)
    for (line, user, count), (at, other, given) in zip(here, there, strict=False):
        if (user, count) != (other, given):
            raise UserError(
                f"{times_file}, line {at}: user {other} has {given} times, where line {line} of"
                f" {path} has {count} items of user {user}; write the times of a line's items on"
                " the same line"
            )
    if len(here) != len(found):
        raise UserError(
            f"{times_file} has {len(found):,} users' lines and {path} {len(here):,}; write the"
            " times of a line's items on the same line"
        )
    flat = found.explode("list")
    times = timestamps.read_times(flat["list"])

    def location(row: int) -> str:
        return f"{times_file}, line {flat['line'][row]}"

    if times.whole.has_nulls():
        row = int(times.whole.is_null().arg_max() or 0)
        raise UserError(f"{location(row)}: {timestamps.fault(flat['list'][row])}")
    frame = rows.select("user", "item", timestamp=times.whole, fraction=times.fraction)
    found = filters.in_order(frame, config, timestamps.units_per_second(times, location))
    return _said(frame, found, config)


def _said(frame: pl.DataFrame, kept: pl.DataFrame, config: DataConfig) -> pl.DataFrame:
    """Returns what `filters.drop_repeated` has kept, after saying how much that is."""
    filters.warn_of_repeated(config, len(frame) - len(kept), len(frame))
    return kept


def _read_lines(path: Path) -> pl.DataFrame:
    """Reads lines ``user item item ...``, oldest item first: line, user and item of each.

    Two other kinds are known by their lines: ``user item``, a line an interaction, and
    ``user item,item,...``.
    """
    found = _read_lists(path, "item")
    are_pairs = _are_pairs(found)
    if not are_pairs:
        _require_histories(path, found)
    frame = found.explode("list")
    frame = frame.select(
        "line", user=cells.id_texts(frame["user"]), item=cells.id_texts(frame["list"])
    )
    return frame.sort("user", "line") if are_pairs else frame


def _read_lists(path: Path, kind: str) -> pl.DataFrame:
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
    found = frame.select("line", user=pl.col("all").list.first(), list=pl.col("all").list.slice(1))
    several = f"{kind},{kind},..." if with_commas else f"{kind} {kind} ..."
    _log.info("%s: lines of 'user %s'", path, kind if _are_pairs(found) else several)
    return found


def _are_pairs(found: pl.DataFrame) -> bool:
    """Says whether each line is an interaction, and not all of a user's."""
    return found["list"].list.len().eq(1).all() and not found["user"].is_unique().all()


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
