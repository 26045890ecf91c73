"""Maps raw ids to dense ones."""

from jaxtyping import Int64
import numpy as np
import polars as pl


def encode(raw: pl.Series) -> tuple[Int64[np.ndarray, "rows"], pl.Series]:
    """Returns the dense ids of raw ids, String or Int64, and the raw id of each dense id.

    The order is numerical if every raw id is an integer of 64 bits, else lexicographic.
    """
    ids = raw.rename("id").unique()
    ids = ids.gather(order(ids)).to_frame()
    codes = (
        raw.alias("id")
        .to_frame()
        .join(ids.with_row_index("code"), on="id", how="left", maintain_order="left")
    )
    return codes["code"].to_numpy().astype(np.int64), ids["id"]


def order(ids: pl.Series) -> Int64[np.ndarray, "n"]:
    """Returns the places of different raw ids in the order of their dense ones."""
    if ids.dtype == pl.Int64:
        return ids.arg_sort().to_numpy().astype(np.int64)
    frame = (
        ids.alias("id").to_frame().with_columns(number=pl.col("id").cast(pl.Int64, strict=False))
    )
    # "07" and "7" are different raw ids: the text breaks ties between equal numbers.
    keys = "id" if frame["number"].has_nulls() else ["number", "id"]
    return frame.with_row_index("place").sort(keys)["place"].to_numpy().astype(np.int64)
