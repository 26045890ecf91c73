"""Turns Ctrl-C and SIGTERM into a request that the work honours where it can stop.

A scheduler or cloud that sends SIGTERM kills the process soon after, so that request has a
deadline.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
import contextlib
import contextvars
import math
import os
import select
import signal
import threading
import time
from types import FrameType
from typing import Any, TypeVar

SIGNALS = (signal.SIGINT, signal.SIGTERM)
LAST = (signal.SIGTERM, signal.SIGHUP)  # nobody waits for the process after one of these
STDERR = 2
POLL_SECONDS = 0.2
TERMINATED = threading.Event()  # a SIGTERM has come; schedulers may repeat it

Handler = Callable[[int, FrameType | None], object]
T = TypeVar("T")

# The request to stop that work shares with the thread that waits for it; None: signals alone count.
_SHARED: contextvars.ContextVar[threading.Event | None]
_SHARED = contextvars.ContextVar("request to stop", default=None)


def say(text: str) -> None:
    """Writes to standard error, also in the middle of a print(), and if the terminal is closed."""
    with contextlib.suppress(OSError):
        os.write(STDERR, text.encode())


@contextlib.contextmanager
def deadline(seconds: float, code: int) -> Iterator[None]:
    """Ends the process with ``code`` so long after a SIGTERM, whatever it is doing.

    The same holds after SIGHUP and after a second Ctrl-C; a third one ends it at once.

    Python's handlers wait until compiled code returns, and XLA may compile for minutes. The system
    writes the signal's number into a pipe at once, and a thread reads it there. Only what was not
    saved yet is lost: files are whole at any moment.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    arguments = reader, seconds, code
    threading.Thread(target=_watch, args=arguments, name="deadline", daemon=True).start()
    previous = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(previous)
        os.close(writer)


def _watch(reader: int, seconds: float, code: int) -> None:
    """Reads the numbers of signals from the pipe until it is closed or the time is up."""
    end, interrupts = math.inf, 0
    with os.fdopen(reader, "rb", buffering=0) as signals:
        while True:
            left = None if end == math.inf else max(0.0, end - time.monotonic())
            if not select.select([signals], [], [], left)[0]:
                say("\nstopped at once; run the same command again to continue\n")
                os._exit(code)
            number = signals.read(1)
            if not number:
                return
            interrupts += number[0] == signal.SIGINT
            if number[0] in LAST or interrupts == 2:
                end = min(end, time.monotonic() + seconds)
            elif interrupts > 2:
                end = 0.0


@contextlib.contextmanager
def handled(handler: Handler) -> Iterator[dict[int, Any]]:
    """Handles both signals by ``handler``; yields the handlers that were there before.

    It does nothing in other threads than the first, where Python permits no handlers.
    """
    before: dict[int, Any] = {}
    try:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                before[number] = signal.signal(number, handler)
        yield before
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def in_thread(work: Callable[[], T]) -> T:
    """Does work in a thread and waits for it, so that Ctrl-C needs no handler of signals.

    In somebody else's process (a notebook) handlers are not ours to set. There Python raises
    KeyboardInterrupt in the thread that waits. The work is asked to stop, saves, and ends before
    the exception goes on; a second Ctrl-C does not wait for that.

    Raises:
        KeyboardInterrupt: after Ctrl-C.
        Exception: whatever the work raises.
    """
    stop = threading.Event()

    def working() -> T:
        _SHARED.set(stop)
        return work()

    with ThreadPoolExecutor(1, thread_name_prefix="rearec_jax") as pool:
        future = pool.submit(contextvars.copy_context().run, working)
        try:
            while not wait([future], POLL_SECONDS).done:
                pass  # an interrupt that is no signal (of IDLE) is seen between two waits only
            return future.result()
        except KeyboardInterrupt:
            if not future.done():
                stop.set()
                say("\nstopping after this step; Ctrl-C: do not wait for it\n")
            raise


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Raises KeyboardInterrupt at the first signal: at once, or at the end if Python dropped it.

    Python drops what is raised inside a callback, and JAX's tracing is full of callbacks.
    """
    with Interruption() as interruption, interruption.at_once():
        yield
    if interruption.requested:
        raise KeyboardInterrupt


class Interruption(contextlib.ExitStack):
    """A request to stop: the first SIGINT or SIGTERM; a second SIGINT stops at once.

    It listens to signals inside ``with``.
    """

    def __init__(self, deadline: float = math.inf) -> None:
        """``deadline``: the `time.monotonic()` at which a stop is requested without a signal."""
        super().__init__()
        self._asked = _SHARED.get() or threading.Event()
        self._deadline = deadline
        self._at_once = False
        self._before: dict[int, Any] = {}

    @property
    def signalled(self) -> bool:
        """Says whether a person or a signal asks to stop."""
        return self._asked.is_set()

    @property
    def requested(self) -> bool:
        """Says whether it is time to save and stop."""
        return self.signalled or time.monotonic() >= self._deadline

    def __enter__(self) -> "Interruption":
        self._before = self.enter_context(handled(self._request))
        return self

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
        again = self.signalled
        self._asked.set()
        if self._at_once or (again and number == signal.SIGINT):
            before = self._before.get(number)
            if callable(before):  # the front door's, which knows then that it was raised
                before(number, frame)
            raise KeyboardInterrupt
        if number == signal.SIGTERM:
            TERMINATED.set()
        if not again:
            say("\nstopping after this step; Ctrl-C: at once\n")
