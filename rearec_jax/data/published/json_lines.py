"""Reads columns of large JSON lines files; only the wanted fields are ever kept."""

from collections.abc import Iterator, Mapping
import io
import json
from pathlib import Path
import sys
from typing import Any

import polars as pl

from rearec_jax.data.published import line_blocks
from rearec_jax.data.published.line_blocks import Malformed

_LARGEST = sys.float_info.max
_FEW = 1 << 18  # so many bytes are not worth halving again
_KINDS = {pl.String: "a string", pl.Float64: "a number", pl.List(pl.String): "a list of strings"}


def frames(
    path: Path, schema: Mapping[str, Any], required: tuple[str, ...], malformed: Malformed
) -> Iterator[pl.DataFrame]:
    """Yields the columns of ``schema`` of a file, plain or .gz, some 64 MB of text at a time.

    A line is malformed, counted in ``malformed`` and left out if it is no JSON object or if a
    ``required`` field is absent, null or of another type; a ``date`` that is required must look
    like '2018-07-07 22:09:11'. Any other field that does not fit is null. Any value fits a string:
    a number without quotes is an id as well ("5" and 5 are the same).

    Raises:
        UserError: the file cannot be read, or its compression is damaged.
    """
    for line, text in line_blocks.blocks(path):
        yield _parse(text, schema, required, malformed, line)


def seconds(column: str) -> pl.Expr:
    """Returns seconds since 1970 of '2018-07-07 22:09:11', taken as UTC; null for other texts."""
    return pl.col(column).str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False).dt.epoch("s")


def _parse(
    text: bytes,
    schema: Mapping[str, Any],
    required: tuple[str, ...],
    malformed: Malformed,
    first_line: int,
) -> pl.DataFrame:
    """Parses all lines at once; where one is malformed, each half, until few lines are left."""
    frame = _at_once(text, schema, required)
    if frame is not None:
        malformed.lines += len(frame)
        return frame
    middle = text.find(b"\n", len(text) // 2) + 1
    if len(text) <= _FEW or not 0 < middle < len(text):
        return _line_by_line(text, schema, required, malformed, first_line)
    half_line = first_line + text.count(b"\n", 0, middle)
    return pl.concat(
        [
            _parse(text[:middle], schema, required, malformed, first_line),
            _parse(text[middle:], schema, required, malformed, half_line),
        ]
    )


def _at_once(
    text: bytes, schema: Mapping[str, Any], required: tuple[str, ...]
) -> pl.DataFrame | None:
    """Parses all lines; returns None if any of them is malformed."""
    if not text.strip():
        return pl.DataFrame(schema=schema)
    try:
        frame = pl.read_ndjson(io.BytesIO(text), schema=dict(schema))
    except (pl.exceptions.PolarsError, OSError):
        return None  # OSError: text that begins as a compressed file does
    if any(frame[name].has_nulls() for name in required):
        return None
    return None if _bad_dates(frame, required).any() else frame


def _bad_dates(frame: pl.DataFrame, required: tuple[str, ...]) -> pl.Series:
    if "date" not in required:
        return pl.Series([False])
    return frame.select(seconds("date").is_null())["date"]


def _line_by_line(
    text: bytes,
    schema: Mapping[str, Any],
    required: tuple[str, ...],
    malformed: Malformed,
    first_line: int,
) -> pl.DataFrame:
    good: dict[int, dict[str, Any]] = {}
    bad: dict[int, str] = {}
    for number, line in enumerate(text.split(b"\n"), start=first_line):
        if not line.strip():
            continue
        fields = _fields(line, schema, required)
        if isinstance(fields, str):
            bad[number] = fields
        else:
            good[number] = fields
    frame = pl.DataFrame(list(good.values()), schema=dict(schema))
    for row in _bad_dates(frame, required).arg_true():
        date = frame["date"][row]
        bad[list(good)[row]] = f"date {date!r} is not like 2018-07-07 22:09:11"
    malformed.lines += len(good.keys() | bad.keys())
    for number in sorted(bad):
        malformed.add(number, bad[number])
    return frame.filter(pl.Series([number not in bad for number in good], dtype=pl.Boolean))


def _fields(
    line: bytes, schema: Mapping[str, Any], required: tuple[str, ...]
) -> dict[str, Any] | str:
    """Returns the fields of one line, or the reason why it is malformed."""
    try:
        value = json.loads(line)
    except ValueError as error:  # UnicodeDecodeError is one
        return f"no JSON ({error})"
    except RecursionError:
        return "no JSON (nested too deeply)"
    if not isinstance(value, dict):
        return "no JSON object"
    fields = {name: _field(value.get(name), kind) for name, kind in schema.items()}
    for name in required:
        if fields[name] is None:
            return f"field {name!r} is missing or not {_KINDS[schema[name]]}"
    return fields


def _field(value: Any, kind: Any) -> Any:
    """Returns ``value`` where it is of the column's type, else None."""
    if kind == pl.String:
        return _text(value)
    if kind == pl.Float64:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        # json.loads accepts NaN and numbers that no float holds.
        return float(value) if is_number and abs(value) < _LARGEST else None
    return [_text(part) for part in value] if isinstance(value, list) else None


def _text(value: Any) -> str | None:
    """Returns the value as Polars reads it into a column of strings."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
