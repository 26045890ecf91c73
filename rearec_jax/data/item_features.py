"""Reads the features of items, such as category, brand and price, and numbers their values.

They are a table with the columns `item` (the dense id), `column` and `value`: a row for each value
of an item and column, and one with null where an item has none.
"""

from collections.abc import Sequence
import io
from pathlib import Path

from jaxtyping import Int64
import numpy as np
import polars as pl

from rearec_jax.config import DataConfig
from rearec_jax.data.own_files import cells, paths, tables
from rearec_jax.data.own_files.columns import ITEM, choose
from rearec_jax.data.own_files.records import TextOptions
from rearec_jax.data.parquet import read_columns
from rearec_jax.errors import UserError
from rearec_jax.run import files
from rearec_jax.types import Features

BUCKETS = 10  # of a column of numbers, each with as many items
MOST_VALUES = 20  # of an item and column; all items take the memory of the one with the most
MOST_ROWS = 2**31 - 1
SEPARATOR = "|"  # between the values of a text, as MovieLens has them
_COLUMNS = {"item": pl.Int32, "column": pl.String, "value": pl.String}


def read(config: DataConfig, item_ids: pl.Series) -> pl.DataFrame:
    """Reads ``data.item_features``; of an id that occurs twice the first row counts.

    A cell is a value, several with | between them, or a list, of which an item keeps the first
    ``MOST_VALUES``. Numbers (``data.feature_numbers``) become one of ``BUCKETS`` of equally many
    items.

    Raises:
        UserError: the file or a column is missing, a line is malformed, a number is none, or no
            item has a feature.
    """
    path = paths.existing_file(config.item_features, "data.item_features")
    raw, ids = _read_file(path, config)
    frame = raw.with_columns(id=ids).drop_nulls("id").unique("id", keep="first")
    catalogue = item_ids.cast(pl.String).alias("id").to_frame().with_row_index("item")
    frame = catalogue.join(frame, on="id", how="left", maintain_order="left")
    found = []
    for column in raw.columns:
        read_cells = _buckets if column in config.feature_numbers else _values
        values = read_cells(path, frame[column]).alias("value")
        found.append(
            pl.DataFrame([frame["item"].cast(pl.Int32), values])
            .explode("value")
            .select("item", column=pl.lit(column), value="value")
        )
    features = pl.concat(found)
    if features["value"].null_count() == len(features):
        raise UserError(
            f"{path} has a feature for none of the {len(item_ids)} items (an item id is"
            f" {item_ids[0]!r}, an id there {ids[0]!r}); check data.text_id_column="
            f"{config.text_id_column!r} and data.feature_columns"
        )
    return features


def numbered(features: pl.DataFrame, num_items: int) -> Features:
    """Returns the features as numbers of values, and the weight of each value of an item."""
    keys = ["column", "value"]
    rows = features.join(values_of(features), on=keys, how="left", nulls_equal=True)
    rows = rows.with_columns(
        weight=1 / pl.len().over("item", "column"), slot=pl.int_range(pl.len()).over("item")
    )
    at = rows["item"].to_numpy(), rows["slot"].to_numpy()
    codes = np.zeros((num_items, int(at[1].max()) + 1), np.int32)
    weights = np.zeros(codes.shape, np.float32)
    codes[at], weights[at] = rows["number"].to_numpy(), rows["weight"].to_numpy()
    return Features(codes, weights, len(values_of(features)))


def values_of(features: pl.DataFrame) -> pl.DataFrame:
    """Returns `column`, `value` and `number` of all values; each column has the unknown one."""
    unknown = features.select("column", value=pl.lit(None, pl.String))
    every = pl.concat([unknown, features.select("column", "value")]).unique()
    return every.sort("column", "value").with_row_index("number")


def rows_of(features: pl.DataFrame, others: pl.DataFrame) -> Int64[np.ndarray, " V"]:
    """Returns the number that each value has among the values of ``others``; -1: none."""
    there = values_of(others).rename({"number": "row"})
    found = values_of(features).join(there, on=["column", "value"], how="left", nulls_equal=True)
    return found.sort("number")["row"].cast(pl.Int64).fill_null(-1).to_numpy()


def save(features: pl.DataFrame, path: Path) -> None:
    """Writes the features to a Parquet file, whole or not at all; may raise OSError."""
    files.write_whole(path, lambda file: features.write_parquet(file))


