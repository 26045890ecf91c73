"""Finds the files that a path stands for, and opens them, packed or plain."""

import bz2
from collections.abc import Callable, Iterator
import contextlib
import glob
import gzip
import io
import lzma
import os
from pathlib import Path
import re
from typing import Any
import urllib.parse
import zipfile
import zlib

import pyarrow as pa

from rearec_jax.errors import UserError

# What a damaged file may raise while it is read or unpacked.
DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, pa.ArrowException)
KINDS = (".csv", ".tsv", ".txt", ".dat", ".data", ".inter", ".item", ".parquet", ".feather")
KINDS += (".arrow", ".ipc")
_MISSING = "__HIVE_DEFAULT_PARTITION__"  # the value of a partition whose column is empty


def _zstd(path: Path, mode: str) -> io.BufferedReader:
    return io.BufferedReader(pa.CompressedInputStream(pa.OSFile(str(path), mode), "zstd"))  # type: ignore[arg-type]


PACKINGS: dict[str, Callable[[Path, str], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": _zstd,
}
# The first bytes of packed files, for those whose names do not say so.
_MARKS = {b"\x1f\x8b": "gzip .gz", b"BZh": "bzip2 .bz2", b"\xfd7zXZ": "xz .xz"}
_MARKS |= {b"\x28\xb5\x2f\xfd": "zstandard .zst", b"PK\x03\x04": "zip .zip"}


def packing(path: Path) -> str:
    """Returns '.gz' of a.csv.gz, '.zip' of a file in an archive, and '' of a plain file."""
    if archive(path) is not None:
        return ".zip"
    last = path.suffix.lower()
    return last if last in PACKINGS else ""


def suffix(path: Path) -> str:
    """Returns '.csv' of a.csv and a.csv.gz."""
    name = path.name.lower()
    return Path(name.removesuffix(packing(path))).suffix


def archive(path: Path) -> Path | None:
    """Returns the zip archive that holds a file, None of other files."""
    return next((p for p in path.parents if p.suffix.lower() == ".zip" and p.is_file()), None)


def on_disk(path: Path) -> Path:
    """Returns the file itself, or the archive that holds it."""
    return archive(path) or path


def open_bytes(path: Path) -> Any:
    """Opens a file, plain or packed, to read bytes.

    Raises:
        UserError: it is packed in a way that cannot be read.
    """
    inside = archive(path)
    if inside is None:
        return PACKINGS.get(packing(path), Path.open)(path, "rb")
    with zipfile.ZipFile(inside) as file:
        try:
            return file.open(path.relative_to(inside).as_posix())
        except (RuntimeError, NotImplementedError, KeyError) as error:  # encrypted, or deflate64
            raise UserError(f"{path} cannot be read: {error}; unpack the archive") from error


def packed_as(start: bytes) -> str:
    """Returns 'gzip .gz' of the first bytes of such a file, '' of a file that is not packed."""
    return next((kind for mark, kind in _MARKS.items() if start.startswith(mark)), "")


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns what goes wrong while a file is read or unpacked into a UserError."""
    try:
        yield
    except DAMAGED as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"{path} cannot be read: {reason}") from error


def existing_file(path: str, option: str, hint: str = "") -> Path:
    """Returns the path of the file that ``option`` names.

    A file in a zip archive has a path inside of it: archive.zip/ratings.csv. An archive of one
    file stands for it.

    Raises:
        UserError: there is no path, or no file there; the message ends with ``hint``, which says
            where to get it.
    """
    hint = f"; {hint}" if hint else ""
    if not path:
        raise UserError(f"option {option} names no file{hint}")
    require_no_url(path, option)
    found = Path(os.path.expanduser(path))
    if os.path.isfile(found):  # of names that are too long `Path` raises OSError
        return _only_member(found) if found.suffix.lower() == ".zip" else found
    with contextlib.suppress(OSError):
        if (inside := archive(found)) and found.relative_to(inside).as_posix() in members(inside):
            return found
    problem = "is no file" if os.path.exists(found) else "does not exist"
    raise UserError(f"file {found} (option {option}) {problem}{hint}")


def existing_files(path: str, option: str, hint: str = "") -> list[Path]:
    """Returns the files that ``option`` names: a file, a directory, a glob, or some by commas.

    Of a directory these are the data files below it, without those whose name starts with _ or a
    point, as Spark's _SUCCESS does.

    Raises:
        UserError: as for ``existing_file``; or a directory holds no file, or files of several
            kinds.
    """
    whole = os.path.expanduser(path)  # many names by commas may be too long for one path
    if path and os.path.isdir(whole):
        return _of_directory(Path(whole), option)
    if not path or os.path.exists(whole):
        return [existing_file(path, option, hint)]
    if "," in path and not _is_there(whole):
        parts = [part.strip() for part in path.split(",") if part.strip()]
        return [file for part in parts for file in existing_files(part, option, hint)]
    if glob.has_magic(path) and not re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", path):
        matches = [one for one in sorted(glob.glob(whole, recursive=True)) if _counts(Path(one))]
        found = [file for one in matches for file in existing_files(one, option)]
        if not found:
            raise UserError(f"no file matches {whole} (option {option})" + (hint and f"; {hint}"))
        return list(dict.fromkeys(found))  # ** matches directories and what is in them
    return [existing_file(path, option, hint)]


def partition(path: Path) -> dict[str, str | None]:
    """Returns the columns that the names of directories hold, as in date=2024-01-01/part-0.csv."""
    pairs = (part.partition("=") for part in path.parent.parts if "=" in part)
    return {
        name: None if value == _MISSING else urllib.parse.unquote(value)
        for name, _, value in pairs
        if name
    }


def members(path: Path) -> list[str]:
    """Returns the files of a zip archive, without what macOS adds to it."""
    with explained(path), zipfile.ZipFile(path) as file:
        names = [name for name in file.namelist() if not name.endswith("/")]
    return [name for name in names if not name.startswith("__MACOSX/")]


def require_no_url(path: str, option: str) -> None:
    """Raises UserError where a path is a URL."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", path):
        raise UserError(
            f"{path} (option {option}) is a URL, and files are read and written on disks only;"
            " download or copy the file, and give its path"
        )


def _is_there(path: str) -> bool:
    """Says whether a path is that of a file in an archive."""
    with contextlib.suppress(OSError):
        return archive(Path(path)) is not None
    return False


def _counts(path: Path) -> bool:
    """Says whether no part of a path is hidden, or a mark of a job such as _SUCCESS."""
    return not any(part[0] == "_" or re.match(r"\.[^.]", part) for part in path.parts)


def _only_member(path: Path) -> Path:
    found = members(path)
    if len(found) != 1:
        listed = ", ".join(found[:8]) + (", ..." if len(found) > 8 else "")
        raise UserError(
            f"{path} holds {len(found)} files: {listed}; name the one to read as"
            f" {path / (found or ['FILE'])[0]}"
        )
    return path / found[0]


def _of_directory(directory: Path, option: str) -> list[Path]:
    found = sorted(
        file
        for file in directory.rglob("*")
        if file.is_file() and _counts(file.relative_to(directory))
    )
    known = [file for file in found if suffix(file) in KINDS or file.suffix.lower() == ".zip"]
    kinds = sorted({suffix(file) for file in known or found})
    if not found:
        raise UserError(f"directory {directory} (option {option}) holds no files")
    if len(kinds) > 1:
        raise UserError(
            f"directory {directory} (option {option}) holds files of several"
            f" kinds ({', '.join(kinds)}); name those to read, such as {directory}/*{kinds[0]}"
        )
    return [existing_file(str(file), option) for file in known or found]
