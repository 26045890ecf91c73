"""Reads the columns of a table file, whole or in stretches; each row knows its line."""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import dataclasses
import io
from pathlib import Path
import re
import tempfile
from typing import Any, NamedTuple

from jaxtyping import Int64
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from rearec_jax.data.own_files import cells, dealing, paths, records
from rearec_jax.data.own_files.records import BY_DEFAULT, Header, TextOptions, Wrong
from rearec_jax.data.parquet import DAMAGED
from rearec_jax.errors import UserError
from rearec_jax.run.progress import CountProgress

ROWS = 2**20  # of a Parquet file that are read at once
PART = 32 * 2**20  # bytes of the input for each part of the users
MOST_PARTS = 256  # files that are open at once
_LINE = "\0line"  # no column of a user's file has such a name
_TEXT = (".csv", ".tsv", ".txt", ".dat", ".data", ".inter", ".item")
_ARROW = (".feather", ".arrow", ".arrows", ".ipc")
_SHEETS = (".xlsx", ".xls", ".ods")


@dataclasses.dataclass(frozen=True)
class Table:
    """The columns of a file, or of a stretch of it.

    path:  the file.
    unit:  what ``lines`` counts: "line", or "row" of Parquet.
    frame: the columns: of a delimited file Strings (null = empty), of Parquet their own types, but
        Categorical and Enum as Strings.
    lines: the line of each row, where the header is 1; of Parquet, its row, from 1.
    wrong: the malformed rows, which are left out.
    parts: where the rows of several files begin in ``frame``, each with its file; (): one file.
    """

    path: Path
    unit: str
    frame: pl.DataFrame
    lines: Int64[np.ndarray, "rows"]
    wrong: Sequence[Wrong] = ()
    parts: Sequence[tuple[int, Path]] = ()

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
        path = next((path for start, path in reversed(self.parts) if start <= row), self.path)
        return f"{path}, {self.unit} {self.lines[row]}"

    def file_of_rows(self, files: Sequence[Path]) -> Int64[np.ndarray, "rows"]:
        """Returns for each row which of the ``files`` it is from."""
        starts = [start for start, _ in self.parts]
        lengths = np.diff([*starts, len(self.frame)])
        return np.repeat([files.index(path) for _, path in self.parts], lengths)

    def filtered(self, keep: pl.Series) -> "Table":
        """Returns the rows that are to be kept."""
        mask = keep.to_numpy()
        before = np.concatenate([[0], np.cumsum(mask)])
        parts = [(int(before[start]), path) for start, path in self.parts]
        return dataclasses.replace(
            self, frame=self.frame.filter(keep), lines=self.lines[mask], parts=parts
        )

    def unrolled(self, names: Sequence[str]) -> "Table":
        """Returns a row for each value of the lists in these columns; other columns repeat theirs.

        Raises:
            UserError: the lists of a row have different lengths.
        """
        lengths = [self.frame[name].list.len().fill_null(0).to_numpy() for name in names]
        for name, length in zip(names, lengths, strict=True):
            if (wrong := np.flatnonzero(length != lengths[0])).size:
                row = int(wrong[0])
                raise UserError(
                    f"{self.location(row)}: column {names[0]!r} has {lengths[0][row]} values and"
                    f" column {name!r} {length[row]}"
                )
        ends = np.concatenate([[0], np.cumsum(lengths[0])])
        frame = self.frame.filter(pl.Series(lengths[0] > 0)).explode(names)
        parts = [(int(ends[start]), path) for start, path in self.parts]
        lines = np.repeat(self.lines, lengths[0])
        return dataclasses.replace(self, frame=frame, lines=lines, parts=parts)


def read_header(path: Path, options: TextOptions = BY_DEFAULT) -> Header:
    """Finds out what kind of table a file is, and its columns.

    Args:
        path: the file; its suffix or its first bytes tell Parquet and Arrow from text.
        options: the format of text, as far as it is known; a typed header is text whatever the
            suffix.

    Raises:
        UserError: the kind is unknown, the file cannot be read, or a column is repeated.
    """
    kind = "" if options.typed else _kind(path)
    if kind:
        with _arrow(path, kind) as file:
            header = Header(file.names, cells.PARQUET)
    else:
        header = records.read_header(path, options)
    header = header._replace(partition=paths.partition(path))
    repeated = sorted({name for name in header.names if header.names.count(name) > 1} - {"_"})
    if repeated:
        raise UserError(f"{path}, line 1: column {repeated[0]!r} occurs more than once")
    return header


