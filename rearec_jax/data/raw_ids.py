"""Maps raw ids to dense ones."""

from jaxtyping import Int64
import numpy as np
import polars as pl


def encode(raw: pl.Series) -> tuple[Int64[np.ndarray, "rows"], pl.Series]:
    """Returns the dense ids of raw String ids, and the raw id of each dense id.

    The order is numerical if every raw id is an integer of 64 bits, else lexicographic.
    """
    ids = raw.rename("id").unique().to_frame()
    ids = ids.with_columns(number=pl.col("id").cast(pl.Int64, strict=False))
    # "07" and "7" are different raw ids: the text breaks ties between equal numbers.
    ids = ids.sort("id" if ids["number"].has_nulls() else ["number", "id"]).select("id")
    codes = (
        raw.alias("id")
        .to_frame()
        .join(ids.with_row_index("code"), on="id", how="left", maintain_order="left")
    )
    return codes["code"].to_numpy().astype(np.int64), ids["id"]