def load(path: Path, num_items: int) -> pl.DataFrame:
    """Reads the file that ``save`` wrote, of so many items.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        files.inside(path.parent, path.name)
        found = read_columns(path, _COLUMNS, MOST_ROWS)
        items = found["item"].unique().sort().to_numpy()
        if found["column"].has_nulls() or not np.array_equal(items, np.arange(num_items)):
            raise ValueError("it is not of this catalogue")
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read ({error}); bring it back, or train the run again"
        ) from error
    return found


def _read_file(path: Path, config: DataConfig) -> tuple[pl.DataFrame, pl.Series]:
    """Returns the columns of features, and the id of each row."""
    if paths.suffix(path) in (".jsonl", ".ndjson", ".json"):
        try:
            with paths.explained(path), paths.open_bytes(path) as file:
                frame = pl.read_ndjson(io.BytesIO(file.read()), infer_schema_length=None)
        except pl.exceptions.PolarsError as error:
            reason = cells.first_line(error)
            raise UserError(f"{path} has no object on each line: {reason}") from error
        names, ids_name = _chosen(path, frame.columns, config)
        return frame.select(names), cells.id_texts(frame[ids_name])
    header = tables.read_header(path, TextOptions(typed=paths.suffix(path) == ".item"))
    names, ids_name = _chosen(path, header.columns, config)
    table = tables.read_table([path], [header], [ids_name, *names])
    return table.frame.select(names), table.ids(ids_name)


def _chosen(path: Path, columns: Sequence[str], config: DataConfig) -> tuple[list[str], str]:
    """Returns the columns of features, and that of ids."""
    where = str(path)
    ids = choose(columns, ITEM, config.text_id_column, "data.text_id_column", where)
    for name in (*config.feature_columns, *config.feature_numbers):
        choose(columns, ITEM._replace(default=""), name, "data.feature_columns", where)
    wanted = [*config.feature_columns, *config.feature_numbers]
    if not config.feature_columns:
        wanted = [name for name in columns if name != ids]
    if not wanted:
        raise UserError(f"{path} has no column besides {ids!r}; it names no feature")
    return list(dict.fromkeys(wanted)), ids


def _values(path: Path, column: pl.Series) -> pl.Series:
    """Returns lists of texts; null where there is no value."""
    kind = column.dtype
    if isinstance(kind, pl.Array):
        column, kind = column.arr.to_list(), pl.List(kind.inner or pl.String)
    inner = kind.inner if isinstance(kind, pl.List) else kind
    if inner is None or inner.is_nested() or inner in (pl.Object, pl.Binary):
        raise UserError(
            f"{path}: column {column.name!r} is of type {kind}, where values or lists of values are"
            " needed; name others by data.feature_columns"
        )
    if not isinstance(kind, pl.List):
        column = column.cast(pl.String).str.split(SEPARATOR)
    texts = column.cast(pl.List(pl.String)).list.eval(
        pl.element().str.strip_chars().replace("", None).drop_nulls().unique(maintain_order=True)
    )
    texts = texts.list.head(MOST_VALUES)
    return texts.to_frame().select(pl.when(pl.all().list.len() > 0).then(pl.all())).to_series()


def _buckets(path: Path, column: pl.Series) -> pl.Series:
    """Returns lists of the one bucket of each number."""
    try:
        numbers = column.cast(pl.String).str.strip_chars().replace("", None).cast(pl.Float64)
        numbers = numbers.fill_nan(None)
    except pl.exceptions.PolarsError as error:
        raise UserError(
            f"{path}: column {column.name!r} (option data.feature_numbers) holds what is no number:"
            f" {cells.first_line(error)}"
        ) from error
    there = numbers.drop_nulls().to_numpy()
    if not len(there):
        return pl.Series([None] * len(column), dtype=pl.List(pl.String))
    inner = np.linspace(0, 1, BUCKETS + 1)[1:-1]
    edges = np.unique(np.quantile(there, inner, method="higher"))
    bucket = np.searchsorted(edges, numbers.fill_null(0).to_numpy(), side="right")
    texts = pl.Series([f"bucket {number}" for number in bucket])
    texts = texts.to_frame("value").select(pl.when(numbers.is_not_null()).then("value"))
    return texts.to_series().reshape((-1, 1)).cast(pl.List(pl.String)).alias(column.name)
