"""One table file in, its columns out, with the file and the line in every complaint.

Fast by default: polars reads the file whole. Only when something is wrong is it read again record
by record, to find the line to name.
"""

from collections.abc import Iterable, Iterator, Mapping
import csv
import dataclasses
import gzip
import io
from pathlib import Path
import re
from typing import Any
import zlib

import polars as pl

from rearec_jax.errors import UserError

_SUFFIXES = (".csv", ".tsv", ".txt", ".parquet", ".inter", ".item")


@dataclasses.dataclass(frozen=True)
class Table:
    """Columns of one file. Delimited files give Strings (null = empty), Parquet its own types."""

    path: Path
    frame: pl.DataFrame
    format: "_Format | None"  # None = Parquet

    def column(self, name: str, needed: str, *others: Any) -> pl.Series:
        """A column of single values; Categorical and Enum as Strings.

        Args:
            needed: what it has to hold, said in the error.
            others: types besides lists, structs and the like that are of no use there.

        Raises:
            UserError: a type of Parquet that holds something else.
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
        """A column of ids as Strings.

        Where a number is missing pandas makes all of them floats: 17.0 is "17", and NaN is null.
        """
        column = self.column(name, "ids")
        if not column.dtype.is_float():
            return column.cast(pl.String)
        column = column.fill_nan(None)
        whole = column.cast(pl.Int64, strict=False)
        as_text = whole.cast(pl.String).zip_with(whole == column, column.cast(pl.String))
        return as_text.set(column.is_null(), None)

    def place(self, row: int) -> str:
        """'FILE, line 12' of a row of ``frame``."""
        if self.format is not None:
            filled = (line for line, fields in _records(self.path, self.format) if any(fields))
            for index, line in enumerate(filled):
                if index == row + 1:  # record 0 is the header
                    return f"{self.path}, line {line}"
        return f"{self.path}, row {row + 1}"


@dataclasses.dataclass(frozen=True)
class _Format:
    separator: str
    quotes: bool  # only CSV: titles in tab-separated files hold bare quotes


def existing_file(path: str, option: str, hint: str = "") -> Path:
    """The file that ``option`` names.

    Raises:
        UserError: no path, or no file there; ends with ``hint`` (where to get it).
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
        wanted: column name -> the option that names it (said in errors).
        typed_header: RecBole's ``name:type`` header, tab separated, whatever the suffix.

    Raises:
        UserError: a missing or repeated column, a line with too many or too few fields, bytes
            that are not UTF-8, an empty or damaged file.
    """
    kind = suffix(path)
    if kind == ".parquet" and not typed_header:
        return Table(path, _read_parquet(path, wanted), None)
    if kind not in _SUFFIXES and not typed_header:
        raise UserError(
            f"{path}: what kind of table is '{kind}'? Known are .csv, .tsv, .txt (tab or comma)"
            " and .parquet, each also with .gz"
        )
    return _read_delimited(path, wanted, typed_header)


def read_lines(path: Path) -> pl.Series:
    """Lines of a UTF-8 text file, plain or .gz, without their ends.

    Raises:
        UserError: not text, or a damaged file.
    """
    content = b""
    try:
        content = path.read_bytes()
        if path.suffix.lower() == ".gz":
            content = gzip.decompress(content)
        # Not splitlines(): it also splits at characters that editors do not count as lines.
        return pl.Series("line", content.decode("utf-8-sig").split("\n"), dtype=pl.String)
    except UnicodeDecodeError as error:
        raise _not_utf8(path) from error
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read: {_first_line(error)}") from error


def suffix(path: Path) -> str:
    """'.csv' of both a.csv and a.csv.gz."""
    name = path.name.lower().removesuffix(".gz")
    return Path(name).suffix


def _read_parquet(path: Path, wanted: Mapping[str, str]) -> pl.DataFrame:
    try:
        source = io.BytesIO(gzip.decompress(path.read_bytes())) if path.suffix == ".gz" else path
        names = pl.read_parquet_schema(source)
        _require_columns(path, list(names), wanted)
        if isinstance(source, io.BytesIO):
            source.seek(0)
        frame = pl.read_parquet(source, columns=list(wanted))
    except (
        pl.exceptions.PolarsError,
        pl.exceptions.PanicException,
        OSError,
        EOFError,
        zlib.error,
    ) as error:
        raise UserError(f"{path} cannot be read as Parquet: {_first_line(error)}") from error
    if frame.is_empty():
        raise UserError(f"{path} has no rows")
    return frame


def _read_delimited(path: Path, wanted: Mapping[str, str], typed_header: bool) -> Table:
    form, names = _header(path, typed_header)
    _require_columns(path, names, wanted)
    try:
        # All columns: polars drops what is too much of a line where it is asked for some of them.
        frame = pl.read_csv(
            path,
            separator=form.separator,
            quote_char='"' if form.quotes else None,
            infer_schema=False,
        )
    except (pl.exceptions.PolarsError, OSError) as error:
        _check_records(path, form, len(names))
        _check_quotes(path, form)
        raise UserError(f"{path} cannot be read: {_first_line(error)}") from error
    frame.columns = names
    # The last column comes along because it is empty wherever a line is too short.
    frame = frame.select(list(dict.fromkeys([*wanted, names[-1]])))
    if any(frame[name].has_nulls() for name in frame.columns):
        filled = _check_records(path, form, len(names))
        frame = frame.filter(pl.Series(filled, dtype=pl.Boolean))
    if frame.is_empty():
        raise UserError(f"{path} has a header but no rows")
    return Table(path, frame.select(list(wanted)), form)


def _header(path: Path, typed: bool) -> tuple[_Format, list[str]]:
    try:
        with _open(path) as file:
            first = file.readline()
    except UnicodeDecodeError as error:
        raise _not_utf8(path) from error
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read: {_first_line(error)}") from error
    if not first.strip():
        raise UserError(f"{path} is empty or starts with an empty line; it needs a header line")
    if first.endswith("\r"):
        raise UserError(f"{path}: lines end in CR alone; write them with LF or CR LF")
    is_tabbed = typed or suffix(path) == ".tsv" or (suffix(path) != ".csv" and "\t" in first)
    form = _Format("\t", quotes=False) if is_tabbed else _Format(",", quotes=True)
    names = _fields([first], form)
    if typed:
        untyped = [name for name in names if ":" not in name]
        if untyped:
            raise UserError(
                f"{path}, line 1: column {untyped[0]!r} has no type; a RecBole file starts with"
                " name:type columns separated by tabs, for example user_id:token"
            )
        names = [name.rpartition(":")[0] for name in names]
    return form, names


def _fields(lines: list[str], form: _Format) -> list[str]:
    return next(iter(_reader(lines, form)))


def _reader(lines: Iterable[str], form: _Format) -> Any:
    quoting = csv.QUOTE_MINIMAL if form.quotes else csv.QUOTE_NONE
    return csv.reader(lines, delimiter=form.separator, quoting=quoting)


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


def _open(path: Path) -> io.TextIOWrapper:
    return io.TextIOWrapper(_open_bytes(path), encoding="utf-8-sig", newline="")


def _open_bytes(path: Path) -> io.BufferedReader | gzip.GzipFile:
    return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb")


def _not_utf8(path: Path) -> UserError:
    """Names the first line at fault: a file that is open as text decodes many lines at a time."""
    with path.open("rb") as start:
        if start.read(2) == b"\x1f\x8b" and path.suffix.lower() != ".gz":
            return UserError(f"{path} is compressed by gzip; give it a name that ends in .gz")
    with _open_bytes(path) as file:
        number = next(number for number, line in enumerate(file, start=1) if not _is_utf8(line))
    return UserError(f"{path}, line {number}: not UTF-8 text; convert the file to UTF-8")


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _records(path: Path, form: _Format) -> Iterator[tuple[int, list[str]]]:
    """(first line, fields) of every record, the header and blank lines included."""
    with _open(path) as file:
        reader = _reader(file, form)
        line = 1
        for fields in reader:
            yield line, fields
            line = reader.line_num + 1


def _check_records(path: Path, form: _Format, width: int) -> list[bool]:
    """Which records after the header are not blank; names the first line of another width."""
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
        raise UserError(f"{path}, after line {line}: {_first_line(error)}") from error
    return filled[1:]


def _check_quotes(path: Path, form: _Format) -> None:
    """Raises UserError for the first line with a quote inside a field that no quote begins."""
    if not form.quotes:
        return
    with _open(path) as file:
        for number, line in enumerate(file, start=1):
            unquoted = re.sub(r'(^|,)"(?:[^"]|"")*"(?=,|\s*$)', r"\1", line)
            if re.search(r'(^|,)[^",]+"', unquoted):
                raise UserError(
                    f"{path}, line {number}: a quote inside a field; put the whole field into"
                    " quotes and double those inside, or write a .tsv, which has none"
                )


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
