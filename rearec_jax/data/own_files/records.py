"""Reads delimited files in blocks of whole records; a wrong record spoils no other.

A block whose quotes are well formed goes to Polars. Any other is read record by record, which
gives the same: a quoted field may hold line ends, and a record that is malformed ends with its
first line.
"""

from collections.abc import Iterator, Mapping, Sequence
import csv
from pathlib import Path
import re
import types
from typing import NamedTuple

from jaxtyping import Int64
import numpy as np
import polars as pl

from rearec_jax.data.own_files import cells, paths
from rearec_jax.data.own_files.cells import Format
from rearec_jax.errors import UserError

BLOCK = 16 * 2**20  # bytes that are read at once
LONGEST = 64 * 2**20  # bytes after which a quote that is still open counts as never closed
NOT_UTF8 = "not UTF-8 text; convert the file to UTF-8"
CR_ALONE = "lines end in CR alone; write them with LF or CR LF"
_OPEN_QUOTE = "a quote that no other closes"
_BARE_QUOTE = (
    "a quote inside a field; put the whole field into quotes and double those inside, or write a"
    " .tsv, which has none"
)
_TYPED = re.compile(r".+:(token|float)(_seq)?")  # a column of RecBole's


class Header(NamedTuple):
    """The columns of a table file.

    names:     the names of its columns.
    form:      the format of its records.
    has_line:  whether its first line is the names, and no record.
    partition: the columns that the file's path holds, each with its value, as Parquet has them.
    """

    names: list[str]
    form: Format
    has_line: bool = True
    partition: Mapping[str, str | None] = types.MappingProxyType({})

    @property
    def columns(self) -> list[str]:
        """The names of all columns, those of the path too."""
        return [*self.names, *(name for name in self.partition if name not in self.names)]

    def __str__(self) -> str:
        if not self.form.separator:
            return str(self.form)
        return f"{self.form}, {'header' if self.has_line else 'no header'}"


class TextOptions(NamedTuple):
    """The format of text files, as far as the options name it.

    separator: what stands between two fields; "": it is found.
    columns:   the names of the columns of a file that has no header.
    typed:     whether the header has RecBole's ``name:type`` fields, separated by tabs.
    """

    separator: str = ""
    columns: tuple[str, ...] = ()
    typed: bool = False


BY_DEFAULT = TextOptions()


class Wrong(NamedTuple):
    """A record that was left out.

    line:   its first line in the file, where the header is 1; of Parquet, its row, from 1.
    reason: what is wrong with it.
    """

    line: int
    reason: str


class Records(NamedTuple):
    """The records of one block; blank ones are left out.

    frame: the wanted columns as Strings, null where a field is empty.
    lines: the first line of each record.
    wrong: the malformed records.
    """

    frame: pl.DataFrame
    lines: Int64[np.ndarray, "rows"]
    wrong: list[Wrong]


def read_header(path: Path, options: TextOptions = BY_DEFAULT) -> Header:
    """Reads the first line, and finds the format by it.

    Raises:
        UserError: there is no header, or the file is no text.
    """
    with paths.explained(path), paths.open_bytes(path) as file:
        raw = file.readline()
    if kind := paths.packed_as(raw):
        name, ending = kind.split()
        raise UserError(f"{path} is compressed by {name}; give it a name that ends in {ending}")
    try:
        first = raw.decode("utf-8-sig").rstrip("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}, line 1: {NOT_UTF8}") from error
    if not first.strip():
        raise UserError(f"{path} is empty or starts with an empty line; it needs a header line")
    if b"\r" in raw.removesuffix(b"\r\n"):
        raise UserError(f"{path}: {CR_ALONE}")
    first = first.removesuffix("\r")
    form = _form(path, first, options)
    if options.columns:
        return Header(list(options.columns), form, has_line=False)
    names = form.fields(first)
    if not options.typed and not all(map(_TYPED.fullmatch, names)):
        return Header(names, form)
    for name in names:
        if ":" not in name:
            raise UserError(
                f"{path}, line 1: column {name!r} has no type; a RecBole file starts with"
                " name:type columns separated by tabs, for example user_id:token"
            )
    return Header([name.rpartition(":")[0] for name in names], form)


