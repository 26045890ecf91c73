"""Turns raw ids of any type into text, and maps them to dense ones."""

import decimal
import math
import reprlib
from typing import Any

from jaxtyping import Int64
import numpy as np
import polars as pl


def id_text(value: Any, what: str = "id") -> str:
    """Returns an id as text: the one rule for ids of files, of requests and of Python.

    Text stays as it is, bytes are read as UTF-8, and whole numbers of any type are written without
    a point. Where a number is missing pandas makes all of them floats: 17.0 is "17".

    Args:
        value: the id; also a scalar of numpy, JAX or Arrow.
        what: the name of the value in errors, such as "item id".

    Raises:
        ValueError: it is missing (None, NaN or blank text), neither text nor an exact whole number,
            or no UTF-8.
    """
    text = _text(value)
    if text is None:
        shown = reprlib.repr(value)
        raise ValueError(f"the {what} {shown} is neither text nor an exact whole number")
    try:
        text = text.decode() if isinstance(text, bytes) else text
        text.encode()  # half of a surrogate pair is no text
    except UnicodeError as error:
        raise ValueError(f"the {what} is not UTF-8 text") from error
    if not text.strip():
        raise ValueError(f"no {what}")
    return text


def _text(value: Any) -> str | bytes | None:
    """Returns the text of an id before it is checked; "" where it is missing, None if it is none.

    Whole numbers so large that a float of their type cannot tell them from their neighbours may
    have been rounded: they are none.
    """
    bits = 53
    if hasattr(value, "as_py"):  # a scalar of Arrow
        value = value.as_py()
    if isinstance(getattr(value, "dtype", None), np.dtype) and value.shape == ():
        kind = value.dtype.kind
        if kind not in "iufUSO":
            return None
        bits = np.finfo(value.dtype).nmant + 1 if kind == "f" else bits
        value = value.item()
    match value:
        case None:
            return ""
        case str():
            return str.__str__(value)  # of an Enum its value
        case bytes():
            return value
        case bool():
            return None
        case int():
            return str(int(value))
        case float() | decimal.Decimal() if math.isnan(value):
            return ""
        case float() if value.is_integer() and abs(value) <= 2**bits:
            return str(int(value))
        case decimal.Decimal() if value.is_finite() and value == value.to_integral_value():
            return str(int(value))
    return None


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
