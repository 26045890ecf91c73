"""What connections may cost: each test speaks to a server at a port, as hostile clients do."""

import http.client
import io
import json
import socket
import time

import pytest

from rearec_jax.serve.connections import HEADER_BYTES, HEADERS, LINGER_BYTES, PIPELINED
from rearec_jax.serve.limits import Limits

GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /recommend HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
BODY = json.dumps({"histories": [["i1"]]}).encode()
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


class Answers(io.BufferedReader):
    """What a connection still says, after an answer too."""

    def __init__(self, connection: socket.socket):
        super().__init__(socket.SocketIO(connection, "rb"))

    def makefile(self, mode: str) -> "Answers":
        return self

    def close(self) -> None:
        """Stays open, though an answer has come to its end."""

    def next(self, method: str = "GET") -> tuple[int, bytes, dict[str, str]]:
        found = http.client.HTTPResponse(self, method=method)
        found.begin()
        headers = {name.lower(): value for name, value in found.getheaders()}
        return found.status, found.read(), headers


def answer(connection: socket.socket, method: str = "GET") -> tuple[int, bytes, dict[str, str]]:
    """The next answer, where no other comes before it is read: status, body and headers."""
    return Answers(connection).next(method)


def ask(live, sent: bytes) -> tuple[int, bytes, dict[str, str]]:
    with live.connect() as connection:
        connection.sendall(sent)
        return answer(connection)


def is_ended(connection: socket.socket, seconds: float) -> bool:
    """Whether the server ends a connection in time, without a word."""
    connection.settimeout(seconds)
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


LARGE = 2**22
FLOODS = {
    "value": GET + b"X-A: " + b"a" * LARGE,
    "name": GET + b"a" * LARGE,
    "address": b"GET /" + b"a" * LARGE,
    "query": b"GET /items?q=" + b"a" * LARGE,
    "folded": GET + b"X-A: a\r\n" + b" a\r\n" * (LARGE // 4),
    "number": GET + b"".join(b"X-%d: a\r\n" % n for n in range(20_000)),
    "equal": GET + b"X-A: a\r\n" * 20_000,
    "empty": GET + b"a:\r\n" * 20_000,
    "sum": GET + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 1000) for n in range(70)) + b"\r\n",
    "lines": b"\r\n" * (LARGE // 2),
}


@pytest.mark.parametrize("kind", FLOODS)
def test_large_or_many_headers(live, kind):
    server = live()
    started = time.monotonic()
    status, body, headers = ask(server, FLOODS[kind])
    assert status in ((431, 400) if kind == "folded" else (431,)), body
    assert headers["connection"] == "close" and list(json.loads(body)) == ["error"]
    assert time.monotonic() - started < 2
    assert ask(server, GET + b"\r\n")[0] == 200


@pytest.mark.parametrize("more", [0, 1])
def test_headers_that_are_just_not_too_large(live, more):
    head = GET + b"X-A: "
    end = b"\r\n\r\n"
    room = HEADER_BYTES - len(head) - len(end)
    status = 431 if more else 200
    assert ask(live(), head + b"a" * (room + more) + end)[0] == status


@pytest.mark.parametrize("more", [0, 1])
def test_headers_that_are_just_not_too_many(live, more):
    headers = b"".join(b"X-%d: a\r\n" % n for n in range(HEADERS - 1 + more))
    assert ask(live(), GET + headers + b"\r\n")[0] == (431 if more else 200)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_headers_in_pieces(live, size):
    sent = POST + b"X-A: " + b"a" * 500 + b"\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
    with live().connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(sent), size):
            connection.sendall(sent[start : start + size])
        assert answer(connection)[0] == 200


@pytest.mark.parametrize(
    "flood",
    [b"0\r\nX-A: " + b"a" * LARGE, b"0\r\n" + b"X-A: a\r\n" * 20_000, b"1;a=" + b"a" * LARGE],
    ids=["trailer", "trailers", "extension"],
)
def test_what_is_kept_besides_a_chunked_body(live, flood):
    server = live()
    status, _, headers = ask(server, CHUNKED + b"%x\r\n%s\r\n" % (len(BODY), BODY) + flood)
    assert status == 431 and headers["connection"] == "close"
    assert ask(server, GET + b"\r\n")[0] == 200


