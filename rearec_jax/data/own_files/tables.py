"""Reads the columns of a table file; every error names the file and the line.

Polars reads the file at once. Only where something is wrong is it read again, record by record, to
find the line to name.
"""

from collections.abc import Iterator, Mapping
import csv
import dataclasses
import gzip
import io
from pathlib import Path
import re
from typing import Any
import zlib

import polars as pl

from rearec_jax.data.own_files import cells
from rearec_jax.data.own_files.cells import Format
from rearec_jax.data.parquet import DAMAGED
from rearec_jax.errors import UserError

_SUFFIXES = (".csv", ".tsv", ".txt", ".parquet", ".inter", ".item")


@dataclasses.dataclass(frozen=True)
class Table:
    """The columns of one file.

    path:   the file.
    frame:  its columns: of a delimited file Strings (null = empty), of Parquet its own types.
    format: the format of a delimited file; None for Parquet.
    """

    path: Path
    frame: pl.DataFrame
    format: Format | None

    def column(self, name: str, needed: str, *others: Any) -> pl.Series:
        """Returns a column of single values; Categorical and Enum as Strings.

        Args:
            name: the name of the column.
            needed: the values that it has to hold, in words for the error.
            others: types, besides lists, structs and the like, that cannot hold them.

        Raises:
            UserError: the column is of such a type.
        """
        column = self.frame[name]
        kind = column.dtype
        unfit = (pl.Binary, pl.Object, pl.Time, pl.Duration, *others)
        if kind.is_nested() or kind in unfit:
            raise UserError(
                f"{self.path}: column {name!r} is of type {kind}, where {needed} are needed; write"
                " it as such, or name another column"
            )
        return column.cast(pl.String) if kind in (pl.Categorical, pl.Enum) else column

    def ids(self, name: str) -> pl.Series:
        """Returns a column of ids as Strings, null where there is none."""
        return cells.id_texts(self.column(name, "ids"))

    def location(self, row: int) -> str:
        """Returns 'FILE, line 12' for a row of ``frame``."""
        if self.format is not None:
            filled = (line for line, fields in _records(self.path, self.format) if any(fields))
            for index, line in enumerate(filled):
                if index == row + 1:  # record 0 is the header
                    return f"{self.path}, line {line}"
        return f"{self.path}, row {row + 1}"


def existing_file(path: str, option: str, hint: str = "") -> Path:
    """Returns the path of the file that ``option`` names.

    Raises:
        UserError: there is no path, or no file there; the message ends with ``hint``, which says
            where to get it.
    """
    hint = f"; {hint}" if hint else ""
    if not path:
        raise UserError(f"option {option} names no file{hint}")
    found = Path(path).expanduser()
    if not found.is_file():
        problem = "is no file" if found.exists() else "does not exist"
        raise UserError(f"file {found} (option {option}) {problem}{hint}")
    return found


def read_table(path: Path, wanted: Mapping[str, str], typed_header: bool = False) -> Table:
    """Reads the wanted columns of a .csv, .tsv, .txt or .parquet file, plain or with .gz.

    Args:
        path: the file; its suffix tells the kind.
        wanted: the names of the columns, each with the option that names it, for errors.
        typed_header: whether it has RecBole's ``name:type`` header, tab separated, whatever the
            suffix.

    Raises:
        UserError: a missing or repeated column, a line with too many or too few fields, bytes
            that are not UTF-8, an empty or damaged file.
    """
    kind = cells.suffix(path)
    if kind == ".parquet" and not typed_header:
        return Table(path, _read_parquet(path, wanted), None)
    if kind not in _SUFFIXES and not typed_header:
        raise UserError(
            f"{path}: what kind of table is '{kind}'? Known are .csv, .tsv, .txt (tab or comma)"
            " and .parquet, each also with .gz"
        )
    return _read_delimited(path, wanted, typed_header)


def read_lines(path: Path) -> pl.Series:
    """Returns the lines of a UTF-8 text file, plain or .gz, without their ends.

    Raises:
        UserError: the file is not text, or damaged.
    """
    try:
        content = path.read_bytes()
        if cells.is_gzip(path):
            content = gzip.decompress(content)
        # Not splitlines(): it also splits at characters that editors do not count as lines.
        return pl.Series("line", content.decode("utf-8-sig").split("\n"), dtype=pl.String)
    except UnicodeDecodeError as error:
        raise _not_utf8(path) from error
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read: {cells.first_line(error)}") from error


