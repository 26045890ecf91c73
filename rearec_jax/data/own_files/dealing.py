"""Deals rows out to files by a hash of their user, so that all of a file's rows fit into memory.

Such a file grows during the pass over the input: it holds Arrow streams, one after the other.
"""

from collections.abc import Iterator
import os
from typing import Any, BinaryIO

import polars as pl
import pyarrow as pa

_PART = "\0part"  # no column of a user's file has such a name


def deal(frame: pl.DataFrame, users: pl.Series, count: int) -> Iterator[tuple[Any, pl.DataFrame]]:
    """Yields the rows for each of ``count`` files that gets some: its number and the rows.

    Args:
        frame: the rows.
        users: the raw id of each row's user; the same one always goes into the same file.
        count: the number of files.
    """
    of_row = (users.hash() % count).fill_null(0).alias(_PART)
    dealt = frame.with_columns(of_row).partition_by(_PART, as_dict=True, include_key=False)
    yield from ((number, rows) for (number,), rows in dealt.items())


def append(file: BinaryIO, frame: pl.DataFrame) -> None:
    """Appends rows to a file."""
    frame.write_ipc_stream(file, compression="lz4")


def appended(file: BinaryIO) -> Iterator[pl.DataFrame]:
    """Yields what was appended to a file, from its start."""
    size = os.fstat(file.fileno()).st_size
    file.seek(0)
    while file.tell() < size:
        with pa.ipc.open_stream(file) as stream:
            yield pl.DataFrame(stream.read_all())
