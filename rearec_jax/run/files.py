"""Writes files that appear whole or not at all, on a disk or in a bucket (gs://bucket/run)."""

from collections.abc import Callable, Iterator
import contextlib
import importlib.util
import io
import json
import os
import pathlib
import shutil
import tempfile
import tokenize
from typing import Any, BinaryIO, TextIO

import numpy as np

from rearec_jax.errors import UserError, shown

JSON_BYTES = 2**24  # the largest JSON file that is read
STORES = {"gs://": "gcsfs", "s3://": "s3fs"}  # each with the package that it needs


def place(path: str | os.PathLike[str]) -> Any:
    """Returns a `pathlib.Path`; in a bucket, an `epath.Path`, which has the same methods.

    Raises:
        UserError: the package that the store needs is not installed.
    """
    text = os.fspath(path)
    if not is_remote(text):
        return pathlib.Path(text)
    package = next(package for scheme, package in STORES.items() if text.startswith(scheme))
    if importlib.util.find_spec(package) is None:
        raise UserError(f"{text} needs the package {package}: pip install {package}")
    from etils import epath  # 0.1 seconds

    return epath.Path(text)


def expanded(path: str | os.PathLike[str]) -> str:
    """Returns a path with a user's directory in place of ~, which shells leave after `--option=`.

    The ~ of a user who is not there stays.

    Raises:
        UserError: the system can have nothing there, or does not say: the path is too long, or goes
            through a directory that may not be read.
    """
    text = os.path.expanduser(os.fspath(path))
    try:
        os.stat(text)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:  # ValueError: a byte that is no part of any name
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"the path {shown(text)} cannot be used: {reason}; give another") from error
    return text


def directory_to_make(path: str, option: str) -> pathlib.Path:
    """Returns the path of a directory that is made if it is not there.

    Raises:
        UserError: it begins with the ~ of a user who is not there.
    """
    found = expanded(path)
    if found.startswith("~"):
        raise UserError(f"{path} (option {option}): there is no user of the name in {path!r}")
    return pathlib.Path(found)


def user_cache() -> pathlib.Path:
    """Returns the user's cache directory for this program, whether or not it exists.

    On Linux it is $XDG_CACHE_HOME/rearec_jax or ~/.cache/rearec_jax.
    """
    import platformdirs  # bare machines measure speed without it (benchmarks/)

    return platformdirs.user_cache_path("rearec_jax", appauthor=False)


def scratch(cache_dir: str) -> str:
    """Returns a directory for large files without a name, on the disk of the cache's directory.

    It is the system's directory of temporary files where that disk cannot be written.
    """
    directory = pathlib.Path(expanded(cache_dir)).absolute() if cache_dir else user_cache()
    there = next(path for path in (directory, *directory.parents) if path.exists())
    return str(there) if there.is_dir() and os.access(there, os.W_OK) else tempfile.gettempdir()


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Says whether a path is in a bucket, which has no locks, no renaming and no appending."""
    return os.fspath(path).startswith(tuple(STORES))


def write_whole(path: pathlib.Path, write: Callable[[BinaryIO], object]) -> None:
    """Writes a file by ``write``; its bytes are on the disk before it is seen at ``path``.

    Raises:
        OSError: it cannot be written; what was there stays.
    """
    if is_remote(path):  # a bucket shows an object when it is complete
        whole = io.BytesIO()
        write(whole)
        path.write_bytes(whole.getvalue())
        return
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes files that only their owner can read
        os.replace(temporary, path)
    except BaseException:
        pathlib.Path(temporary).unlink(missing_ok=True)
        raise


def save_array(path: pathlib.Path, array: np.ndarray) -> None:
    """Writes a .npy file, whole or not at all, in a directory that is made if it is not there.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda file: np.save(file, array, allow_pickle=False))


