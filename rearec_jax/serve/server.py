"""Runs a server: it is ready when all is compiled, and ends when all is answered."""

import asyncio
from collections.abc import Callable, Collection
import contextlib
import dataclasses
import functools
import itertools
import resource
import socket
import sys
from types import FrameType

import uvicorn

from rearec_jax.errors import UserError
from rearec_jax.serve.api import application
from rearec_jax.serve.connections import Connection, Shared
from rearec_jax.serve.guard import Access, Guard
from rearec_jax.serve.limits import Limits
from rearec_jax.serve.models import Models
from rearec_jax.serve.state import Service

GRACE_SECONDS = 10  # for the requests that have begun when the server is stopped
SETTLE_SECONDS = 0.5  # in which a request that is on its way to it still gets a refusal
FLUSH_SECONDS = 1  # for clients to read the last answers
IDLE_SECONDS = 30  # for which a connection without a request is kept
AT_ONCE = 32  # late connections that are ended in one go: others have to be answered meanwhile
FILES = 256  # open files besides connections
SWITCH_SECONDS = 0.001  # Python's 5 ms would delay every request under load


class _Uvicorn(uvicorn.Server):
    """uvicorn's server, with an end of its own.

    Args:
        guard: the application.
        shared: what the connections share.
    """

    def __init__(self, guard: Guard, shared: Shared):
        config = uvicorn.Config(
            guard,
            http=functools.partial(Connection, shared),  # pyrefly: ignore
            ws="none",
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=IDLE_SECONDS,
            timeout_graceful_shutdown=FLUSH_SECONDS,
        )
        super().__init__(config)
        self.guard, self._shared = guard, shared

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Refuses new requests from now on; those that have begun go on."""
        self.guard.is_stopping = True
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """Ends connections that are late, ten times a second."""
        self._end_late()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Closes the port, and the connections once all that has begun is answered."""
        await self._close_port(sockets or [])
        clock = asyncio.get_running_loop().time
        settled, latest = clock() + SETTLE_SECONDS, clock() + GRACE_SECONDS
        while not self.force_exit and clock() < latest:
            if clock() >= settled and not self.server_state.tasks:
                break
            self._end_late()
            await asyncio.sleep(0.05)
        await super().shutdown(sockets)

    def _end_late(self) -> None:
        connections = list(self.server_state.connections)
        late = (one for one in connections if isinstance(one, Connection) and one.is_late)
        for connection in itertools.islice(late, AT_ONCE):
            connection.end()

    async def _close_port(self, sockets: list[socket.socket]) -> None:
        """Takes the connections that wait at the port, which would be reset, and closes it."""
        loop, taken = asyncio.get_running_loop(), []
        for listening in sockets:
            listening.setblocking(False)
            with contextlib.suppress(OSError):  # there are no more
                while True:
                    taken.append(listening.accept()[0])
        for server in self.servers:
            server.close()
        make = functools.partial(
            Connection,
            self._shared,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        for one in taken:
            one.setblocking(False)
            await loop.connect_accepted_socket(make, one)


def guarded(service: Service, key: str, hosts: Collection[str] | None = None) -> Guard:
    """Returns the ASGI application: the endpoints behind the checks of all requests."""
    return Guard(application(service, bool(key)), Access(key, hosts), service)


def serving(service: Service, access: Access) -> _Uvicorn:
    """Returns the server of a service, to be run on a socket that listens."""
    guard = guarded(service, access.key, access.hosts)
    return _Uvicorn(guard, Shared(service.limits, service.requests))


def run(
    models: Models,
    limits: Limits,
    access: Access,
    watch: float,
    listening: socket.socket,
    say: Callable[[str], None],
) -> None:
    """Serves until SIGTERM or Ctrl-C; returns when the requests that have begun are answered.

    Args:
        models: the loaded models; they are compiled meanwhile.
        limits: the limits of requests.
        access: what requests must show.
        watch: the seconds between looks for newer models; 0: none.
        listening: the socket that ``listen`` returned.
        say: prints a line.
    """
    limits = dataclasses.replace(limits, connections=_permitted(limits.connections, say))
    service = Service(models, limits)
    server = serving(service, access)
    guard = server.guard
    host, port = listening.getsockname()[:2]
    say(f"listening at http://{f'[{host}]' if ':' in host else host}:{port}")
    sys.setswitchinterval(SWITCH_SECONDS)
    models.start(watch, say)
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises the signal again when it is done
        server.run(sockets=[listening])
    models.stop()
    service.close()
    say(f"stopped: {guard.answered:,} of {guard.begun:,} requests answered")


def _permitted(connections: int, say: Callable[[str], None]) -> int:
    """Raises the system's limit of open files where needed; returns the connections it permits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= connections + FILES:
        return connections
    wanted = connections + FILES
    if hard != resource.RLIM_INFINITY and hard < wanted:
        wanted = hard
        say(f"at most {hard - FILES} connections: the system permits {hard} files (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(1, wanted - FILES)


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
