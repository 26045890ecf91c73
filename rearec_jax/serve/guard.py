"""Checks and counts every request, before FastAPI and in plain ASGI, because that is cheap."""

from collections.abc import Awaitable, Callable, MutableMapping
import hmac
import logging
import time
from typing import Any

import orjson

from rearec_jax.serve.state import Service

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN = {"/", "/health", "/ready", "/docs", "/openapi.json"}  # these and /static need no key
SHOWS_KEY = "rearec_jax.shows_key"  # in a request's scope: True also where no key is needed
KNOWN = OPEN | {"/recommend", "/explain", "/models", "/items", "/samples", "/metrics"}
HEADERS = [
    (b"content-security-policy", b"default-src 'self'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]
CLOSE = (b"connection", b"close")

_log = logging.getLogger(__name__)


class Guard:
    """Lets requests through to ``application``, or answers them itself.

    Args:
        application: the application behind it.
        key: the key that requests must show; "": none.
        service: the service whose limits hold and whose counters count.
    """

    def __init__(self, application: Application, key: str, service: Service):
        self._application, self._key, self._service = application, key.encode(), service
        self.is_stopping = False  # then each answer closes its connection
        self.begun = self.answered = 0  # numbers of requests; an answered one is sent whole

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        started, status = time.perf_counter(), 0
        self.begun += 1

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *HEADERS]
                if self.is_stopping:
                    message["headers"].append(CLOSE)
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                self.answered += 1

        path = _known(scope["path"])
        try:
            refused = self._refusal(scope)
            if refused is None:
                await self._application(scope, receive, send_on)
            else:
                await _answer(*refused, send_on)
        except Exception:
            _log.exception("%s failed", path)
            if not status:
                await _answer(500, "the server made a mistake; its log says which", send_on)
        finally:
            self._service.requests.labels(path, str(status)).inc()
            self._service.seconds.labels(path).observe(time.perf_counter() - started)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Returns status and sentence of a refusal; None lets the request through."""
        headers = dict(scope["headers"])
        scope[SHOWS_KEY] = not self._key or self._has_key(headers)
        if self.is_stopping:
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

    def _has_key(self, headers: dict[bytes, bytes]) -> bool:
        shown = headers.get(b"x-api-key")
        if shown is None:
            kind, _, shown = headers.get(b"authorization", b"").partition(b" ")
            shown = shown.strip() if kind.lower() == b"bearer" else b""
        return hmac.compare_digest(shown, self._key)


async def _answer(status: int, error: str, send: Send) -> None:
    headers = [(b"content-type", b"application/json")]
    if status == 413:  # the rest of the body is not read
        headers.append(CLOSE)
    if status == 503:
        headers.append((b"retry-after", b"1"))
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    body = orjson.dumps({"error": error})
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _is_open(path: str) -> bool:
    return path in OPEN or path.startswith("/static/")


def _known(path: str) -> str:
    """Returns the path as metrics name it, because unknown paths must not make new series."""
    if path in KNOWN:
        return path
    return "/static" if path.startswith("/static/") else "other"
