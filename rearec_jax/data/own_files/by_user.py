"""Gathers the interactions of an input file, in any order, by user in bounded memory.

One pass over the file deals its rows out to files; each of these is sorted in memory.
"""

from collections.abc import Callable, Iterator
import json
import os
import pathlib
import shutil

import polars as pl

from rearec_jax.data.own_files import dealing, paths, user_rows
from rearec_jax.data.own_files.records import Wrong
from rearec_jax.data.own_files.user_rows import Input, Piece
from rearec_jax.run.files import write_whole

FILE_BYTES = 64 * 2**20  # bytes of the input for each file that is sorted
DEALT, DONE = ".arrows", "dealt.json"


def users(source: Input, directory: pathlib.Path, show: Callable[[int], None]) -> Iterator[Piece]:
    """Yields users with their items in the order of time, or of the file where it has no times.

    Args:
        source: the file of interactions.
        directory: the directory for the dealt rows; finished ones that lie there are used again.
        show: receives the number of rows read so far.

    Raises:
        UserError: the file cannot be read.
    """
    if not (directory / DONE).exists():
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        _deal(source, directory, show)
    wrong = json.loads((directory / DONE).read_text())
    yield Piece([], [], [], [Wrong(*one) for one in wrong])
    for dealt in sorted(directory.glob(f"*{DEALT}")):
        yield from _sorted(dealt)


def _deal(source: Input, directory: pathlib.Path, show: Callable[[int], None]) -> None:
    count = 1 + paths.on_disk(source.path).stat().st_size // FILE_BYTES
    wrong: list[Wrong] = []
    read = 0
    for frame, left_out in user_rows.interactions(source):
        wrong += left_out
        for part, rows in dealing.deal(frame, frame["user"], count):
            with (directory / f"{part:06}{DEALT}").open("ab") as file:
                dealing.append(file, rows)
        read += len(frame)
        show(read)
    for dealt in directory.glob(f"*{DEALT}"):
        with dealt.open("rb") as file:
            os.fsync(file.fileno())  # before a file says that they are whole
    write_whole(directory / DONE, lambda file: file.write(json.dumps(wrong).encode()))


def _sorted(dealt: pathlib.Path) -> Iterator[Piece]:
    with dealt.open("rb") as file:
        frame = pl.concat(dealing.appended(file))
    order = [name for name in ("time", "fraction", "line") if name in frame.columns]
    frame = frame.sort(order).group_by("user").agg("item", pl.col("line").min())
    frame = frame.sort("line")
    for rows in frame.iter_slices(user_rows.ROWS):
        columns = (rows[name].to_list() for name in ("line", "user", "item"))
        yield Piece(*columns, wrong=[])