def _form(path: Path, first: str, options: TextOptions) -> Format:
    """Returns the format that the first line has.

    It is that of the file's suffix if the line has its separator, or else the one with most fields;
    blanks part fields where nothing else does. Where the number of columns is known, that decides.
    """
    if options.separator:
        return cells.format_of(options.separator)
    if options.typed:
        return cells.TABS
    own = {".tsv": cells.TABS, ".csv": cells.COMMAS}.get(paths.suffix(path))
    forms = sorted(cells.FORMATS, key=lambda form: form != own)
    widths = {form: len(form.fields(first)) for form in forms}
    fits = [form for form in forms if widths[form] == len(options.columns)]
    if fits and len(options.columns) > 1:
        return fits[0]
    if own is not None and widths[own] > 1:
        return own
    widest = max(forms[:-1], key=lambda form: widths[form])
    if widths[widest] > 1:
        return widest
    return cells.BLANKS if widths[cells.BLANKS] > 1 else own or cells.COMMAS


def read_records(path: Path, header: Header, wanted: Sequence[str]) -> Iterator[Records]:
    """Yields the records after the header, about ``BLOCK`` bytes of them at a time.

    Raises:
        UserError: the file cannot be read on.
    """
    line, rest, tail = 1, b"", b""
    with paths.explained(path), paths.open_bytes(path) as file:
        if header.has_line:
            file.readline()
            line = 2
        while True:
            more = file.read(BLOCK)
            if not header.has_line and line == 1:
                more = more.removeprefix(b"\xef\xbb\xbf")
            is_last = not more
            tail += more
            if is_last and tail and not tail.endswith(b"\n"):
                tail += b"\n"
            end = tail.rfind(b"\n") + 1
            text, tail = rest + header.form.marked(tail[:end]), tail[end:]
            whole = text[: text.rfind(b"\n") + 1]
            found = _at_once(whole, line, header, wanted)
            is_open = found is not None and found[1] < (len(whole) if is_last else 1)
            if found is None or (is_open and (is_last or len(whole) >= LONGEST)):
                found = _one_by_one(whole, line, header, wanted, is_last)
            records, used = found
            yield records
            line += text.count(b"\n", 0, used)
            rest = text[used:]
            if is_last:
                return


class _Layout(NamedTuple):
    """The places of records in a text whose quotes are well formed.

    starts: the first byte of each record.
    ends:   the line end of each record.
    widths: the number of fields of each record.
    lines:  the number of lines before each record.
    """

    starts: Int64[np.ndarray, "records"]
    ends: Int64[np.ndarray, "records"]
    widths: Int64[np.ndarray, "records"]
    lines: Int64[np.ndarray, "records"]


def _layout(text: bytes, form: Format) -> _Layout | None:
    """Finds the whole records of a text; returns None where a quote is in a wrong place.

    A quote of even number (from 0) opens a field, or is the second of a doubled one; one of odd
    number closes a field, or is the first of a doubled one.
    """
    data = np.frombuffer(text, np.uint8)
    newlines = np.flatnonzero(data == ord("\n"))
    separators = np.flatnonzero(data == ord(form.mark))
    ends = newlines
    if form.quotes and b'"' in text:
        quotes = np.flatnonzero(data == ord('"'))
        around = np.concatenate([[ord("\n")], data, [ord("\n")]])  # byte n is at n + 1
        opens = np.isin(around[quotes[::2]], list(b'\n"' + form.mark.encode()))
        closes = np.isin(around[quotes[1::2] + 2], list(b'\r\n"' + form.mark.encode()))
        if not (opens.all() and closes.all()):
            return None
        ends = newlines[np.searchsorted(quotes, newlines) % 2 == 0]
        separators = separators[np.searchsorted(quotes, separators) % 2 == 0]
    starts = np.concatenate([[0], ends[:-1] + 1])[: len(ends)]
    bounds = np.searchsorted(separators, ends)
    widths = 1 + np.diff(bounds, prepend=0)
    return _Layout(starts, ends, widths, np.searchsorted(newlines, starts))


