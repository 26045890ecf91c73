"""Reads the text of the items: titles, names, categories."""

from pathlib import Path
from typing import Any

import polars as pl

from rearec_jax.config import DataConfig
from rearec_jax.config.checks import template_parts
from rearec_jax.data.own_files import paths, tables
from rearec_jax.data.own_files.columns import ITEM, choose
from rearec_jax.data.own_files.records import TextOptions
from rearec_jax.errors import UserError


def read_item_text(config: DataConfig, item_ids: pl.Series) -> pl.Series:
    """Reads the text of each item, in the order of ``item_ids`` (String, null = none).

    ``config.item_text`` is a TSV, CSV or Parquet file, or a RecBole .item file whose header types
    are left out of the column names. ``text_of`` says how columns become a text; the parts of a
    list, as Amazon's metadata have them, are joined by ', '. Of an id that occurs twice the first
    row counts.

    Raises:
        UserError: the file or a column is missing, a line is malformed, or no item has text.
    """
    path = paths.existing_file(config.item_text, "data.item_text")
    option = "data.text_template" if config.text_template else "data.text_columns"
    header = tables.read_header(path, TextOptions(typed=paths.suffix(path) == ".item"))
    names, where = header.columns, str(path)
    ids = choose(names, ITEM, config.text_id_column, "data.text_id_column", where)
    wanted = columns_of_text(config)
    for column in wanted:
        choose(names, ITEM._replace(default=""), column, option, where)
    table = tables.read_table([path], [header], list(dict.fromkeys([ids, *wanted])))
    texts = _join(table, ids, config)
    found = item_ids.cast(pl.String).alias("id").to_frame()
    found = found.join(texts, on="id", how="left", maintain_order="left")["text"]
    if found.null_count() == len(found):
        raise UserError(_no_match(path, config, item_ids, texts))
    return found


def columns_of_text(config: DataConfig) -> list[str]:
    """Returns the columns that ``text_of`` reads: those of the template if there is one.

    Raises:
        UserError: no column is named.
    """
    if not config.text_template:
        if not config.text_columns:
            raise UserError("data.text_columns is empty; name the columns of the items' text")
        return list(dict.fromkeys(config.text_columns))
    columns = [column for _, column in template_parts(config.text_template) if column is not None]
    if not columns:
        raise UserError(
            f"data.text_template={config.text_template!r} names no column; write it in braces, as"
            ' in "The title is {title}"'
        )
    return list(dict.fromkeys(columns))


def text_of(config: DataConfig) -> pl.Expr:
    """Returns the text of a row: its filled columns joined by a space, or the filled template.

    An empty column adds nothing to the template; where all are empty, the text is null.

    Raises:
        UserError: no column is named.
    """
    filled = {column: _filled(column) for column in columns_of_text(config)}
    if not config.text_template:
        text = pl.concat_str(*filled.values(), separator=" ", ignore_nulls=True)
        return text.replace("", None)
    pieces = []
    for literal, column in template_parts(config.text_template):
        pieces.append(pl.lit(literal))
        if column is not None:
            pieces.append(filled[column])
    is_empty = pl.all_horizontal(value.is_null() for value in filled.values())
    return pl.when(~is_empty).then(pl.concat_str(*pieces, ignore_nulls=True).str.strip_chars())


def _filled(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.String).str.strip_chars().replace("", None)


def _join(table: tables.Table, ids: str, config: DataConfig) -> pl.DataFrame:
    columns = [_as_text(table, name) for name in columns_of_text(config)]
    texts = pl.DataFrame(columns).select(text=text_of(config))["text"]
    frame = pl.DataFrame({"id": table.ids(ids), "text": texts})
    return frame.drop_nulls().unique("id", keep="first", maintain_order=True)


def _as_text(table: tables.Table, name: str) -> pl.Series:
    """Returns a column as it is, or lists of single values as one text each."""
    column = table.frame[name]
    kind = column.dtype
    if isinstance(kind, pl.Array):
        column = column.arr.to_list()
    if isinstance(kind, pl.Array | pl.List) and _is_plain(kind.inner):
        return column.cast(pl.List(pl.String)).list.join(", ", ignore_nulls=True)
    return table.column(name, "texts, or lists of texts,", pl.Binary)


def _is_plain(kind: Any) -> bool:
    return kind.is_numeric() or kind in (pl.String, pl.Categorical, pl.Enum, pl.Null)


def _no_match(path: Path, config: DataConfig, item_ids: pl.Series, texts: pl.DataFrame) -> str:
    there = repr(texts["id"][0]) if len(texts) else "none"
    return (
        f"{path} has text for none of the {len(item_ids)} items (an item id is"
        f" {item_ids[0]!r}, an id there {there}); check data.text_id_column="
        f"{config.text_id_column!r} and data.text_columns"
    )
