"""What answers share: models, queues, limits, and the numbers that tell how it goes."""

import asyncio
import functools
import os
import pathlib

import jax

from rearec_jax.serve import counters
from rearec_jax.serve.counters import SECONDS, Counter, Gauge, Histogram
from rearec_jax.serve.limits import Limits
from rearec_jax.serve.models import Models
from rearec_jax.serve.queues import Workers

COMPILED = "/jax/core/compile/backend_compile_duration"  # JAX tells it for every program


class Service:
    """Everything between the endpoints and the models."""

    def __init__(self, models: Models, limits: Limits):
        self.models, self.limits = models, limits
        self.requests = Counter("rearec_requests_total", "Answered requests.", ("path", "status"))
        self.seconds = Histogram("rearec_request_seconds", "Time to the answer.", SECONDS, "path")
        self.compilations = _compilations()
        self.searches = 0  # under way

    @functools.cached_property
    def workers(self) -> Workers:
        """Made by the first request, in the loop that serves it."""
        return Workers(self.limits, asyncio.get_running_loop())

    def close(self) -> None:
        """Ends the threads, if any request has made them."""
        if "workers" in self.__dict__:
            self.workers.close()

    def metrics(self) -> str:
        """GET /metrics."""
        workers, models = self.workers, self.models
        return counters.text(
            [
                *(self.requests, self.seconds, workers.users, workers.seconds),
                *(workers.failures, models.reloads, self.compilations),
                Gauge("rearec_waiting_histories", "In the queues.", lambda: workers.waiting),
                Gauge("rearec_ready", "1 when all is compiled.", lambda: models.are_ready),
                Gauge("rearec_resident_bytes", "Memory of the process.", _resident_bytes),
            ]
        )


def _compilations() -> Counter:
    counter = Counter("rearec_compilations_total", "Programs compiled, or read from the cache.")

    def count(event: str, duration_secs: float, **_: object) -> None:
        if event == COMPILED:
            counter.add()

    jax.monitoring.register_event_duration_secs_listener(count)
    return counter


def _resident_bytes() -> float:
    try:
        pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    except OSError:  # no Linux
        return 0.0
    return float(pages * os.sysconf("SC_PAGE_SIZE"))
