"""Keeps a directory for one run at a time: a file lock, which no dead process holds."""

from collections.abc import Iterator
import contextlib
import errno
import logging
import os
import pathlib
import socket

import filelock

from rearec_jax.errors import UserError

FILE = "run.lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF)

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def alone(directory: pathlib.Path, option: str = "--workdir") -> Iterator[None]:
    """Holds the lock of a directory, so that no second process enters, and removes it at the end.

    The lock belongs to the open file and not to the file's name, so the system takes it back from
    a process that dies, however it dies. On a file system without locks there is a warning.

    Args:
        directory: the directory to hold, in which the lock file lies.
        option: the command-line option by which a person chooses another directory.

    Raises:
        UserError: another process holds the lock; the message names the process.
        OSError: the file cannot be written.
    """
    path = directory / FILE
    held = filelock.FileLock(path, blocking=False, fallback_to_soft=False)
    _acquire(held, path, option)
    try:
        path.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()  # still locked: later it might be the lock of another process
        held.release()


def _acquire(held: filelock.BaseFileLock, path: pathlib.Path, option: str) -> None:
    while True:
        try:
            held.acquire()
            return
        except filelock.Timeout as error:
            try:
                holder = path.read_text(encoding="utf-8")[:200]
            except FileNotFoundError:
                continue  # its holder has removed it a moment ago
            raise UserError(
                f"{path.parent} is in use by another run ({holder or 'just starting'}); wait"
                f" until it has ended, or choose another {option}"
            ) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            _log.warning(
                "%s: this file system has no locks; start no second run there", path.parent
            )
            return
