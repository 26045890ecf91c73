"""One run at a time in a directory: a file lock, which the system takes back from the dead."""

from collections.abc import Iterator
import contextlib
import errno
import fcntl
import logging
import os
import pathlib
import socket
from typing import TextIO

from rearec_jax.errors import UserError

FILE = "run.lock"
_NOT_HERE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF)

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def alone(directory: pathlib.Path, option: str = "--workdir") -> Iterator[None]:
    """No other process gets past here for the same directory; the file goes when this one leaves.

    The lock belongs to the open file, not to the file's being there: a process that dies, however
    it dies, holds it no longer.

    Args:
        directory: where the lock lies; it must exist.
        option: of the command line, by which another directory is chosen.

    Raises:
        UserError: another process is there; the message names it.
        OSError: the file cannot be written.
    """
    path = directory / FILE
    with _locked(path, option) as file:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                path.unlink()


def _locked(path: pathlib.Path, option: str) -> TextIO:
    """The open file, locked, and still the one of that name."""
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            _lock(file, path, option)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    return file
        except BaseException:
            file.close()
            raise
        file.close()  # its last owner has removed it since it was opened


def _lock(file: TextIO, path: pathlib.Path, option: str) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        raise UserError(
            f"{path.parent} is in use by another run ({file.read(200) or 'just starting'}); wait"
            f" until it has ended, or choose another {option}"
        ) from error
    except OSError as error:
        if error.errno not in _NOT_HERE:
            raise
        _log.warning("%s: this file system has no locks; start no second run there", path.parent)
