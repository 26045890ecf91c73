"""Reads and writes files of item vectors, a user's or those of encode_items."""

import dataclasses
import logging
from pathlib import Path
from typing import Any

from jaxtyping import Bool, Float32
import numpy as np
import polars as pl

from rearec_jax.config import Config
from rearec_jax.data.own_files import cells, paths, tables
from rearec_jax.data.parquet import DAMAGED
from rearec_jax.errors import UserError
from rearec_jax.run.files import load_array, write_whole

VECTOR = "vector"  # the name of the column of vectors in files of write_vectors


@dataclasses.dataclass(frozen=True)
class _Source:
    """The vectors of a file."""

    path: Path  # the file
    ids: pl.Series | None  # the raw id of each vector's item; None: the catalogue in its order
    vectors: np.ndarray  # the vectors [rows, F], of any type of number
    rows: np.ndarray  # the row of each vector in the file, from 1, for messages


def read_vectors(
    config: Config, item_ids: pl.Series
) -> tuple[Float32[np.ndarray, "N F"], Bool[np.ndarray, "N"]]:
    """Returns the vectors of the items in the order of ``item_ids``, and marks the items found.

    ``text.vectors`` is a Parquet file with the column ``data.text_id_column`` and a column of
    lists of numbers, or a .npy matrix with ``<name>.ids.txt`` (a raw id a line) beside it or
    exactly one row an item in the catalogue's order. Items that the file lacks have zeros; of an id
    that occurs twice the first row counts; nothing in a file is ever unpickled.

    Raises:
        UserError: there is no such file, it is of another kind, none of its ids is an item's, its
            rows do not fit, or a value is not finite.
    """
    path = paths.existing_file(config.text.vectors, "text.vectors")
    if paths.suffix(path) == ".npy":
        source = _read_npy(path, len(item_ids))
    elif paths.suffix(path) == ".parquet":
        source = _read_parquet(path, config)
    else:
        raise UserError(f"{path} (option text.vectors) is neither a .npy nor a .parquet file")
    return _align(source, item_ids)


def write_vectors(
    path: Path, id_column: str, ids: pl.Series, vectors: Float32[np.ndarray, "M F"]
) -> None:
    """Writes a Parquet file of ids and vectors, whole or not at all; ``read_vectors`` reads it.

    Raises:
        OSError: it cannot be written.
    """
    frame = pl.DataFrame([ids.alias(id_column), pl.Series(VECTOR, np.ascontiguousarray(vectors))])
    write_whole(path, lambda file: frame.write_parquet(file))


def _read_npy(path: Path, items: int) -> _Source:
    try:
        vectors = load_array(path)
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path} is not a .npy file of numbers: {reason}") from error
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiu" or not vectors.size:
        raise UserError(
            f"{path} holds {vectors.dtype} of shape {vectors.shape}; item vectors are a matrix of"
            " numbers, one row an item"
        )
    rows = np.arange(1, len(vectors) + 1)
    companion = path.with_suffix(".ids.txt")
    if companion.is_file():
        return _Source(path, _companion_ids(companion, path, len(vectors)), vectors, rows)
    if len(vectors) != items:
        raise UserError(
            f"{path} has {len(vectors)} rows for {items} items; put the raw item id of each row,"
            f" one a line, into {companion}, or give one row an item in the catalogue's order (raw"
            " ids sorted as numbers where all are integers, else as text)"
        )
    return _Source(path, None, vectors, rows)


def _companion_ids(companion: Path, path: Path, rows: int) -> pl.Series:
    lines = tables.read_lines(companion).str.strip_chars("\r")
    if lines[-1] == "":
        lines = lines.head(len(lines) - 1)
    if len(lines) != rows:
        raise UserError(f"{companion} has {len(lines)} ids for the {rows} rows of {path}")
    return cells.id_texts(lines)


