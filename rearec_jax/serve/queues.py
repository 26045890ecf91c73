"""Queues the histories of requests, and delivers the computed results to the requests."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
import contextlib
import dataclasses
import functools
import logging
import time
from typing import Any

from rearec_jax.serve.counters import SECONDS, USERS, counter, histogram
from rearec_jax.serve.lane import Lane
from rearec_jax.serve.limits import Limits
from rearec_jax.serve.shapes import Packing
from rearec_jax.serve.warm_model import BatchedQuery, Served, SingleQuery

_log = logging.getLogger(__name__)


@dataclasses.dataclass(eq=False)
class Answer:
    """The results that a request waits for, one for each of its histories.

    future:  The future that the request awaits.
    results: The results so far.
    missing: The number of results that are still missing.
    """

    future: asyncio.Future[list[Any]]
    results: list[Any]
    missing: int

    def put(self, index: int, result: Any) -> None:
        """Stores the result of history ``index``; the last one wakes the request."""
        self.results[index] = result
        self.missing -= 1
        if not self.missing and not self.future.done():
            self.future.set_result(self.results)


@dataclasses.dataclass(eq=False)
class Entry:
    """A history in a queue.

    served: The model that is to answer.
    query:  The history and its options.
    answer: The answer that the result is a part of.
    index:  The index of the history in its request.
    """

    served: Served
    query: BatchedQuery | SingleQuery
    answer: Answer
    index: int


class Workers:
    """Two threads with a queue each: one runs batches, the other one history at a time."""

    def __init__(self, limits: Limits, loop: asyncio.AbstractEventLoop):
        self._loop = loop
        self.users = histogram("rearec_batch_users", "Histories of a batch.", USERS)
        self.seconds = histogram("rearec_batch_seconds", "Time of a batch.", SECONDS)
        self.failures = counter("rearec_batch_failures_total", "Batches that raised an error.")
        self.batched = Lane[Entry](
            "batched", limits.waiting, take_batch, functools.partial(self._run, _rank_batch)
        )
        self.single = Lane[Entry](
            "single", limits.waiting, take_single, functools.partial(self._run, _explain)
        )

    @property
    def waiting(self) -> int:
        """The number of histories in the queues."""
        return len(self.batched) + len(self.single)

    def submit(
        self,
        served: Served,
        queries: Sequence[BatchedQuery | SingleQuery | None],
        results: list[Any],
    ) -> asyncio.Future[list[Any]]:
        """Queues the queries of a request and returns the future of all results.

        A query is None where its result is in ``results`` already.

        Raises:
            Full: there is no room for all of them; nothing is queued.
        """
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        work = [(index, one) for index, one in enumerate(queries) if one is not None]
        answer = Answer(future, results, len(work))
        if not work:
            future.set_result(results)
            return future
        entries = [Entry(served, one, answer, index) for index, one in work]
        # All queries of a request are of one kind, or a full queue would take a part of them.
        is_batched = isinstance(entries[0].query, BatchedQuery)
        (self.batched if is_batched else self.single).put(entries)
        return future

    def close(self) -> None:
        """Ends the threads after their present work."""
        self.batched.close()
        self.single.close()

    def _run(self, compute: Callable[[list[Entry]], list[Any]], entries: list[Entry]) -> None:
        """Computes a batch and passes its results, or its error, to the loop of the requests."""
        if not entries:
            return
        started = time.perf_counter()
        try:
            results = compute(entries)
        except Exception as error:  # the failure of one batch must not end the thread
            _log.exception("a batch of %d histories failed", len(entries))
            self.failures.inc()
            self._call_in_loop(_fail, entries, error)
        else:
            self.users.observe(len(entries))
            self.seconds.observe(time.perf_counter() - started)
            self._call_in_loop(_deliver, entries, results)

    def _call_in_loop(self, function: Any, entries: list[Entry], what: Any) -> None:
        with contextlib.suppress(RuntimeError):  # of a closed loop: no request waits
            self._loop.call_soon_threadsafe(function, entries, what)


def take_batch(queue: deque[Entry]) -> list[Entry]:
    """Takes the entries of one batch from the front: one model, all with reasoning or none.

    Entries whose request has given up are dropped; those that do not fit keep their turn.
    """
    chosen: list[Entry] = []
    later: list[Entry] = []
    packing: Packing | None = None
    while queue:
        entry = queue.popleft()
        if entry.answer.future.done():
            continue
        assert isinstance(entry.query, BatchedQuery)
        first = chosen[0] if chosen else entry
        if _kind(entry) != _kind(first):
            later.append(entry)
            continue
        packing = packing or Packing(entry.served.shapes)
        if not packing.add(len(entry.query.items)):
            later.append(entry)
            break
        chosen.append(entry)
    queue.extendleft(reversed(later))
    return chosen


def take_single(queue: deque[Entry]) -> list[Entry]:
    """Takes the first entry whose request still waits; [] where there is none."""
    while queue:
        entry = queue.popleft()
        if not entry.answer.future.done():
            return [entry]
    return []


def _kind(entry: Entry) -> tuple[int, bool]:
    assert isinstance(entry.query, BatchedQuery)
    return id(entry.served), entry.query.steps > 0


def _rank_batch(entries: list[Entry]) -> list[Any]:
    served, packing = entries[0].served, Packing(entries[0].served.shapes)
    queries = [entry.query for entry in entries if isinstance(entry.query, BatchedQuery)]
    for query in queries:
        packing.add(len(query.items))
    return served.rank_batch(queries, packing)


def _explain(entries: list[Entry]) -> list[Any]:
    (entry,) = entries
    assert isinstance(entry.query, SingleQuery)
    return [entry.served.explain(entry.query)]


def _deliver(entries: list[Entry], results: list[Any]) -> None:
    for entry, result in zip(entries, results, strict=True):
        entry.answer.put(entry.index, result)


def _fail(entries: list[Entry], error: Exception) -> None:
    for entry in entries:
        if not entry.answer.future.done():
            entry.answer.future.set_exception(error)
