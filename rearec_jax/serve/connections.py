"""Bounds what a connection may cost before it has sent a whole request: bytes, time, and number.

uvicorn's parser keeps headers of any size and number, and waits for them and for a body for ever.
"""

import asyncio
import dataclasses
import http
import math
import re
from typing import Any

import httptools
from prometheus_client import Counter
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from rearec_jax.serve.limits import Limits
from rearec_jax.serve.refusals import refusal

HEADER_BYTES = 2**16  # of the request line and all headers; also of a chunk's header and trailers
HEADERS = 100
PIPELINED = 64  # requests of a connection that wait for the answer to the one before them
STUCK_SECONDS = 30  # for which a client may read nothing of an answer
# A client that sends first and reads then would see a reset in place of a refusal, if the server
# closed the connection at once. What still comes is discarded, up to:
LINGER_SECONDS, LINGER_BYTES = 2.0, 2**24


class _TooLarge(Exception):
    """The headers of a request are too large or too many."""


@dataclasses.dataclass(frozen=True, eq=False)
class Shared:
    """The state that all connections of a server share.

    limits:   The limits of the server.
    requests: The counter of answers, by path and status.
    waiting:  The connections that have not sent a whole request, the one that waits longest first.
    """

    limits: Limits
    requests: Counter
    waiting: dict["Connection", None] = dataclasses.field(default_factory=dict)


