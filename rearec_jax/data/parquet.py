"""The errors that reading a damaged Parquet file may raise."""

import polars as pl

# Polars panics on some damaged files instead of raising an error of its own.
DAMAGED = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)
