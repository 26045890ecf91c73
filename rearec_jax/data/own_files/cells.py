"""The rules for users' files: what they are called, how lines become cells, and cells ids.

Training and recommending keep the same rules, in text and in typed columns alike.
"""

from collections.abc import Iterable
import contextlib
import csv
import dataclasses
import decimal
import json
import math
import re
from typing import Any
import uuid

import numpy as np
import polars as pl

# Whole numbers beyond it may have been rounded in a column of floats of so many bits.
LARGEST = {64: 2**53, 32: 2**24}
_WHOLE = re.compile(r"(-?[1-9]\d*|0)\.0+")
# Of a list as Python and NumPy print it: 'a', b'a', 17, 17., np.int64(17), Decimal('17').
_PARTS = re.compile(
    r"""(?:[bu]|(?:np\.\w+|Decimal|UUID)\()?(?:'([^']*)'|"([^"]*)")\)?"""
    r"""|np\.\w+\(([^\s,'"()]+)\)|(-?\d+)\.(?![^\s,])|([^\s,'"]+)"""
)
_CALL = re.compile(r"[a-z]\w*\((\[.*\])(?:,\s*\w+=.*)?\)", re.DOTALL)  # array([17, 4])
_CUT_OFF = {"...", "\N{HORIZONTAL ELLIPSIS}"}
_FILLED = r"[^\s\x1c-\x1f]"  # of Polars: what Python's str.strip leaves
_BRACKETS = {"[": "]", "(": ")", "{": "}"}

csv.field_size_limit(2**31 - 1)  # characters; a long history has more than csv's own 131,072


@dataclasses.dataclass(frozen=True)
class Format:
    """The format of a delimited file.

    separator: what stands between two fields; a blank stands for any number of blanks and tabs.
    quotes:    whether a field may be quoted. Titles and ids in tab-separated files hold bare
        quotes, so that only fields between commas and the like may be.
    """

    separator: str
    quotes: bool

    @property
    def mark(self) -> str:
        """The one character that stands between the fields that ``marked`` returns."""
        plain = len(self.separator.encode()) == 1 and self.separator != " "
        return self.separator if plain else "\x1f"

    def marked(self, lines: bytes) -> bytes:
        """Returns whole lines with ``mark`` in place of each separator."""
        if self.separator == " ":
            return _BLANKS.sub(b"\x1f", _BLANK_ENDS.sub(b"", lines))
        if self.separator == self.mark:
            return lines
        return lines.replace(self.separator.encode(), self.mark.encode())

    def fields(self, line: str) -> list[str]:
        """Returns the fields of a line that is whole."""
        return next(self.records([self.marked(line.encode()).decode()]), [])

    def records(self, lines: Iterable[str], strict: bool = False) -> Any:
        """Returns the `csv.reader` of marked lines; a ``strict`` one raises `csv.Error`."""
        quoting = csv.QUOTE_MINIMAL if self.quotes else csv.QUOTE_NONE
        return csv.reader(lines, delimiter=self.mark, quoting=quoting, strict=strict)

    def __str__(self) -> str:
        words = {"\t": "tab", " ": "blank"}.get(self.separator, f"'{self.separator}'")
        return f"{words} separated" if self.separator else "columns"


TABS, COMMAS = Format("\t", quotes=False), Format(",", quotes=True)
BLANKS = Format(" ", quotes=False)
# In the order in which they are looked for.
FORMATS = (TABS, Format("::", quotes=False), COMMAS, Format(";", True), Format("|", True), BLANKS)
PARQUET = Format("", quotes=False)  # of a file that is no text
_BLANKS = re.compile(rb"[ \t]+")
_BLANK_ENDS = re.compile(rb"(?m)^[ \t]+|[ \t]+(?=\r?$)")


def format_of(separator: str) -> Format:
    """Returns the format of a separator as a user writes it: ';', 'tab', 'blank'."""
    words = {"\\t": "\t", "tab": "\t", "blank": " ", "space": " "}
    separator = words.get(separator, separator)
    known = (form for form in FORMATS if form.separator == separator)
    return next(known, Format(separator, quotes=len(separator) == 1))