def _read_parquet(path: Path, config: Config) -> _Source:
    try:
        schema = pl.read_parquet_schema(path)
        column = _vector_column(path, schema, config)
        frame = pl.read_parquet(path, columns=[config.data.text_id_column, column])
    except DAMAGED as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"{path} cannot be read as Parquet: {reason}") from error
    frame = frame.select(id=cells.id_texts(frame[config.data.text_id_column]), vector=column)
    frame = frame.with_row_index("row", offset=1).drop_nulls()
    if frame.is_empty():
        raise UserError(f"{path} has no vectors")
    return _Source(path, frame["id"], _matrix(path, frame), frame["row"].to_numpy())


def _vector_column(path: Path, schema: dict[str, Any], config: Config) -> str:
    """Returns the name of the column of vectors; raises UserError if that or the ids' is absent."""
    id_column, wanted = config.data.text_id_column, config.text.vectors_column
    names = ", ".join(schema)
    if id_column not in schema:
        raise UserError(
            f"{path} has no column {id_column!r} (option data.text_id_column); its columns are"
            f" {names}"
        )
    found = [
        name
        for name, kind in schema.items()
        if isinstance(kind, pl.List | pl.Array) and kind.inner is not None
        if kind.inner.is_numeric() or kind.inner == pl.Null
    ]
    if wanted and wanted in found:
        return wanted
    if not wanted and len(found) == 1:
        return found[0]
    if wanted and wanted not in schema:
        raise UserError(
            f"{path} has no column {wanted!r} (option text.vectors_column); its columns are {names}"
        )
    lists = f"{len(found)} columns hold lists of numbers" if found else "no column holds any"
    raise UserError(
        f"{path}: text.vectors_column={wanted!r} does not name a column of lists of numbers;"
        f" {lists}{': ' if found else ''}{', '.join(found)}"
    )


def _matrix(path: Path, frame: pl.DataFrame) -> np.ndarray:
    vectors = frame["vector"]
    if isinstance(vectors.dtype, pl.Array):
        vectors = vectors.arr.to_list()
    lengths = vectors.list.len().to_numpy()
    width = int(lengths[0])
    other = np.flatnonzero(lengths != width)
    if len(other):
        row = frame["row"][int(other[0])]
        raise UserError(
            f"{path}, row {row}: {lengths[other[0]]} numbers where the first has {width}"
        )
    if width == 0:
        raise UserError(f"{path}: its vectors are empty")
    values = vectors.explode().cast(pl.Float32, strict=False).to_numpy()
    return values.reshape(len(frame), width)


def _align(
    source: _Source, item_ids: pl.Series
) -> tuple[Float32[np.ndarray, "N F"], Bool[np.ndarray, "N"]]:
    items = len(item_ids)
    if source.ids is None:
        rows = np.arange(items)
        found = np.ones(items, bool)
    else:
        there = source.ids.alias("id").to_frame().with_row_index("row")
        there = there.unique("id", keep="first", maintain_order=True)
        wanted = item_ids.cast(pl.String).alias("id").to_frame()
        joined = wanted.join(there, on="id", how="left", maintain_order="left")["row"]
        found = joined.is_not_null().to_numpy()
        rows = joined.drop_nulls().to_numpy()
    if not found.any():
        raise UserError(
            f"{source.path} has vectors for none of the {items} items (an item id is"
            f" {item_ids[0]!r}, an id there {source.ids[0]!r})"  # type: ignore[index]
        )
    if 2 * found.sum() < items:
        logging.warning("%s has vectors for only %d of %d items", source.path, found.sum(), items)
    vectors = np.zeros((items, source.vectors.shape[1]), np.float32)
    with np.errstate(over="ignore"):  # too large for float32: infinite, and an error below
        vectors[found] = source.vectors[rows]
    _require_finite(source, vectors[found], rows)
    return vectors, found


def _require_finite(source: _Source, vectors: np.ndarray, rows: np.ndarray) -> None:
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        row = source.rows[rows[bad[0]]]
        raise UserError(
            f"{source.path}, row {row}: a value that is not a finite number ({len(bad)} such rows)"
        )
