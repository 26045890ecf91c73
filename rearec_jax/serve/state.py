"""The state that all answers share: models, queues, limits and metrics."""

import asyncio
import functools
import os
import pathlib

import jax
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from rearec_jax.serve.counters import SECONDS, counter, histogram
from rearec_jax.serve.limits import Limits
from rearec_jax.serve.models import Models
from rearec_jax.serve.queues import Workers

COMPILED = "/jax/core/compile/backend_compile_duration"  # JAX reports it for every program


class Service:
    """The models and queues behind the endpoints, and their metrics."""

    def __init__(self, models: Models, limits: Limits):
        self.models, self.limits = models, limits
        self.requests = counter("rearec_requests_total", "Answered requests.", ("path", "status"))
        self.seconds = histogram(
            "rearec_request_seconds", "Time to the answer.", SECONDS, ("path",)
        )
        self.compilations = _compilations()
        self.searches = 0  # that are running

    @functools.cached_property
    def workers(self) -> Workers:
        """The queues; the first request makes them, in the loop that serves it."""
        return Workers(self.limits, asyncio.get_running_loop())

    @functools.cached_property
    def _registry(self) -> CollectorRegistry:
        """The metrics of this server and no others, in the order in which they are written."""
        registry, workers = CollectorRegistry(), self.workers
        for metric in (self.requests, self.seconds, workers.users, workers.seconds):
            registry.register(metric)
        for metric in (workers.failures, self.models.reloads, self.compilations):
            registry.register(metric)
        for name, help_text, read in (
            ("rearec_waiting_histories", "In the queues.", lambda: workers.waiting),
            ("rearec_ready", "1 when all is compiled.", lambda: self.models.are_ready),
            ("rearec_resident_bytes", "Memory of the process.", _resident_bytes),
        ):
            Gauge(name, help_text, registry=registry).set_function(read)
        return registry

    def close(self) -> None:
        """Ends the threads, if any request has made them."""
        if "workers" in self.__dict__:
            self.workers.close()

    def metrics(self) -> bytes:
        """Returns the answer to GET /metrics."""
        return generate_latest(self._registry)


def _compilations() -> Counter:
    compiled = counter("rearec_compilations_total", "Programs compiled, or read from the cache.")

    def count(event: str, duration_secs: float, **_: object) -> None:
        if event == COMPILED:
            compiled.inc()

    jax.monitoring.register_event_duration_secs_listener(count)
    return compiled


def _resident_bytes() -> float:
    try:
        pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    except OSError:  # no Linux
        return 0.0
    return float(pages * os.sysconf("SC_PAGE_SIZE"))