def test_large_bodies_between_requests_are_not_headers(live):
    """Several requests in one piece, each with a body larger than headers may be."""
    body = BODY + b" " * 2 * HEADER_BYTES
    one = POST + b"Content-Length: %d\r\n\r\n" % len(body) + body
    chunked = CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    with live(body_bytes=2**20).connect() as connection:
        connection.sendall(one + chunked + one + GET + b"\r\n")
        answers = Answers(connection)
        assert [answers.next()[0] for _ in range(4)] == [200] * 4


def test_slow_headers(live):
    server = live(header_seconds=0.3)
    with server.connect() as silent, server.connect() as half, server.connect() as slow:
        half.sendall(GET)
        started = time.monotonic()
        slow.settimeout(0.1)
        while time.monotonic() - started < 3:
            try:
                slow.sendall(b"\r\n" if time.monotonic() - started < 0.1 else b"G")
                if slow.recv(1):
                    break
            except TimeoutError:
                continue
        else:
            raise AssertionError("a byte at a time keeps it open")
        status, body, headers = answer(half)
        assert status == 408 and headers["connection"] == "close"
        assert "the headers did not arrive in 0.3 s" in json.loads(body)["error"]
        assert is_ended(silent, 3)


def test_slow_bodies(live):
    server = live(seconds=0.3)
    with server.connect() as connection:
        connection.sendall(POST + b"Content-Length: 1000\r\n\r\n{")
        started = time.monotonic()
        status, body, headers = answer(connection)
        assert status == 408 and headers["connection"] == "close"
        assert "the body did not arrive in 0.3 s" in json.loads(body)["error"]
        assert is_ended(connection, 5) and time.monotonic() - started < 5


def test_a_body_that_nobody_reads_ends_the_connection_too(live):
    with live(seconds=0.1).connect() as connection:
        connection.sendall(GET + b"Content-Length: 1000\r\n\r\n{")
        assert answer(connection)[0] == 200
        assert is_ended(connection, 5)


def test_one_connection_too_many_ends_the_one_that_waits_longest(live, blocked):
    server = live(connections=4)
    body = POST + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
    busy = [server.connect() for _ in range(2)]
    for one in busy:
        one.sendall(body)
    time.sleep(0.1)
    idle = [server.connect() for _ in range(6)]
    for one in idle[:3]:
        one.sendall(GET)
    assert all(is_ended(one, 2) for one in idle[:4])
    idle[-1].sendall(GET + b"\r\n")
    assert answer(idle[-1])[0] == 200
    for one in idle[-2:]:
        one.sendall(body)
    time.sleep(0.1)
    with server.connect() as more:  # all others are being answered
        status, said, headers = answer(more)
    assert status == 503 and "too many connections" in json.loads(said)["error"]
    assert headers["retry-after"] == "1"
    blocked.set()
    for one in [*busy, *idle[-2:]]:
        assert answer(one)[0] == 200
    for one in [*busy, *idle]:
        one.close()


def test_many_requests_before_the_first_answer(live, blocked):
    one = POST + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
    server = live()
    with server.connect() as connection:
        connection.sendall(one + (GET + b"\r\n") * PIPELINED)
        time.sleep(0.1)
        blocked.set()
        answers = Answers(connection)
        assert [answers.next()[0] for _ in range(1 + PIPELINED)] == [200] * (1 + PIPELINED)
    blocked.clear()
    with server.connect() as connection:
        connection.sendall(one + (GET + b"\r\n") * (PIPELINED + 2))
        assert is_ended(connection, 2)
    blocked.set()


def test_who_does_not_read_the_answers(live, monkeypatch):
    monkeypatch.setattr("rearec_jax.serve.connections.STUCK_SECONDS", 0.3)
    server = live()
    with server.connect() as connection:
        connection.setblocking(False)
        until = time.monotonic() + 10
        page = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
        while time.monotonic() < until:
            try:
                connection.send(page)
            except BlockingIOError:
                time.sleep(0.05)
            except ConnectionError:
                return
    raise AssertionError("the connection stays")


