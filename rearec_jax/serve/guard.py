"""Checks and counts every request, before Starlette and in plain ASGI, because that is cheap."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, MutableMapping
import contextlib
import dataclasses
import hmac
import logging
import re
import time
from typing import Any

from rearec_jax.serve.connections import LINGER_BYTES, LINGER_SECONDS
from rearec_jax.serve.refusals import refusal
from rearec_jax.serve.state import Service

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

STATES = {"/health", "/ready"}
OPEN = STATES | {"/", "/docs", "/openapi.json"}  # these and /static need no key
SHOWS_KEY = "rearec_jax.shows_key"  # in a request's scope: True also where no key is needed
KNOWN = OPEN | {"/recommend", "/explain", "/models", "/items", "/samples", "/metrics"}
PAGES = {"/", "/static"}  # whose answers are files
HEADERS = [
    (b"content-security-policy", b"default-src 'self'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]
CLOSE = (b"connection", b"close")
MISTAKE = "the server made a mistake; its log says which"
# The name or address that a request asks, and its port (RFC 9110).
HOST = re.compile(rb"(\[[0-9a-fA-F:.]+\]|[\w.~%!$&'()*+,;=-]+)(:[0-9]*)?")

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Access:
    """The conditions under which a request is answered.

    key:   The key; "": none.
    hosts: The names and addresses that it may call the server by; None: any.
    """

    key: str = ""
    hosts: Collection[str] | None = None


class Guard:
    """Lets requests through to ``application``, or answers them itself.

    Args:
        application: the application behind it.
        access: what a request must show.
        service: the service whose limits hold and whose counters count.
    """

    def __init__(self, application: Application, access: Access, service: Service):
        self._application, self._access, self._service = application, access, service
        self.is_stopping = False  # then each answer closes its connection
        self.begun = self.answered = 0  # numbers of requests; an answered one is sent whole

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        started, status, path = time.perf_counter(), 0, _known(scope["path"])
        self.begun += 1
        refused = self._refusal(scope)

        async def send_on(message: Message) -> None:
            nonlocal status
            is_last = message["type"] == "http.response.body" and not message.get("more_body")
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *HEADERS]
                # Who watches a server that stops goes on doing so.
                if self.is_stopping and path not in STATES:
                    message["headers"].append(CLOSE)
            elif is_last and (status == 413 or (refused and self.is_stopping)):
                await send({**message, "more_body": True})
                await _linger(receive)
                message = {"type": "http.response.body"}
            await send(message)
            self.answered += is_last

        try:
            if refused:
                await refusal(*refused)(scope, receive, send_on)
            else:
                if scope["method"] == "HEAD":  # as GET; uvicorn leaves out the body
                    scope = {**scope, "method": "GET"}
                elif scope["method"] == "POST":
                    receive = await _arrived(receive, self._service.limits.body_bytes)
                if (
                    path in PAGES
                ):  # they are sent whole: Starlette refuses wrong ranges in its own way
                    fields = [field for field in scope["headers"] if field[0] != b"range"]
                    scope = {**scope, "headers": fields}
                await self._application(scope, receive, send_on)
        except Exception:
            _log.exception("%s failed", path)
            if not status:
                await refusal(500, MISTAKE)(scope, receive, send_on)
        finally:
            self._service.requests.labels(path, str(status)).inc()
            self._service.seconds.labels(path).observe(time.perf_counter() - started)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Returns status and sentence of a refusal; None lets the request through."""
        headers = dict(scope["headers"])
        scope[SHOWS_KEY] = not self._access.key or self._has_key(headers)
        if wrong := self._wrong_host(scope, headers):
            return 400, wrong
        if self.is_stopping and scope["path"] != "/health":
            return 503, "the server is stopping; ask another or try again later"
        if not scope[SHOWS_KEY] and not _is_open(scope["path"]):
            return 401, "an API key is needed: header X-API-Key, or Authorization: Bearer KEY"
        length = headers.get(b"content-length", b"0")
        if not length.isdigit():
            return 400, "the header Content-Length is not a number"
        most = self._service.limits.body_bytes
        if int(length[:20]) > most:
            return 413, f"the body is {int(length[:20])} bytes; at most {most} are read"
        return None

    def _wrong_host(self, scope: Scope, headers: dict[bytes, bytes]) -> str | None:
        """Returns what is wrong with the name that a request calls this server by.

        A page elsewhere can make its own name lead to this machine (DNS rebinding), and then read
        what a server on it answers.
        """
        host = headers.get(b"host")
        if host is None:
            return None if scope["http_version"] == "1.0" else "the header Host is missing"
        found = HOST.fullmatch(host)
        if not found or sum(name == b"host" for name, _ in scope["headers"]) > 1:
            return "the header Host must be one name or address, with a port or without"
        hosts, name = self._access.hosts, found[1].decode("latin-1").lower()
        if hosts is None or name in hosts:
            return None
        return f"this server is not called {name[:100]}; --allowed_hosts=NAME permits another name"

    def _has_key(self, headers: dict[bytes, bytes]) -> bool:
        shown = headers.get(b"x-api-key")
        if shown is None:
            kind, _, shown = headers.get(b"authorization", b"").partition(b" ")
            shown = shown.strip() if kind.lower() == b"bearer" else b""
        return hmac.compare_digest(shown, self._access.key.encode())


async def _arrived(receive: Receive, most: int) -> Receive:
    """Waits for a body, or for more than ``most`` bytes of it, and gives it back.

    While it is on its way it takes little of the server's time and memory, because the application
    has not begun with it.
    """
    messages: deque[Message] = deque()
    size, is_whole = 0, False
    while size <= most and not is_whole:
        messages.append(await receive())
        size += len(messages[-1].get("body", b""))
        is_whole = not messages[-1].get("more_body")

    async def again() -> Message:
        return messages.popleft() if messages else await receive()

    return again


async def _linger(receive: Receive) -> None:
    """Discards what still comes of a body for a moment (`connections` says why)."""
    size = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            while size < LINGER_BYTES:
                message = await receive()
                if not message.get("more_body"):
                    return
                size += len(message["body"])


def _is_open(path: str) -> bool:
    return path in OPEN or path.startswith("/static/")


def _known(path: str) -> str:
    """Returns the path as metrics name it, because unknown paths must not make new series."""
    if path in KNOWN:
        return path
    return "/static" if path.startswith("/static/") else "other"