def inside(directory: pathlib.Path, name: str) -> pathlib.Path:
    """Returns the path of a file below ``directory``; in a bucket, without looking.

    Raises:
        OSError: there is none.
        ValueError: it is no regular file, or a link leads out of the directory.
    """
    path = directory / name
    if is_remote(directory):
        return path
    real = os.path.realpath(path, strict=True)
    if not pathlib.Path(real).is_relative_to(os.path.realpath(directory)):
        raise ValueError("it leads out of its directory; put a copy of the file there")
    if not os.path.isfile(real):
        raise ValueError("it is no regular file")
    return path


def read_json(directory: pathlib.Path, name: str) -> dict[str, Any]:
    """Reads the JSON object in a file that may be damaged; it is read `inside` the directory.

    Raises:
        OSError: there is no such file, or it cannot be read.
        ValueError: it is no object in UTF-8, larger than ``JSON_BYTES``, nested too deeply, not
            inside, or holds half a character (a surrogate), which nothing could write again.
    """
    with inside(directory, name).open("rb") as file:
        text = file.read(JSON_BYTES + 1)
    if len(text) > JSON_BYTES:
        raise ValueError(f"it has more than {JSON_BYTES >> 20} MiB")
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def load_array(path: pathlib.Path, mmap: bool = True) -> np.ndarray:
    """Reads a .npy file that may be damaged; nothing is unpickled. ``mmap``: read-only.

    No memory is taken for an array that is not there as a whole.

    Raises:
        OSError: there is no such file, or it cannot be read.
        ValueError: it is no whole .npy file of numbers. (NumPy raises many types for those.)
    """
    try:
        array = np.lib.format.open_memmap(path, mode="r")
        return array if mmap else np.array(array)
    except (EOFError, SyntaxError, tokenize.TokenError, TypeError, ArithmeticError) as error:
        raise ValueError(f"not a .npy file: {error}") from error
    except (MemoryError, RecursionError) as error:
        raise ValueError("not a .npy file: its header is damaged") from error


@contextlib.contextmanager
def replaced_directory(directory: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields an empty directory to be filled, which then takes the place of ``directory``.

    Several processes may do this at once: the last one wins.

    Raises:
        OSError: it cannot be written; what was there stays, as after any other exception.
    """
    scratch = pathlib.Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        new = scratch / "new"
        new.mkdir()
        yield new
        _swap(new, directory, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _swap(new: pathlib.Path, target: pathlib.Path, scratch: pathlib.Path) -> None:
    """Renames ``new`` to ``target``; what was there comes back if that fails."""
    for attempt in range(10):
        old = scratch / f"old{attempt}"
        with contextlib.suppress(FileNotFoundError):
            os.rename(target, old)  # os.rename replaces no directory that has files
        try:
            os.rename(new, target)
            return
        except BaseException as error:
            if not target.exists():
                if old.exists():
                    os.rename(old, target)
                raise
            if not isinstance(error, OSError):
                raise
        # Another process has put its directory there since: it is replaced in its turn.
    raise OSError(f"could not replace {target}")


def remove_tree(path: pathlib.Path) -> None:
    """Deletes a directory with its content, as far as that is possible."""
    if is_remote(path):
        getattr(path, "rmtree")(missing_ok=True)  # noqa: B009 - of epath
    else:
        shutil.rmtree(path, ignore_errors=True)


def open_to_append(path: pathlib.Path) -> TextIO:
    """Opens a text file at its end. In a bucket, ``flush`` writes the whole file again."""
    return _Growing(path) if is_remote(path) else path.open("a", encoding="utf-8")


class _Growing(io.StringIO):
    """A text file of a bucket, held in memory."""

    def __init__(self, path: pathlib.Path):
        super().__init__()
        self._path = path
        self.write(path.read_text() if path.exists() else "")

    def flush(self) -> None:
        super().flush()
        self._path.write_text(self.getvalue())

    def close(self) -> None:
        if not self.closed:
            self.flush()
        super().close()
