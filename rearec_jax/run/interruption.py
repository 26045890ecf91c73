"""Ctrl-C and SIGTERM as a request that the training loop honours between two updates.

Who sends SIGTERM (a scheduler, a cloud that wants its machine back) kills soon after, so there it
is a request with a deadline.
"""

from collections.abc import Iterator
import contextlib
import math
import os
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
STDERR = 2


@contextlib.contextmanager
def deadline(seconds: float, code: int) -> Iterator[None]:
    """So many seconds after a SIGTERM the process ends with ``code``, whatever it is doing.

    Python's own handlers wait until compiled code returns, and XLA may compile for minutes. The
    system writes the signal's number into a pipe at once, and a thread reads it there. Nothing is
    lost but what was not saved yet: files are whole at any moment.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    over = threading.Event()

    def watch() -> None:
        with os.fdopen(reader, "rb", buffering=0) as signals:
            while number := signals.read(1):
                if number == bytes([signal.SIGTERM]) and not over.wait(seconds):
                    os.write(STDERR, b"\nstopped at once; run the same command again to continue\n")
                    os._exit(code)

    threading.Thread(target=watch, name="deadline", daemon=True).start()
    previous = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield
    finally:
        over.set()
        signal.set_wakeup_fd(previous)
        os.close(writer)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """The first signal raises KeyboardInterrupt: at once, or at the end if Python dropped it.

    What is raised inside a callback is dropped, and JAX's tracing is full of callbacks.
    """
    with Interruption() as interruption, interruption.at_once():
        yield
    if interruption.requested:
        raise KeyboardInterrupt


class Interruption:
    """While open, the first SIGINT or SIGTERM sets ``requested``; a second SIGINT stops at once."""

    def __init__(self, deadline: float = math.inf) -> None:
        """``deadline``: a `time.monotonic()` from which on it is as if a signal had come."""
        self.signalled = False
        self._deadline = deadline
        self._at_once = False
        self._previous: dict[signal.Signals, Any] = {}

    @property
    def requested(self) -> bool:
        """Is it time to save and stop?"""
        return self.signalled or time.monotonic() >= self._deadline

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._previous[number] = signal.signal(number, self._request)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Where nothing is lost by stopping: the first signal raises KeyboardInterrupt."""
        self._at_once = True
        try:
            if self.signalled:  # a moment ago, when it was a request for later
                raise KeyboardInterrupt
            yield
        finally:
            self._at_once = False

    def _request(self, number: int, frame: FrameType | None) -> None:
        again = self.signalled and number == signal.SIGINT
        self.signalled = True
        if self._at_once or again:
            raise KeyboardInterrupt
        # print() is not safe here: the signal may have come in the middle of another print.
        os.write(STDERR, b"\nstopping after this step; Ctrl-C: at once\n")