@pytest.mark.parametrize("size", [2**21, LINGER_BYTES // 2])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_that_sends_first_reads_why_its_body_is_too_large(live, size, chunked):
    with live(body_bytes=2**20).connect() as connection:
        if chunked:
            piece = b"10000\r\n" + b" " * 2**16 + b"\r\n"
            connection.sendall(CHUNKED + piece * (size // 2**16) + b"0\r\n\r\n")
        else:
            connection.sendall(POST + b"Content-Length: %d\r\n\r\n" % size + b" " * size)
        status, body, headers = answer(connection)
    assert status == 413 and headers["connection"] == "close"
    assert "1048576" in json.loads(body)["error"]


def test_a_body_that_never_ends_is_not_read_for_ever(live):
    with live(body_bytes=2**20).connect() as connection, pytest.raises(ConnectionError):
        connection.sendall(CHUNKED)
        for _ in range(8 * LINGER_BYTES // 2**16):
            connection.sendall(b"10000\r\n" + b" " * 2**16 + b"\r\n")


def test_a_request_without_a_host(live):
    server = live()
    status, body, _ = ask(server, b"GET /health HTTP/1.1\r\n\r\n")
    assert status == 400 and "Host is missing" in json.loads(body)["error"]
    status, body, _ = ask(server, GET + b"Host: localhost\r\n\r\n")
    assert status == 400 and "must be one name" in json.loads(body)["error"]
    assert ask(server, b"GET /health HTTP/1.0\r\n\r\n")[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "user@localhost", ""])
def test_an_address_with_a_foreign_name_is_no_way_past_the_check(live, host):
    """In `GET http://NAME/path` that name counts, and not the header Host (RFC 9112, 3.2.2)."""
    server = live(hosts=frozenset({"localhost"}))
    for path in ("/samples", "/health"):
        sent = f"GET http://{host}{path} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        status, body, _ = ask(server, sent.encode())
        assert status == 400 and list(json.loads(body)) == ["error"]
        sent = f"GET http://LOCALHOST:80{path}?limit=1 HTTP/1.1\r\nHost: {host or 'x'}\r\n\r\n"
        assert ask(server, sent.encode())[0] == 200


def test_a_target_that_is_no_path(live):
    status, body, _ = ask(live(), b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert status in (404, 405) and list(json.loads(body)) == ["error"]


UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAA\r\n"


@pytest.mark.parametrize("size", [1, 10_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_that_offers_another_protocol_keeps_its_body(live, size, chunked):
    """Java's HttpClient does, by default, with each request that has no TLS."""
    length = b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
    chunks = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
    sent = (
        POST + UPGRADE + (chunks if chunked else length) + GET + UPGRADE + b"\r\n" + GET + b"\r\n"
    )
    with live().connect() as connection:
        for start in range(0, len(sent), size):
            connection.sendall(sent[start : start + size])
        answers = Answers(connection)
        status, body, _ = answers.next()
        assert status == 200 and json.loads(body)["results"]
        assert [answers.next()[0] for _ in range(2)] == [200, 200]


def test_many_offers_of_another_protocol(live, caplog):
    """They are bounded as other requests are, in number and in the size of their headers."""
    server = live()
    with server.connect() as connection:
        connection.sendall((GET + UPGRADE + b"\r\n") * 500)
        assert is_ended(connection, 2)
    large = GET + UPGRADE + b"X-A: " + b"a" * (HEADER_BYTES - 400) + b"\r\n\r\n"
    assert ask(server, large)[0] == 200
    assert ask(server, large.replace(b"X-A: ", b"X-A: " + b"a" * 1000))[0] == 431
    assert not caplog.records


def test_a_tunnel_is_refused(live):
    for more in (b"", UPGRADE):
        sent = b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n" + more + b"\r\n"
        status, body, _ = ask(live(), sent)
        assert status == 400 and list(json.loads(body)) == ["error"]


@pytest.mark.parametrize("more", [b"no HTTP\r\n\r\n", GET + b"X-A: a\r\n" * 101])
def test_a_whole_request_is_answered_whatever_comes_after_it(live, blocked, more):
    """The answer to it ends the connection, and no other comes."""
    whole = POST + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
    with live().connect() as connection:
        connection.sendall(whole + whole + more)
        assert not is_ended(connection, 0.3)
        blocked.set()
        connection.settimeout(10)
        answers = Answers(connection)
        statuses = [answers.next() for _ in range(2)]
        assert [status for status, _, _ in statuses] == [200, 200]
        assert statuses[1][2]["connection"] == "close" and answers.read() == b""


@pytest.mark.parametrize("trailer", [b"Host: localhost", b"Content-Type: application/json"])
def test_trailers_are_no_headers(live, trailer):
    """What comes after a body says nothing about the request (RFC 9110, 6.5.1)."""
    name = trailer.partition(b":")[0]
    lines = [line for line in CHUNKED.splitlines() if line and not line.startswith(name)]
    sent = [*lines, b"", b"%x" % len(BODY), BODY, b"0", b"X-A: b", trailer, b"", b""]
    with live().connect() as connection:
        connection.sendall(b"\r\n".join(sent) + GET + b"\r\n")
        answers = Answers(connection)
        assert answers.next()[0] in (400, 415)
        assert answers.next()[0] == 200


@pytest.mark.parametrize("path", ["/", "/static/page.css"])
@pytest.mark.parametrize("value", ["bytes=a", "bytes", "x=0-1", "bytes=9-3", "bytes=999999-"])
def test_ranges_that_are_none(client, path, value):
    answer = client.ask(path, headers={"range": value})
    whole = client.ask(path)
    assert (answer.status_code, answer.content) == (200, whole.content)


def test_what_is_no_http_is_refused_in_one_sentence(live):
    status, body, headers = ask(live(), b"hello\r\n\r\n")
    assert status == 400 and list(json.loads(body)) == ["error"]
    assert headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "path", ["/", "/static/page.css", "/health", "/ready", "/models", "/openapi.json", "/docs"]
)
def test_head_is_get_without_the_body(live, path):
    found = []
    with live().connect() as connection:
        for method in ("GET", "HEAD", "GET"):
            sent = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"
            connection.sendall(sent.encode())
            status, body, headers = answer(connection, method)
            headers.pop("date")
            found.append((status, headers))
            assert bool(body) == (method == "GET")
    assert found[0] == found[1] == found[2] and found[0][0] == 200


def test_head_of_what_has_another_method(live):
    with live().connect() as connection:
        connection.sendall(b"HEAD /recommend HTTP/1.1\r\nHost: localhost\r\n\r\n")
        status, _, headers = answer(connection, "HEAD")
        assert status == 405 and headers["allow"] == "POST"
        connection.sendall(b"POST /models HTTP/1.1\r\nHost: localhost\r\n\r\n")
        status, _, headers = answer(connection)
        assert status == 405 and headers["allow"] == "GET, HEAD"


def test_stopping(live, blocked):
    """The port is closed at once; who is connected is answered, and may watch until the end."""
    server = live()
    busy, watch, idle, half = (server.connect() for _ in range(4))
    busy.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY)
    half.sendall(GET)
    watch.sendall(GET + b"\r\n")
    assert answer(watch)[0] == 200
    server.stop()
    time.sleep(0.3)
    with pytest.raises(ConnectionRefusedError):
        server.connect()
    half.sendall(b"\r\n")
    assert answer(half)[0] == 200
    idle.sendall(b"GET /models HTTP/1.1\r\nHost: localhost\r\n\r\n")
    status, body, headers = answer(idle)
    assert status == 503 and headers["connection"] == "close" and headers["retry-after"] == "1"
    for _ in range(8):
        watch.sendall(GET + b"\r\n")
        assert answer(watch)[0] == 200
        watch.sendall(b"GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n")
        status, body, _ = answer(watch)
        assert status == 503 and "the server is stopping" in json.loads(body)["error"]
        time.sleep(0.1)
    blocked.set()
    assert answer(busy)[0] == 200
    assert is_ended(watch, 2)
    server.thread.join(5)
    assert not server.thread.is_alive()
    assert server.server.guard.begun == server.server.guard.answered
    for one in (busy, watch, idle, half):
        one.close()


def test_connections_that_wait_at_the_port_when_it_stops(live):
    server = live()
    ask(server, GET + b"\r\n")
    (one,) = server.server.servers
    one.get_loop().call_soon_threadsafe(time.sleep, 0.5)  # so that none of them is taken
    time.sleep(0.1)
    waiting = [server.connect() for _ in range(50)]
    server.stop()
    for connection in waiting:
        connection.sendall(GET + b"\r\n")
    for connection in waiting:
        assert answer(connection)[0] == 200
        connection.close()


def test_the_default_time_for_headers_is_short():
    assert 0 < Limits().header_seconds <= 10 and Limits().connections <= 4096
