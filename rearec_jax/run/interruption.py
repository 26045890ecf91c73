"""Turns Ctrl-C and SIGTERM into a request that the training loop honours between two updates.

A scheduler or cloud that sends SIGTERM kills the process soon after, so that request has a
deadline.
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
    """Ends the process with ``code`` so many seconds after a SIGTERM, whatever it is doing.

    Python's handlers wait until compiled code returns, and XLA may compile for minutes. The system
    writes the signal's number into a pipe at once, and a thread reads it there. Only what was not
    saved yet is lost: files are whole at any moment.
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
    """Raises KeyboardInterrupt at the first signal: at once, or at the end if Python dropped it.

    Python drops what is raised inside a callback, and JAX's tracing is full of callbacks.
    """
    with Interruption() as interruption, interruption.at_once():
        yield
    if interruption.requested:
        raise KeyboardInterrupt


class Interruption:
    """A request to stop: the first SIGINT or SIGTERM; a second SIGINT stops at once.

    It listens to signals inside ``with``.
    """

    def __init__(self, deadline: float = math.inf) -> None:
        """``deadline``: the `time.monotonic()` at which a stop is requested without a signal."""
        self.signalled = False
        self._deadline = deadline
        self._at_once = False
        self._previous: dict[signal.Signals, Any] = {}

    @property
    def requested(self) -> bool:
        """Says whether it is time to save and stop."""
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
        """Raises KeyboardInterrupt at the first signal, where nothing is lost by stopping."""
        self._at_once = True
        try:
            if self.signalled:  # a moment ago, when the request was for later
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
