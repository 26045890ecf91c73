"""What a builder makes of raw files: interactions with the items' titles beside the text."""

import dataclasses

from jaxtyping import Bool, Int64, UInt8
import numpy as np
import polars as pl

from rearec_jax.data.interactions import TRAIN, Interactions
from rearec_jax.data.published import recipe
from rearec_jax.data.published.recipe import Sequences
from rearec_jax.data.raw_ids import encode


@dataclasses.dataclass(frozen=True)
class Prepared:
    """``titles``: plain title of each item (String, null = none); its text is in ``data``."""

    data: Interactions
    titles: pl.Series


def compact(
    name: str,
    rows: Sequences,
    codes: UInt8[np.ndarray, "total"],
    user_ids: pl.Series,
    item_ids: pl.Series,
) -> Interactions:
    """Interactions of what examples need, with dense ids of just the users and items left."""
    keep = recipe.needed(codes, rows.offsets)
    user = np.repeat(np.arange(len(rows.offsets) - 1), np.diff(rows.offsets))[keep]
    users, left_users = encode(user_ids.gather(user))
    items, left_items = encode(item_ids.gather(rows.items[keep]))
    training = np.bincount(users[rows.period[keep] == TRAIN], minlength=len(left_users))
    return Interactions(
        items=items.astype(np.int32),
        offsets=_offsets(users, len(left_users)),
        split=codes[keep],
        timestamps=rows.timestamps[keep],
        user_ids=left_users,
        item_ids=left_items,
        item_text=None,
        name=name,
        training_lengths=training.astype(np.int64),
    )


def sequences(
    users: Int64[np.ndarray, "total"],
    items: Int64[np.ndarray, "total"],
    timestamps: Int64[np.ndarray, "total"],
    period: UInt8[np.ndarray, "total"],
    target_ok: Bool[np.ndarray, "total"],
) -> Sequences:
    """Rows that are sorted by user already. Every user below the largest must have a row."""
    return Sequences(
        items=items.astype(np.int32),
        offsets=_offsets(users, int(users[-1]) + 1),
        timestamps=timestamps,
        period=period,
        target_ok=target_ok,
    )


def in_order(
    users: Int64[np.ndarray, "rows"], timestamps: Int64[np.ndarray, "rows"]
) -> Int64[np.ndarray, "rows"]:
    """Rows by user, then time; those of one user and time stay in the order of the file."""
    return np.lexsort((timestamps, users))


def _offsets(users: Int64[np.ndarray, "total"], count: int) -> Int64[np.ndarray, "users_plus_1"]:
    return np.concatenate([[0], np.cumsum(np.bincount(users, minlength=count))])


def with_text(data: Interactions, table: pl.DataFrame) -> Prepared:
    """Adds ``title`` and ``text`` of a table with the column ``id``; its last row of an id counts.

    The text is null where it is empty.
    """
    table = table.unique("id", keep="last", maintain_order=True).select(
        "id", "title", text=pl.col("text").str.strip_chars().replace("", None)
    )
    found = data.item_ids.alias("id").to_frame()
    found = found.join(table, on="id", how="left", maintain_order="left")
    return Prepared(dataclasses.replace(data, item_text=found["text"]), found["title"])
