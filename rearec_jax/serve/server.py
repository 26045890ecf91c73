"""Runs a server: it is ready when all is compiled, and ends when all is answered."""

import asyncio
from collections.abc import Callable
import contextlib
import dataclasses
import gc
import socket
import sys
import threading
from types import FrameType

import uvicorn

from rearec_jax.errors import UserError
from rearec_jax.serve.api import application
from rearec_jax.serve.guard import Guard
from rearec_jax.serve.limits import Limits
from rearec_jax.serve.models import Models
from rearec_jax.serve.state import Service

GRACE_SECONDS = 10  # for the requests that have begun when the server is stopped
SETTLE_SECONDS = 0.5  # in which a request that is on its way still gets a refusal
IDLE_SECONDS = 30  # for which a connection without a request is kept
SWITCH_SECONDS = 0.001  # Python's 5 ms would delay every request under load


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings of a server.

    host:  The address to listen at.
    port:  The port to listen at; 0: any that is free.
    key:   The key that requests must show; "": none.
    watch: The seconds between looks for newer models; 0: none.
    """

    host: str
    port: int
    key: str
    watch: float


class _Uvicorn(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, guard: Guard):
        super().__init__(config)
        self._guard = guard

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Refuses new requests from now on; those that have begun go on."""
        self._guard.is_stopping = True
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Closes idle connections a moment later than uvicorn, for a request may be on its way."""
        if not self.force_exit:
            await asyncio.sleep(SETTLE_SECONDS)
        await super().shutdown(sockets)


def guarded(service: Service, key: str) -> Guard:
    """Returns the ASGI application: the endpoints behind the checks of all requests."""
    return Guard(application(service), key, service)


def run(
    models: Models,
    limits: Limits,
    settings: Settings,
    listening: socket.socket,
    say: Callable[[str], None],
) -> None:
    """Serves until SIGTERM or Ctrl-C; returns when the requests that have begun are answered.

    Args:
        models: the loaded models; they are compiled here.
        limits: the limits of requests.
        settings: the settings of the server.
        listening: the socket that ``listen`` returned.
        say: prints a line.
    """
    service = Service(models, limits)
    guard = guarded(service, settings.key)
    host, port = listening.getsockname()[:2]
    say(f"listening at http://{f'[{host}]' if ':' in host else host}:{port}")
    sys.setswitchinterval(SWITCH_SECONDS)
    background = threading.Thread(
        target=_background, args=(models, settings.watch, say), name="models", daemon=True
    )
    background.start()
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises the signal again when it is done
        _Uvicorn(_config(guard), guard).run(sockets=[listening])
    models.stop()
    service.close()
    say(f"stopped: {guard.answered:,} of {guard.begun:,} requests answered")
    background.join(timeout=1)


def _background(models: Models, watch: float, say: Callable[[str], None]) -> None:
    models.compile(say)
    gc.collect()
    gc.freeze()  # models and programs stay, so that no collection has to walk through them
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


def listen(host: str, port: int) -> socket.socket:
    """Opens the port; a client that connects waits until the server runs.

    Raises:
        UserError: the server cannot listen at the address.
    """
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
