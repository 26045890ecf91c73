"""Runs a program as a process: what signals do to it, its exit code, and how it ends."""

import _thread
import atexit
from collections.abc import Callable
import contextlib
import errno
import io
import os
import signal
import stat
import sys
import threading
from types import FrameType
from typing import Any, NoReturn, TextIO

from rearec_jax.errors import UserError
from rearec_jax.run.interruption import LAST, SIGNALS, STDERR, TERMINATED, deadline, say

FAILED, MISTAKE, INTERRUPTED = 1, 2, 130
GRACE_SECONDS = 15.0  # from SIGTERM to the end, also where an update or a save takes longer
AGAIN_SECONDS = 0.05
SENTENCE = "interrupted; run the same command again to continue"


class _Signals:
    """The handler of signals for which nothing else has a handler.

    Attributes:
        unwinds: whether the program has files, locks or threads to give back, so that a signal
            raises KeyboardInterrupt; where it has none, the process ends at once.
        raised: whether that was raised. It is raised once, so that nothing interrupts its way up:
            Ctrl-C after it ends the process at once.
    """

    def __init__(self) -> None:
        self.unwinds = self.raised = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGTERM and TERMINATED.is_set():
            return
        if number == signal.SIGTERM:
            TERMINATED.set()
        if self.unwinds and not self.raised:
            self.raised = True
            raise KeyboardInterrupt
        say(f"{SENTENCE}\n")
        os._exit(INTERRUPTED)


_signals = _Signals()


def _raise_again(dropped: Any) -> None:
    """Raises in a moment the KeyboardInterrupt that Python has dropped, as it does in callbacks.

    The garbage collector calls JAX at any time, and nothing leaves such a call.
    """
    if not issubclass(dropped.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(dropped)
    elif _signals.raised:
        _signals.raised = False
        again = threading.Timer(AGAIN_SECONDS, _thread.interrupt_main)
        again.daemon = True
        again.start()


def open_door() -> None:
    """Takes over the signals and the output of this process; the earlier the better.

    A signal ends the process at once, with one sentence, until `unwind_from_here` is called.
    """
    for number in SIGNALS:
        signal.signal(number, _signals)
    sys.unraisablehook = _raise_again
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup sets it
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # closed by the shell (>&-): or the first file would become the output
            os.open(os.devnull, os.O_RDWR)
    sys.stdout, sys.stderr = _lasting(sys.stdout, 1), _lasting(sys.stderr, 2)


def unwind_from_here() -> None:
    """Makes a signal raise KeyboardInterrupt from now on: there are files to clear away."""
    _signals.unwinds = True


def run_process(program: Callable[[], int | None], grace: float = GRACE_SECONDS) -> NoReturn:
    """Runs a program behind an open door, and ends this process with its exit code.

    Args:
        program: the program; it may return an exit code.
        grace: the seconds from SIGTERM to the end, whatever the program is doing.
    """
    with deadline(grace, INTERRUPTED):
        try:
            code = exit_code(program)
        except BaseException as error:
            sys.excepthook(type(error), error, error.__traceback__)
            code = FAILED
        _end(code)


def exit_code(program: Callable[[], int | None]) -> int:
    """Runs a program; returns its exit code, and prints a sentence where it did not end well.

    Raises:
        Exception: anything but a mistake of the user's.
    """
    try:
        try:
            code = program() or 0
        finally:
            sys.stdout.flush()
    except BaseException as error:
        _signals.unwinds = False  # no call comes before this, so no signal either
        if isinstance(error, SystemExit):
            return _print(error.code, FAILED) if isinstance(error.code, str) else error.code or 0
        # A KeyboardInterrupt that went through compiled code may come out as anything.
        if isinstance(error, KeyboardInterrupt) or _signals.raised:
            return _print(SENTENCE, INTERRUPTED)
        if isinstance(error, UserError):
            return _print(f"error: {error}", MISTAKE)
        raise
    _signals.unwinds = False
    return code


def _print(message: str, code: int) -> int:
    print(message, file=sys.stderr)
    return code


def _end(code: int) -> NoReturn:
    """Ends this process without taking Python apart.

    Threads of XLA and of libraries are still there, inside compiled code. They cannot be stopped,
    and would crash the process when their objects go.
    """
    signal.signal(signal.SIGINT, lambda *_: os._exit(code))
    for number in LAST:
        signal.signal(number, lambda *_: None)  # heard by the deadline alone
    with contextlib.suppress(KeyError, AttributeError):  # JAX is not imported, or half of it
        atexit.unregister(sys.modules["jax._src.api"].clean_up)  # takes its devices apart
        atexit.register(sys.modules["jax"].distributed.shutdown)  # which it would have done
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


class _Lasting(io.FileIO):
    """A standard stream that drops what is written once nobody reads it.

    So `| head` and a closed terminal neither end a training nor keep it from saving.
    """

    def write(self, data: Any) -> int | None:
        try:
            return super().write(data)
        except OSError as error:
            is_terminal = stat.S_ISCHR(os.fstat(self.fileno()).st_mode)
            if error.errno == (errno.EIO if is_terminal else errno.EPIPE):
                os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            elif self.fileno() != STDERR:  # messages are no result: without room they are dropped
                raise UserError(
                    f"cannot write the output: {error.strerror}; make room there, or write it"
                    " elsewhere"
                ) from error
            return memoryview(data).nbytes


def _lasting(stream: Any, descriptor: int) -> TextIO:
    """Returns a stream like ``stream``, which is None where the descriptor was closed."""
    if stream is None:
        return open(os.devnull, "w")
    raw = _Lasting(descriptor, "w", closefd=False)
    return io.TextIOWrapper(
        raw if stream.write_through else io.BufferedWriter(raw),  # python -u: no buffer
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