def id_text(value: Any) -> str:
    """Returns the id in a cell of any type, "" where there is none.

    A whole number is the same id however it is written: 17, 17.0 and "17.0" are "17", because
    tools that meet a missing number make floats of all others. NaN is no id. Sixteen bytes that
    are no text are a UUID.

    Raises:
        UnicodeError: bytes that are no UTF-8 text.
        TypeError: neither text nor a number, or a whole number that may have been rounded.
    """
    match value:
        case None:
            return ""
        case str():
            whole = _WHOLE.fullmatch(value)
            return whole[1] if whole else value
        case uuid.UUID():
            return str(value)
        case bytes() if len(value) == 16 and not _is_text(value):
            return str(uuid.UUID(bytes=value))
        case bytes():
            return id_text(value.decode())
        case np.floating():
            if abs(value) > 2 ** (min(np.finfo(value.dtype).nmant, 52) + 1):
                raise TypeError
            return id_text(float(str(value)))  # of 32 bits 0.1, not 0.10000000149011612
        case np.generic():
            return id_text(value.item())
        case bool():
            raise TypeError
        case int():
            return str(int(value))  # of an Enum its value
        case float() | decimal.Decimal() if math.isnan(value):
            return ""
        case float() if value.is_integer() and abs(value) <= LARGEST[64]:
            return str(int(value))
        case float() if math.isfinite(value) and not value.is_integer():
            return str(float(value))
        case decimal.Decimal() if value.is_finite():
            whole = value.to_integral_value()
            return str(int(value)) if value == whole else f"{value.normalize():f}"
    raise TypeError


def id_texts(column: pl.Series) -> pl.Series:
    """Returns ``id_text`` of a column as Strings; null where there is no id, or none that counts.

    ``id_fault`` says of a null which it is.
    """
    kind = column.dtype
    if kind.is_float():
        texts = _of_floats(column)
    elif kind.is_integer() or kind in (pl.String, pl.Categorical, pl.Enum, pl.Null):
        texts = column.cast(pl.String)
    else:
        texts = pl.Series([id_or_none(value) for value in column], dtype=pl.String)
    if texts.str.ends_with("0").any() and texts.str.contains(".0", literal=True).any():
        texts = texts.str.replace(f"^{_WHOLE.pattern}$", "$1")
    is_filled = texts.str.contains(_FILLED)
    return (texts if is_filled.all() else texts.set(~is_filled, None)).alias(column.name)


def id_fault(value: Any, place: str) -> str:
    """Returns what is wrong with a cell that holds no id; ``place`` is the name of its column."""
    try:
        if not id_text(value).strip():
            return f"{place} is empty"
    except UnicodeError:
        return f"{place} is not UTF-8 text"
    except TypeError:
        pass
    return f"{place}: {value!r} is neither text nor an exact number"


def item_list(cell: str) -> list[Any]:
    """Returns the ids in a cell of text: "17 4", "17,4", "[17, 4]", "['17', '4']" or "{17,4}".

    Raises:
        ValueError: the list was cut off when it was printed.
    """
    text = cell.strip()
    if call := _CALL.fullmatch(text):
        text = call[1]
    if text[:1] in _BRACKETS and text[-1] == _BRACKETS[text[0]]:
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(f"[{text[1:-1]}]")
        found = ["".join(groups) for groups in _PARTS.findall(text[1:-1])]
        if cut := _CUT_OFF.intersection(found):
            raise ValueError(f"its list was cut off when it was printed: it holds {cut.pop()!r}")
        return found
    # Commas part ids where nothing else does; "a,b c" are two ids, of which one has a comma.
    parts = ",".join(map(str.strip, text.split(","))).split()
    if len(parts) == 1:
        return parts[0].removesuffix(",").split(",")
    return text.split()


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message; those of libraries may have many."""
    return str(error).strip().partition("\n")[0]


def _of_floats(column: pl.Series) -> pl.Series:
    column = column.set(~column.is_finite(), None)
    largest = LARGEST[32 if column.dtype == pl.Float32 else 64]
    is_whole = column == column.floor()
    whole = column.set(column.abs() > largest, None).cast(pl.Int64, strict=False)
    return whole.cast(pl.String).zip_with(is_whole.fill_null(True), column.cast(pl.String))


def _is_text(value: bytes) -> bool:
    try:
        return value.decode().isprintable()
    except UnicodeDecodeError:
        return False


def id_or_none(value: Any) -> str | None:
    """Returns ``id_text``, or None where ``id_fault`` has something to say."""
    try:
        text = id_text(value)
    except (UnicodeError, TypeError):
        return None
    return text if text.strip() else None
