"""Text of the items: titles, names, categories."""

from pathlib import Path

import polars as pl

from rearec_jax.config import DataConfig
from rearec_jax.data import tables
from rearec_jax.errors import UserError


def read_item_text(config: DataConfig, item_ids: pl.Series) -> pl.Series:
    """Text of each item in the order of ``item_ids`` (String); null where it has none.

    ``config.item_text`` is a TSV, CSV or Parquet file, or a RecBole .item file whose header types
    are left out of the column names. The text columns are joined by one space. Of an id that
    occurs twice the first row counts.

    Raises:
        UserError: file or column missing, a malformed line, or no item has text.
    """
    path = tables.existing_file(config.item_text, "data.item_text")
    if not config.text_columns:
        raise UserError("data.text_columns is empty; name the columns that hold the items' text")
    wanted = {config.text_id_column: "data.text_id_column"}
    wanted |= {column: "data.text_columns" for column in config.text_columns}
    table = tables.read_table(path, wanted, typed_header=tables.suffix(path) == ".item")
    texts = _join(table.frame, config)
    found = item_ids.cast(pl.String).alias("id").to_frame()
    found = found.join(texts, on="id", how="left", maintain_order="left")["text"]
    if found.null_count() == len(found):
        raise UserError(_no_match(path, config, item_ids, texts))
    return found


def _join(frame: pl.DataFrame, config: DataConfig) -> pl.DataFrame:
    parts = [
        pl.col(column).cast(pl.String).str.strip_chars().replace("", None)
        for column in config.text_columns
    ]
    text = pl.concat_str(parts, separator=" ", ignore_nulls=True).replace("", None)
    frame = frame.select(id=pl.col(config.text_id_column).cast(pl.String), text=text)
    return frame.drop_nulls().unique("id", keep="first", maintain_order=True)


def _no_match(path: Path, config: DataConfig, item_ids: pl.Series, texts: pl.DataFrame) -> str:
    there = repr(texts["id"][0]) if len(texts) else "none"
    return (
        f"{path} has text for none of the {len(item_ids)} items (an item id is"
        f" {item_ids[0]!r}, an id there {there}); check data.text_id_column="
        f"{config.text_id_column!r} and data.text_columns"
    )