class Connection(HttpToolsProtocol):
    """A connection of uvicorn's that ends where a request is too large, too slow or one too many.

    Args:
        shared: what it shares with the others.
        given: the arguments of uvicorn's own.
    """

    def __init__(self, shared: Shared, **given: Any):
        super().__init__(**given)
        self._shared = shared
        # In the time of the loop: when what is awaited must have come, and what is sent be read.
        self._read_by = self._write_by = math.inf
        self._in_head = True  # between requests, or in the head of one
        self._header_bytes = 0
        self._unfinished = 0  # bytes of the head, chunk header or trailers that are arriving
        self._moved = False  # whether any of those, or a part of a body, has come to its end
        self._is_refused = False
        self._discarded = 0  # bytes, since it was refused

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Takes a new connection; one too many ends the one that has waited longest."""
        super().connection_made(transport)
        waiting = self._shared.waiting
        waiting[self] = None
        self._read_by = self.loop.time() + self._shared.limits.header_seconds
        if len(self.connections) > self._shared.limits.connections:
            oldest = next(iter(waiting))
            del waiting[oldest]
            if oldest is self:  # all others are being answered
                self._refuse(503, "too many connections; try again in a moment")
            oldest.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._shared.waiting.pop(self, None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parses what has arrived, in parts that are never more than may be kept of them."""
        if self._is_refused:
            self._discarded += len(data)
            if self._discarded > LINGER_BYTES:
                self.transport.abort()
            return
        self._unset_keepalive_if_required()
        if self._read_by == math.inf:
            self._read_by = self.loop.time() + self._shared.limits.header_seconds
        while data and not self._is_refused and not self.transport.is_closing():
            room = HEADER_BYTES - self._unfinished
            self._parse(data[:room])
            data = data[room:]

    def _parse(self, part: bytes) -> None:
        self._moved = False
        try:
            self.parser.feed_data(part)
        except httptools.HttpParserUpgrade as found:
            self._parse_without_upgrade(part[found.args[0] :])
            return
        except httptools.HttpParserError as error:
            if isinstance(error.__context__, _TooLarge):
                self._refuse_headers()
            else:
                self._refuse(400, "this is no HTTP request")
            return
        self._unfinished = 0 if self._moved else self._unfinished + len(part)
        if self._unfinished >= HEADER_BYTES:
            self._refuse_headers()

    def _parse_without_upgrade(self, rest: bytes) -> None:
        """Parses a request that offers another protocol again, as one that does not.

        None is spoken here, and the parser would take its body for that protocol.
        """
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        if method == b"CONNECT":
            self._refuse(400, "this server is no proxy")
            return
        lines = [b"%s %s HTTP/%s" % (method, self.url, version)]
        lines += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        self._parse(b"\r\n".join([*lines, b"", rest]))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._header_bytes = True, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keeps a header, or a trailer, where there is room for it."""
        self._header_bytes += len(name) + len(value)
        if len(self.headers) >= HEADERS or self._header_bytes > HEADER_BYTES:
            raise _TooLarge
        if self._in_head:  # a trailer says nothing about the request: RFC 9110, 6.5.1
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if len(self.pipeline) >= PIPELINED:
            raise _TooLarge
        if self.parser.should_upgrade():
            return  # `_parse` begins again with it
        if b"://" in self.url and not self.url.startswith(b"/"):
            # Its own name counts, and not that of Host (RFC 9112, 3.2.2).
            name = re.split(rb"[/?#]", self.url.partition(b"://")[2])[0]
            self.headers[:] = [(k, name if k == b"host" else v) for k, v in self.headers]
        self._in_head, self._moved = False, True
        self._read_by = self.loop.time() + self._shared.limits.seconds  # for the body
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._moved = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Ends a request, whose answer takes as long as it takes."""
        if self.parser.should_upgrade():
            return
        self._moved = self._in_head = True
        if self.cycle.response_complete:  # before its body had come, which stopped uvicorn's clock
            self._read_by = self.loop.time() + self.timeout_keep_alive
        else:
            self._read_by = math.inf
            self._shared.waiting.pop(self, None)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.transport.is_closing() and self.cycle.response_complete:
            self._shared.waiting[self] = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_by = self.loop.time() + STUCK_SECONDS

    def resume_writing(self) -> None:
        super().resume_writing()
        self._write_by = math.inf

    @property
    def is_late(self) -> bool:
        """Says whether what the connection waits for has not come in time."""
        now = self.loop.time()
        if self._write_by == math.inf and self.transport.is_closing():
            self._write_by = now + STUCK_SECONDS
        return now >= self._read_by or now >= self._write_by

    def end(self) -> None:
        """Ends a connection that is late, with an answer where there is something to answer."""
        limits = self._shared.limits
        if self._is_refused or self.loop.time() >= self._write_by:
            self.transport.abort()
        elif self._in_head and self._unfinished:
            self._refuse(408, f"the headers did not arrive in {limits.header_seconds:g} s")
        elif not self._in_head and not self.cycle.response_started:
            self._refuse(408, f"the body did not arrive in {limits.seconds:g} s")
        else:
            self.transport.abort()

    def _refuse_headers(self) -> None:
        self._refuse(
            431,
            f"the headers are larger than {HEADER_BYTES} bytes or more than {HEADERS}; send less",
        )

    def _refuse(self, status: int, error: str) -> None:
        """Answers what is no whole request, and discards what else comes."""
        self._is_refused = True
        if self.cycle and not self.cycle.response_complete:
            # It is whole: its answer ends the connection. For too many of them nobody waits.
            if self._in_head and len(self.pipeline) < PIPELINED:
                self.cycle.keep_alive, self._read_by = False, math.inf
                return
            if self._in_head or self.pipeline or self.cycle.response_started:
                self.transport.close()  # this would not be the answer to that request
                return
            self.cycle.disconnected = True  # for the application, which awaits the body
            self.cycle.message_event.set()
        self._shared.requests.labels("other", str(status)).inc()
        answer = refusal(status, error, {"connection": "close"})
        lines = [b"HTTP/1.1 %d %s" % (status, http.HTTPStatus(status).phrase.encode())]
        lines += [b"%s: %s" % header for header in answer.raw_headers]
        self.transport.write(b"\r\n".join([*lines, b"", bytes(answer.body)]))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._read_by = self.loop.time() + LINGER_SECONDS