def _read_parquet(path: Path, wanted: Mapping[str, str]) -> pl.DataFrame:
    try:
        source = io.BytesIO(gzip.decompress(path.read_bytes())) if cells.is_gzip(path) else path
        names = pl.read_parquet_schema(source)
        _require_columns(path, list(names), wanted)
        if isinstance(source, io.BytesIO):
            source.seek(0)
        frame = pl.read_parquet(source, columns=list(wanted))
    except (*DAMAGED, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read as Parquet: {cells.first_line(error)}") from error
    if frame.is_empty():
        raise UserError(f"{path} has no rows")
    return frame


def _read_delimited(path: Path, wanted: Mapping[str, str], typed_header: bool) -> Table:
    form, names = _header(path, typed_header)
    _require_columns(path, names, wanted)
    try:
        # All columns are read: of some of them, Polars drops the fields that are too many.
        frame = pl.read_csv(
            path,
            separator=form.separator,
            quote_char='"' if form.quotes else None,
            infer_schema=False,
        )
    except (pl.exceptions.PolarsError, OSError) as error:
        _check_records(path, form, len(names))
        _check_quotes(path, form)
        raise UserError(f"{path} cannot be read: {cells.first_line(error)}") from error
    frame.columns = names
    # The last column comes along because it is empty wherever a line is too short.
    frame = frame.select(list(dict.fromkeys([*wanted, names[-1]])))
    if any(frame[name].has_nulls() for name in frame.columns):
        filled = _check_records(path, form, len(names))
        frame = frame.filter(pl.Series(filled, dtype=pl.Boolean))
    if frame.is_empty():
        raise UserError(f"{path} has a header but no rows")
    return Table(path, frame.select(list(wanted)), form)


def _header(path: Path, typed: bool) -> tuple[Format, list[str]]:
    try:
        with cells.open_text(path) as file:
            first = file.readline()
    except UnicodeDecodeError as error:
        raise _not_utf8(path) from error
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read: {cells.first_line(error)}") from error
    if not first.strip():
        raise UserError(f"{path} is empty or starts with an empty line; it needs a header line")
    if first.endswith("\r"):
        raise UserError(f"{path}: lines end in CR alone; write them with LF or CR LF")
    is_tabbed = (
        typed or cells.suffix(path) == ".tsv" or (cells.suffix(path) != ".csv" and "\t" in first)
    )
    form = cells.TABS if is_tabbed else cells.COMMAS
    names = form.fields(first)
    if typed:
        untyped = [name for name in names if ":" not in name]
        if untyped:
            raise UserError(
                f"{path}, line 1: column {untyped[0]!r} has no type; a RecBole file starts with"
                " name:type columns separated by tabs, for example user_id:token"
            )
        names = [name.rpartition(":")[0] for name in names]
    return form, names


def _require_columns(path: Path, names: list[str], wanted: Mapping[str, str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UserError(f"{path}, line 1: column {repeated[0]!r} occurs more than once")
    for name, option in wanted.items():
        if name not in names:
            raise UserError(
                f"{path} has no column {name!r} (option {option}); its columns are"
                f" {', '.join(names)}"
            )


def _not_utf8(path: Path) -> UserError:
    """Returns the error that names the first line at fault.

    It is looked for anew: a file that is open as text decodes many lines at a time.
    """
    with path.open("rb") as start:
        if start.read(2) == b"\x1f\x8b" and not cells.is_gzip(path):
            return UserError(f"{path} is compressed by gzip; give it a name that ends in .gz")
    with cells.open_bytes(path) as file:
        number = next(number for number, line in enumerate(file, start=1) if not _is_utf8(line))
    return UserError(f"{path}, line {number}: not UTF-8 text; convert the file to UTF-8")


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _records(path: Path, form: Format) -> Iterator[tuple[int, list[str]]]:
    """Yields the first line and the fields of every record, the header and blank ones included."""
    with cells.open_text(path) as file:
        reader = form.records(file)
        line = 1
        for fields in reader:
            yield line, fields
            line = reader.line_num + 1


def _check_records(path: Path, form: Format, width: int) -> list[bool]:
    """Says which records after the header are not blank.

    Raises:
        UserError: a record has another number of fields than ``width``; names its line.
    """
    filled = []
    line = 0
    try:
        for line, fields in _records(path, form):
            filled.append(any(fields))
            if fields and len(fields) != width:
                raise UserError(
                    f"{path}, line {line}: {len(fields)} fields where the header has {width}"
                )
    except UnicodeDecodeError as error:
        raise _not_utf8(path) from error
    except (csv.Error, OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}, after line {line}: {cells.first_line(error)}") from error
    return filled[1:]


def _check_quotes(path: Path, form: Format) -> None:
    """Raises UserError for the first line with a quote inside a field that no quote begins."""
    if not form.quotes:
        return
    with cells.open_text(path) as file:
        for number, line in enumerate(file, start=1):
            unquoted = re.sub(r'(^|,)"(?:[^"]|"")*"(?=,|\s*$)', r"\1", line)
            if re.search(r'(^|,)[^",]+"', unquoted):
                raise UserError(
                    f"{path}, line {number}: a quote inside a field; put the whole field into"
                    " quotes and double those inside, or write a .tsv, which has none"
                )
