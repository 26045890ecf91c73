"""A server's life: it listens at once, is ready when all is compiled, ends when all is answered."""

import asyncio
from collections.abc import Callable
import contextlib
import dataclasses
import functools
import gc
import os
import pathlib
import socket
import sys
import threading
from types import FrameType

import jax
import uvicorn

from rearec_jax.errors import UserError
from rearec_jax.serve import counters
from rearec_jax.serve.api import application
from rearec_jax.serve.counters import Counter, Gauge
from rearec_jax.serve.guard import Guard
from rearec_jax.serve.limits import Limits
from rearec_jax.serve.models import Models
from rearec_jax.serve.work import Workers

COMPILED = "/jax/core/compile/backend_compile_duration"  # JAX tells it for every program
GRACE_SECONDS = 10  # for what was begun, once the server is told to stop
IDLE_SECONDS = 30  # that a connection is kept without a request
SWITCH_SECONDS = 0.001  # Python's 5 ms would be the latency of every request under load


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to listen. key: "" = none; watch: seconds between looks for newer models, 0 = never."""

    host: str
    port: int
    key: str
    watch: float


class Service:
    """Everything between a socket and the models."""

    def __init__(self, models: Models, limits: Limits, key: str):
        self.models, self.limits = models, limits
        self.guard = Guard(application(self), key, limits.body_bytes)
        self.compilations = _compilations()

    @functools.cached_property
    def workers(self) -> Workers:
        """Made by the first request, in the loop that serves it."""
        return Workers(self.limits, asyncio.get_running_loop())

    def metrics(self) -> str:
        """GET /metrics."""
        guard, workers, models = self.guard, self.workers, self.models
        return counters.text(
            [
                *(guard.requests, guard.seconds, workers.users, workers.seconds),
                *(workers.failures, models.reloads, self.compilations),
                Gauge("rearec_waiting_histories", "In the queues.", lambda: workers.waiting),
                Gauge("rearec_ready", "1 when all is compiled.", lambda: models.are_ready),
                Gauge("rearec_resident_bytes", "Memory of the process.", _resident_bytes),
            ]
        )

    def close(self) -> None:
        """Ends the threads."""
        self.models.stop()
        self.workers.close()


class _Uvicorn(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, guard: Guard):
        super().__init__(config)
        self._guard = guard

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """What is running goes on, what is new is refused."""
        self._guard.is_stopping = True
        super().handle_exit(sig, frame)


def run(models: Models, limits: Limits, settings: Settings, say: Callable[[str], None]) -> None:
    """Serves until SIGTERM or Ctrl-C; returns when what was begun is answered.

    Raises:
        UserError: the address cannot be listened at.
    """
    service = Service(models, limits, settings.key)
    listening = _listen(settings.host, settings.port)
    host, port = listening.getsockname()[:2]
    say(f"listening at http://{f'[{host}]' if ':' in host else host}:{port}")
    sys.setswitchinterval(SWITCH_SECONDS)
    background = threading.Thread(
        target=_background, args=(models, settings.watch, say), name="models", daemon=True
    )
    background.start()
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises the signal again when it is done
        _Uvicorn(_config(service.guard), service.guard).run(sockets=[listening])
    models.stop()
    say("stopped")
    background.join(timeout=1)
    if (
        background.is_alive()
    ):  # XLA is compiling: nothing can stop it, and nothing is lost by ending
        sys.stdout.flush()
        os._exit(0)


def _background(models: Models, watch: float, say: Callable[[str], None]) -> None:
    models.compile(say)
    gc.collect()
    gc.freeze()  # models and programs stay: no collection has to walk through them
    if watch:
        models.watch(watch, say)


def _config(guard: Guard) -> uvicorn.Config:
    return uvicorn.Config(
        guard,
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


def _listen(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(2048)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"cannot listen at {host} port {port} ({reason}); choose another --host or --port"
        ) from error
    return listening


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
