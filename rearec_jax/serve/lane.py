"""Runs the work of a bounded queue in a thread, which takes what is there and waits for no more."""

from collections import deque
from collections.abc import Callable, Sequence
import threading
from typing import Generic, TypeVar

Work = TypeVar("Work")


class Full(Exception):
    """A queue has no room."""


class Lane(Generic[Work]):
    """A queue and the thread that runs its work.

    Args:
        name: the name of the thread.
        capacity: the most work that may wait.
        take: removes the next work from the queue; [] where none of it is wanted any more.
        run: runs that work; it must not raise, or the thread would end.
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
        """Queues all of ``work``; where there is no room for it, raises Full and queues nothing."""
        with self._changed:
            if len(self._queue) + len(work) > self._capacity:
                raise Full
            self._queue.extend(work)
            self._changed.notify()

    def close(self) -> None:
        """Ends the thread after its present work, and drops the work that waits."""
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
