"""Reads Parquet files that may be damaged."""

from collections.abc import Mapping
import pathlib
from typing import Any

import polars as pl

# Polars panics on some damaged files instead of raising an error of its own.
DAMAGED = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)


def read_columns(path: pathlib.Path, types: Mapping[str, Any], most_rows: int) -> pl.DataFrame:
    """Reads the columns of these types, and no more rows than ``most_rows``.

    Raises:
        ValueError: it cannot be read, a column has another type, or there are more rows.
    """
    str(path).encode()  # Polars reads no path that is not UTF-8; a UnicodeError is a ValueError
    try:
        rows = pl.scan_parquet(path, glob=False).select(pl.len()).collect().item()
        if rows > most_rows:
            raise ValueError(f"it has {rows} rows where at most {most_rows} are expected")
        frame = pl.read_parquet(path, columns=list(types), glob=False)
    except DAMAGED as error:
        raise ValueError(str(error).strip().partition("\n")[0]) from error
    if frame.schema != types:
        raise ValueError(f"its columns are not {', '.join(f'{n}: {t}' for n, t in types.items())}")
    return frame