def _kind(path: Path) -> str:
    """Returns '.parquet', '.arrow' or '', of text. Raises UserError for a spreadsheet."""
    suffix = paths.suffix(path)
    if suffix in _SHEETS:
        raise UserError(f"{path} is a spreadsheet; save it as .csv")
    if suffix in _ARROW:
        return ".arrow"
    if suffix in (".parquet", *_TEXT):
        return "" if suffix in _TEXT else suffix
    with paths.explained(path), paths.open_bytes(path) as file:
        start = file.read(6)
    return ".parquet" if start[:4] == b"PAR1" else ".arrow" if start == b"ARROW1" else ""


def stretches(
    path: Path, header: Header, wanted: Sequence[str], rows: int = ROWS
) -> Iterator[Table]:
    """Yields the wanted columns of a file from its start to its end, in bounded memory.

    ``rows`` bounds the rows of a stretch of a Parquet file.

    Raises:
        UserError: the file cannot be read on.
    """
    if header.form != cells.PARQUET:
        for found in records.read_records(path, header, [n for n in wanted if n in header.names]):
            frame = _with_partition(found.frame, header, wanted)
            yield Table(path, "line", frame, found.lines, found.wrong)
        return
    done = 0
    with _arrow(path, _kind(path)) as file:
        names = [name for name in wanted if name in header.names]
        for batch in file.batches(rows, names):
            batch.validate(full=True)  # Polars would take any bytes for UTF-8
            frame = pl.DataFrame(pl.from_arrow(batch)).select(names)
            # Each batch may have categories of its own.
            frame = frame.with_columns(
                pl.col(pl.Categorical, pl.Enum).cast(pl.String),
                *(_uuids(pl.col(field.name)) for field in batch.schema if _is_uuid(field.type)),
            )
            lines = np.arange(done + 1, done + 1 + len(frame))
            yield Table(path, "row", _with_partition(frame, header, wanted), lines)
            done += len(frame)


def _with_partition(frame: pl.DataFrame, header: Header, wanted: Sequence[str]) -> pl.DataFrame:
    """Returns the wanted columns, of which those that the file lacks are in its path."""
    values = ((name, header.partition[name]) for name in wanted if name not in header.names)
    return frame.with_columns(pl.lit(v, pl.String).alias(name) for name, v in values).select(wanted)


def _is_uuid(kind: pa.DataType) -> bool:
    """Says whether values are UUIDs: of that type, or of 16 bytes each, as older writers do."""
    return kind == pa.uuid() or kind == pa.binary(16)


def _uuids(column: pl.Expr) -> pl.Expr:
    return column.bin.encode("hex").str.replace(r"^(.{8})(.{4})(.{4})(.{4})", "$1-$2-$3-$4-")


def read_table(files: Sequence[Path], headers: Sequence[Header], wanted: Sequence[str]) -> Table:
    """Reads the wanted columns of files as one table.

    Raises:
        UserError: a file without one of the columns, a line with too many or too few fields, bytes
            that are not UTF-8, an empty or damaged file, or types that do not fit together.
    """
    return _as_one(list(_all_stretches(files, headers, wanted)), files[0])


def read_by_user(
    files: Sequence[Path], headers: Sequence[Header], wanted: Sequence[str], user: str, room: str
) -> Iterator[Table]:
    """Yields the wanted columns of files as tables that each hold all rows of some users.

    Files of up to `PART` bytes are one table. Of larger ones the rows are dealt out to files that
    have no name, in the directory ``room``, so that no table needs more memory than another.

    Raises:
        UserError: as for `read_table`.
    """
    count = 1 + sum(file.stat().st_size for file in set(map(paths.on_disk, files))) // PART
    found = _all_stretches(files, headers, wanted)
    if count == 1:
        yield _as_one(list(found), files[0])
        return
    with contextlib.ExitStack() as stack:
        count = min(count, MOST_PARTS)
        dealt = [stack.enter_context(tempfile.TemporaryFile(dir=room)) for _ in range(count)]
        sources: list[list[Table]] = [[] for _ in dealt]
        progress = stack.enter_context(CountProgress("rows read"))
        for table in found:
            frame = table.frame.with_columns(pl.Series(_LINE, table.lines))
            for part, rows in dealing.deal(frame, table.ids(user), count):
                dealing.append(dealt[part], rows)
                sources[part].append(Table(table.path, table.unit, rows.clear(), table.lines[:0]))
            progress.advance(len(frame))
        if not any(sources):
            _as_one([], files[0])
        for file, blocks in zip(dealt, sources, strict=True):
            both = zip(blocks, dealing.appended(file), strict=True)
            tables = [
                dataclasses.replace(block, frame=rows.drop(_LINE), lines=rows[_LINE].to_numpy())
                for block, rows in both
            ]
            file.close()  # it has no name, so its room is free again
            if tables:
                yield _as_one(tables, files[0])


