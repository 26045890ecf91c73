"""From a request to histories in a queue, and from what was computed back to the request."""

import asyncio
from collections import deque
from collections.abc import Sequence
import contextlib
import dataclasses
import logging
import time
from typing import Any

from rearec_jax.serve.counters import SECONDS, USERS, counter, histogram
from rearec_jax.serve.lane import Lane
from rearec_jax.serve.limits import Limits
from rearec_jax.serve.shapes import Packing
from rearec_jax.serve.warm_model import Alone, Served, Together

_log = logging.getLogger(__name__)


@dataclasses.dataclass(eq=False)
class Answer:
    """What a request waits for: a result for each of its histories."""

    future: asyncio.Future[list[Any]]
    results: list[Any]
    missing: int

    def put(self, place: int, result: Any) -> None:
        """Notes one result; the last one wakes the request."""
        self.results[place] = result
        self.missing -= 1
        if not self.missing and not self.future.done():
            self.future.set_result(self.results)


@dataclasses.dataclass(eq=False)
class Entry:
    """One history in a queue, and where its result belongs."""

    served: Served
    asked: Together | Alone
    answer: Answer
    place: int


class Workers:
    """Two threads: histories that are computed together, and those that each need a run."""

    def __init__(self, limits: Limits, loop: asyncio.AbstractEventLoop):
        self._loop = loop
        self.users = histogram("rearec_batch_users", "Histories of a batch.", USERS)
        self.seconds = histogram("rearec_batch_seconds", "Time of a batch.", SECONDS)
        self.failures = counter("rearec_batch_failures_total", "Batches that raised an error.")
        self.together = Lane[Entry]("together", limits.waiting, take_together, self._run_together)
        self.alone = Lane[Entry]("alone", limits.waiting, take_alone, self._run_alone)

    @property
    def waiting(self) -> int:
        """Histories in the queues."""
        return len(self.together) + len(self.alone)

    def submit(
        self, served: Served, asked: Sequence[Together | Alone | None], results: list[Any]
    ) -> asyncio.Future[list[Any]]:
        """Queues what is asked; None where the result is in ``results`` already.

        Raises:
            Full: there is no room for all of it; nothing is queued.
        """
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        work = [(place, one) for place, one in enumerate(asked) if one is not None]
        answer = Answer(future, results, len(work))
        if not work:
            future.set_result(results)
            return future
        entries = [Entry(served, one, answer, place) for place, one in work]
        # Of one request either all or none go alone, or a full queue would take half of it.
        together = isinstance(entries[0].asked, Together)
        (self.together if together else self.alone).put(entries)
        return future

    def close(self) -> None:
        """The threads end after what they are doing."""
        self.together.close()
        self.alone.close()

    def _run_together(self, entries: list[Entry]) -> None:
        if entries:
            self._run(entries, _together)

    def _run_alone(self, entries: list[Entry]) -> None:
        if entries:
            self._run(entries, _alone)

    def _run(self, entries: list[Entry], compute: Any) -> None:
        started = time.perf_counter()
        try:
            results = compute(entries)
        except Exception as error:  # one batch's misfortune must not end the thread
            _log.exception("a batch of %d histories failed", len(entries))
            self.failures.inc()
            self._tell(_fail, entries, error)
        else:
            self.users.observe(len(entries))
            self.seconds.observe(time.perf_counter() - started)
            self._tell(_deliver, entries, results)

    def _tell(self, function: Any, entries: list[Entry], what: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(function, entries, what)


def take_together(queue: deque[Entry]) -> list[Entry]:
    """From the front all that fit one batch: the same model, all with reasoning or all without.

    Those whose request has given up are dropped; those that do not fit keep their turn.
    """
    chosen: list[Entry] = []
    later: list[Entry] = []
    packing: Packing | None = None
    while queue:
        entry = queue.popleft()
        if entry.answer.future.done():
            continue
        assert isinstance(entry.asked, Together)
        first = chosen[0] if chosen else entry
        if _kind(entry) != _kind(first):
            later.append(entry)
            continue
        packing = packing or Packing(entry.served.shapes)
        if not packing.add(len(entry.asked.items)):
            later.append(entry)
            break
        chosen.append(entry)
    queue.extendleft(reversed(later))
    return chosen


def take_alone(queue: deque[Entry]) -> list[Entry]:
    """The first whose request still waits."""
    while queue:
        entry = queue.popleft()
        if not entry.answer.future.done():
            return [entry]
    return []


def _kind(entry: Entry) -> tuple[int, bool]:
    assert isinstance(entry.asked, Together)
    return id(entry.served), entry.asked.steps > 0


def _together(entries: list[Entry]) -> list[Any]:
    served, packing = entries[0].served, Packing(entries[0].served.shapes)
    asked = [entry.asked for entry in entries if isinstance(entry.asked, Together)]
    for one in asked:
        packing.add(len(one.items))
    return served.together(asked, packing)


def _alone(entries: list[Entry]) -> list[Any]:
    (entry,) = entries
    assert isinstance(entry.asked, Alone)
    return [entry.served.alone(entry.asked)]


def _deliver(entries: list[Entry], results: list[Any]) -> None:
    for entry, result in zip(entries, results, strict=True):
        entry.answer.put(entry.place, result)


def _fail(entries: list[Entry], error: Exception) -> None:
    for entry in entries:
        if not entry.answer.future.done():
            entry.answer.future.set_exception(error)
