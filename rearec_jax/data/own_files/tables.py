"""Reads the columns of a table file, whole or in stretches; each row knows its line."""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import dataclasses
import gzip
import io
import os
from pathlib import Path
import re
from typing import Any

from jaxtyping import Int64
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from rearec_jax.data.own_files import cells, records
from rearec_jax.data.own_files.records import Header, Wrong
from rearec_jax.data.parquet import DAMAGED
from rearec_jax.errors import UserError
from rearec_jax.run.files import expanded

ROWS = 2**20  # of a Parquet file that are read at once
_SUFFIXES = (".csv", ".tsv", ".txt", ".parquet", ".inter", ".item")


@dataclasses.dataclass(frozen=True)
class Table:
    """The columns of a file, or of a stretch of it.

    path:  the file.
    unit:  what ``lines`` counts: "line", or "row" of Parquet.
    frame: the columns: of a delimited file Strings (null = empty), of Parquet their own types, but
        Categorical and Enum as Strings.
    lines: the line of each row, where the header is 1; of Parquet, its row, from 1.
    wrong: the malformed rows, which are left out.
    """

    path: Path
    unit: str
    frame: pl.DataFrame
    lines: Int64[np.ndarray, "rows"]
    wrong: Sequence[Wrong] = ()

    def column(self, name: str, needed: str, *others: Any) -> pl.Series:
        """Returns a column of single values.

        Args:
            name: the name of the column.
            needed: the values that it has to hold, in words for the error.
            others: types, besides lists, structs and the like, that cannot hold them.

        Raises:
            UserError: the column is of such a type.
        """
        column = self.frame[name]
        kind = column.dtype
        if kind.is_nested() or kind in (pl.Object, pl.Time, pl.Duration, *others):
            raise UserError(
                f"{self.path}: column {name!r} is of type {kind}, where {needed} are needed; write"
                " it as such, or name another column"
            )
        return column

    def ids(self, name: str) -> pl.Series:
        """Returns a column of ids as Strings; null where there is none, or none that counts."""
        return cells.id_texts(self.column(name, "ids"))

    def location(self, row: int) -> str:
        """Returns 'FILE, line 12' for a row of ``frame``."""
        return f"{self.path}, {self.unit} {self.lines[row]}"


def existing_file(path: str, option: str, hint: str = "") -> Path:
    """Returns the path of the file that ``option`` names.

    Raises:
        UserError: there is no path, or no file there; the message ends with ``hint``, which says
            where to get it.
    """
    hint = f"; {hint}" if hint else ""
    if not path:
        raise UserError(f"option {option} names no file{hint}")
    require_no_url(path, option)
    found = Path(expanded(path))
    if not os.path.isfile(found):  # of names that are too long `Path` raises OSError
        problem = "is no file" if os.path.exists(found) else "does not exist"
        raise UserError(f"file {found} (option {option}) {problem}{hint}")
    return found


def require_no_url(path: str, option: str) -> None:
    """Raises UserError where a path is a URL."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", path):
        raise UserError(
            f"{path} (option {option}) is a URL, and files are read and written on disks only;"
            " download or copy the file, and give its path"
        )


def read_header(path: Path, typed_header: bool = False) -> Header:
    """Finds out what kind of table a file is, and its columns.

    Args:
        path: the file; its suffix tells the kind.
        typed_header: whether it has RecBole's ``name:type`` header, tab separated, whatever the
            suffix.

    Raises:
        UserError: the kind is unknown, the file cannot be read, or a column is repeated.
    """
    suffix = cells.suffix(path)
    if suffix == ".parquet" and not typed_header:
        with _parquet(path) as file:
            header = Header(file.schema_arrow.names, cells.PARQUET)
    elif suffix in _SUFFIXES or typed_header:
        header = records.read_header(path, typed_header)
    else:
        raise UserError(
            f"{path}: what kind of table is '{suffix}'? Known are .csv, .tsv, .txt (tab or comma)"
            " and .parquet, each also with .gz"
        )
    repeated = sorted({name for name in header.names if header.names.count(name) > 1})
    if repeated:
        raise UserError(f"{path}, line 1: column {repeated[0]!r} occurs more than once")
    return header


def stretches(
    path: Path, header: Header, wanted: Sequence[str], rows: int = ROWS
) -> Iterator[Table]:
    """Yields the wanted columns of a file from its start to its end, in bounded memory.

    ``rows`` bounds the rows of a stretch of a Parquet file.

    Raises:
        UserError: the file cannot be read on.
    """
    if header.form != cells.PARQUET:
        for found in records.read_records(path, header, wanted):
            yield Table(path, "line", *found)
        return
    done = 0
    with _parquet(path) as file:
        for batch in file.iter_batches(rows, columns=list(wanted)):
            batch.validate(full=True)  # Polars would take any bytes for UTF-8
            frame = pl.DataFrame(pl.from_arrow(batch)).select(wanted)
            # Each batch may have categories of its own.
            frame = frame.with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String))
            yield Table(path, "row", frame, np.arange(done + 1, done + 1 + len(frame)))
            done += len(frame)


def read_table(path: Path, wanted: Mapping[str, str], typed_header: bool = False) -> Table:
    """Reads the wanted columns of a .csv, .tsv, .txt or .parquet file, plain or with .gz.

    Args:
        path: the file; its suffix tells the kind.
        wanted: the names of the columns, each with the option that names it, for errors.
        typed_header: see ``read_header``.

    Raises:
        UserError: a missing or repeated column, a line with too many or too few fields, bytes
            that are not UTF-8, an empty or damaged file.
    """
    header = read_header(path, typed_header)
    for name, option in wanted.items():
        if name not in header.names:
            raise UserError(
                f"{path} has no column {name!r} (option {option}); its columns are"
                f" {', '.join(header.names)}"
            )
    found = []
    for table in stretches(path, header, list(wanted)):
        for line, reason in table.wrong:
            raise UserError(f"{path}, {table.unit} {line}: {reason}")
        found.append(table)
    if not any(len(table.lines) for table in found):
        raise UserError(f"{path} has a header but no rows")
    frame = pl.concat([table.frame for table in found], rechunk=True)
    return Table(path, found[0].unit, frame, np.concatenate([table.lines for table in found]))


def read_lines(path: Path) -> pl.Series:
    """Returns the lines of a UTF-8 text file, plain or .gz, without their ends.

    Raises:
        UserError: the file is not text, or damaged.
    """
    with records.explained(path), cells.open_bytes(path) as file:
        content = file.read()
    if re.search(rb"\r+[^\r\n]", content):
        raise UserError(f"{path}: {records.CR_ALONE}")
    # Not splitlines(): it also splits at characters that editors do not count as lines.
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    try:
        return pl.Series("line", [line.decode() for line in lines], dtype=pl.String)
    except UnicodeDecodeError:
        wrong = next(number for number, line in enumerate(lines, 1) if not records.is_utf8(line))
    raise UserError(f"{path}, line {wrong}: {records.NOT_UTF8}")


@contextlib.contextmanager
def _parquet(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        source = io.BytesIO(gzip.decompress(path.read_bytes())) if cells.is_gzip(path) else path
        with pq.ParquetFile(source) as file:
            yield file
    except (*DAMAGED, *records.DAMAGED, pa.ArrowException, ValueError) as error:
        raise UserError(f"{path} cannot be read as Parquet: {cells.first_line(error)}") from error
