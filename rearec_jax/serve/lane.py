"""A bounded queue and a thread that works it off: it takes what is there, and waits for no more."""

from collections import deque
from collections.abc import Callable, Sequence
import threading
from typing import Generic, TypeVar

Work = TypeVar("Work")


class Full(Exception):
    """The queue holds as much as it may."""


class Lane(Generic[Work]):
    """One thread, one queue.

    Args:
        name: of the thread.
        capacity: the most that may wait.
        take: removes from the queue what is to be done next, at least one.
        run: does it; what it raises is its own affair, the lane goes on.
    """

    def __init__(
        self,
        name: str,
        capacity: int,
        take: Callable[[deque[Work]], list[Work]],
        run: Callable[[list[Work]], None],
    ):
        self._capacity, self._take, self._run = capacity, take, run
        self._queue: deque[Work] = deque()
        self._changed = threading.Condition()
        self._open = True
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, work: Sequence[Work]) -> None:
        """Queues all of it. Raises Full, and queues nothing, where it has no room."""
        with self._changed:
            if len(self._queue) + len(work) > self._capacity:
                raise Full
            self._queue.extend(work)
            self._changed.notify()

    def close(self) -> None:
        """The thread ends after what it is doing; what still waits is dropped."""
        with self._changed:
            self._open = False
            self._queue.clear()
            self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                while self._open and not self._queue:
                    self._changed.wait()
                if not self._open:
                    return
                work = self._take(self._queue)
            self._run(work)