def _at_once(
    text: bytes, line: int, header: Header, wanted: Sequence[str]
) -> tuple[Records, int] | None:
    """Parses whole lines, of which ``line`` is the first, all records together.

    Returns the records and the bytes that they take: the rest is a record that does not end here.
    None where the text needs ``_one_by_one``.
    """
    names, form = header.names, header.form
    layout = _layout(text, form) if is_utf8(text) else None
    if layout is None:
        return None
    starts, ends, widths, lines = layout
    used = int(ends[-1]) + 1 if len(ends) else 0
    data = np.frombuffer(text, np.uint8)[:used]
    says_something = np.ones(256, bool)
    says_something[list(_blank(form).encode())] = False
    is_filled = np.logical_or.reduceat(says_something[data], starts) if used else starts > 0
    fits = widths == len(names)
    wrong = [
        Wrong(line + int(lines[record]), _width_fault(int(widths[record]), header))
        for record in np.flatnonzero(is_filled & ~fits)
    ]
    keep = is_filled & fits
    if not keep.all():
        data = data[np.repeat(keep, ends - starts + 1)]
    try:
        frame = _by_polars(data.tobytes(), header, wanted)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
        return None  # OSError: text that begins as a compressed file does, such as x^
    return (Records(frame, line + lines[keep], wrong), used) if len(frame) == keep.sum() else None


def _by_polars(text: bytes, header: Header, wanted: Sequence[str]) -> pl.DataFrame:
    schema = {f"column_{number}": pl.String for number in range(len(header.names))}
    columns = {f"column_{header.names.index(name)}": name for name in wanted}
    if not text:
        return pl.DataFrame(schema=dict.fromkeys(wanted, pl.String))
    frame = pl.read_csv(
        text,
        has_header=False,
        schema=schema,
        columns=list(columns),
        separator=header.form.mark,
        quote_char='"' if header.form.quotes else None,
    )
    return frame.select(
        pl.col(number).replace("", None).alias(name) for number, name in columns.items()
    )


def is_utf8(text: bytes) -> bool:
    """Says whether bytes are UTF-8 text."""
    try:
        return text.isascii() or text.decode() is not None
    except UnicodeDecodeError:
        return False


def _one_by_one(
    text: bytes, line: int, header: Header, wanted: Sequence[str], at_end: bool
) -> tuple[Records, int]:
    """Parses whole lines as ``_at_once``.

    At the end of the file each record ends or is wrong; before it, the first of a text of
    ``LONGEST`` bytes does.
    """
    names, form = header.names, header.form
    lines = text.decode("utf-8", "surrogateescape").split("\n")[:-1]
    good: list[tuple[int, list[str]]] = []
    wrong: list[Wrong] = []
    start = 0
    while start < len(lines):
        rest, first = (f"{lines[number]}\n" for number in range(start, len(lines))), start
        reader = form.records(rest, strict=True)
        try:
            for fields in reader:
                record = "\n".join(lines[start : first + reader.line_num])
                if fault := _fault(record, fields, header):
                    wrong.append(Wrong(line + start, fault))
                elif record.strip(_blank(form)):
                    good.append((line + start, fields))
                start = first + reader.line_num
        except csv.Error as error:
            is_longest = start == 0 and len(text) >= LONGEST
            if first + reader.line_num >= len(lines) and not (at_end or is_longest):
                break  # its end may be in the next block
            is_open = reader.line_num > 1 + start - first or "end of data" in str(error)
            wrong.append(Wrong(line + start, _OPEN_QUOTE if is_open else str(error)))
            start += 1
    columns = {name: [fields[names.index(name)] or None for _, fields in good] for name in wanted}
    frame = pl.DataFrame(columns, schema=dict.fromkeys(wanted, pl.String))
    numbers = np.array([number for number, _ in good], np.int64)
    left = sum(len(one) + 1 for one in text.split(b"\n")[start:-1])
    return Records(frame, numbers, wrong), len(text) - left


def _fault(text: str, fields: list[str], header: Header) -> str:
    """Returns what is wrong with a record that has an end, "" if nothing is or it is blank."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return NOT_UTF8
    if header.form.quotes and text.count('"') % 2:
        return _BARE_QUOTE
    if len(fields) == len(header.names) or not text.strip(_blank(header.form)):
        return ""
    return _width_fault(len(fields), header)


def _blank(form: Format) -> str:
    """Returns the characters of which a blank record consists."""
    return f" \t\r\n{form.mark}"


def _width_fault(width: int, header: Header) -> str:
    named = "the header" if header.has_line else "data.columns"
    return f"{width} fields where {named} has {len(header.names)}"