def _all_stretches(
    files: Sequence[Path], headers: Sequence[Header], wanted: Sequence[str]
) -> Iterator[Table]:
    for path, header in zip(files, headers, strict=True):
        for name in wanted:
            if name not in header.columns:
                raise UserError(
                    f"{path} has no column {name!r}, which {files[0]} has; its columns are"
                    f" {', '.join(header.columns)}"
                )
        for table in stretches(path, header, wanted):
            for line, reason in table.wrong:
                raise UserError(f"{path}, {table.unit} {line}: {reason}")
            yield table


def _as_one(found: Sequence[Table], path: Path) -> Table:
    """Joins tables. Raises UserError where they have no rows, or types that do not fit together."""
    ends = np.cumsum([0, *(len(table.lines) for table in found)]).tolist()
    if not ends[-1]:
        raise UserError(f"{path} has a header but no rows")
    return Table(
        path,
        found[0].unit,
        _joined(found),
        np.concatenate([table.lines for table in found]),
        parts=tuple((start, table.path) for start, table in zip(ends, found, strict=False)),
    )


def _joined(found: Sequence[Table]) -> pl.DataFrame:
    frames = [table.frame for table in found if len(table.frame)]
    try:
        return pl.concat(frames, how="vertical_relaxed", rechunk=True)
    except pl.exceptions.PolarsError as error:
        names = frames[0].columns
        differs = (n for n in names if len({frame.schema[n] for frame in frames}) > 1)
        raise UserError(
            f"{found[0].path}: column {next(differs, names[0])!r} has other types in other files"
            f" ({cells.first_line(error)}); write it as one type"
        ) from error


def read_lines(path: Path) -> pl.Series:
    """Returns the lines of a UTF-8 text file, plain or .gz, without their ends.

    Raises:
        UserError: the file is not text, or damaged.
    """
    with paths.explained(path), paths.open_bytes(path) as file:
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


class _Arrow(NamedTuple):
    """An open file of typed columns.

    names:   the names of its columns.
    batches: yields so many rows at a time of the columns that are named.
    """

    names: list[str]
    batches: Callable[[int, list[str]], Iterator[pa.RecordBatch]]


@contextlib.contextmanager
def _arrow(path: Path, kind: str) -> Iterator[_Arrow]:
    """Opens a file of Parquet or, where ``kind`` is '.arrow', of Arrow (Feather)."""
    try:
        source: Any = path
        if paths.packing(path):
            with paths.open_bytes(path) as file:
                source = io.BytesIO(file.read())
        if kind == ".parquet":
            with pq.ParquetFile(source) as file:
                names = file.schema_arrow.names
                yield _Arrow(names, lambda rows, wanted: file.iter_batches(rows, columns=wanted))
        else:
            with _ipc(source) as stream:
                yield _Arrow(stream.schema.names, lambda rows, names: _slices(stream, rows, names))
    except (*DAMAGED, *paths.DAMAGED, ValueError) as error:
        name = "Parquet" if kind == ".parquet" else "Arrow"
        raise UserError(f"{path} cannot be read as {name}: {cells.first_line(error)}") from error


def _ipc(source: Any) -> pa.ipc.RecordBatchReader:
    """Opens Arrow's format of files as a stream, which its format of streams is anyway."""
    source = source if isinstance(source, io.BytesIO) else pa.memory_map(str(source))
    try:
        file = pa.ipc.open_file(source)
    except pa.ArrowInvalid:
        source.seek(0)
        return pa.ipc.open_stream(source)
    batches = (file.get_batch(number) for number in range(file.num_record_batches))
    return pa.ipc.RecordBatchReader.from_batches(file.schema, batches)


def _slices(
    stream: pa.ipc.RecordBatchReader, rows: int, names: list[str]
) -> Iterator[pa.RecordBatch]:
    for batch in stream:
        for start in range(0, len(batch), rows):
            yield batch.select(names).slice(start, rows)
