"""What hostile clients cost a server (--mode=serve), as JSON: its memory, and how fast it answers.

    python -m benchmarks.hostile_clients                    # a generated model like Beauty's, D=256
    python -m benchmarks.hostile_clients --load=runs/beauty

Starts the server and attacks it in turns: headers of 300 MB and 20,000 headers, connections that
stay half open, headers and bodies a byte at a time, and names that a page elsewhere made lead here.
Meanwhile another process asks GET /health on a new connection every 20 ms: `health_ms`, and
`failed` is how many of these got no 200. `rss_mib` is the server's resident memory from /proc,
before an attack, at its highest meanwhile, and two seconds after it; `growth` compares the first
and the last. `own_delay_ms` is how late that process itself woke at worst: what other work on the
machine adds to the slowest answer.
"""

import argparse
import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
import contextlib
import http.client
import json
import multiprocessing
from multiprocessing.synchronize import Event
from pathlib import Path
import resource
import socket
import tempfile
import time
from typing import Any

import numpy as np

from benchmarks import generated
from benchmarks.serve_load import Server, generated_model

HEAD = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /recommend HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
EVERY = 0.02  # seconds between two questions of the other process
HOSTS = ("evil.example", "localhost.evil.example", "10.0.0.1:8000", "127.0.0.1@evil.example", "")
OWN = ("localhost", "127.0.0.1:8000", "[::1]:80")


def main() -> None:
    """Runs the attacks and prints one JSON object."""
    arguments = _arguments()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(arguments.load or generated_model(Path(scratch) / "m", arguments))
        server = Server(model)
        try:
            rows = [measured(server, *attack) for attack in attacks(server.port, arguments)]
        finally:
            server.process.kill()
    print(
        json.dumps(
            {"benchmark": "hostile_clients", **generated.machine(), "attacks": rows}, indent=2
        )
    )


def attacks(
    port: int, arguments: argparse.Namespace
) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """Yields names and attacks, each of which returns what came of it."""
    header = HEAD + b"X-A: "
    trailer = POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-A: "
    many = HEAD + b"".join(b"X-%d: a\r\n" % number for number in range(20_000)) + b"\r\n"
    size, clients, seconds = arguments.megabytes * 10**6, arguments.connections, arguments.seconds
    slow_body = POST + b"Content-Length: 100000\r\n\r\n"
    yield "none", lambda: time.sleep(5) or {}
    yield "one header", lambda: flood(port, header, b"a" * 2**20, size)
    yield "one trailer", lambda: flood(port, trailer, b"a" * 2**20, size)
    yield "20,000 headers, 50 times", lambda: dict(Counter(_status(port, many) for _ in range(50)))
    yield "half open", lambda: asyncio.run(held(port, HEAD, clients, None, seconds))
    yield "silent", lambda: asyncio.run(held(port, b"", clients, None, seconds))
    yield "slow headers", lambda: asyncio.run(held(port, HEAD, clients, b"a", seconds))
    yield "slow bodies", lambda: asyncio.run(held(port, slow_body, clients, b" ", seconds))
    yield "other names", lambda: names(port)


def measured(server: Server, name: str, attack: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Runs an attack beside a process that asks for /health; returns what both saw."""
    context = multiprocessing.get_context("spawn")
    asked, told = context.Pipe()
    begun, ended = context.Event(), context.Event()
    pid = server.process.pid
    watch = context.Process(target=watching, args=(told, (begun, ended), server.port, pid))
    watch.start()
    begun.wait()
    before, started = resident(pid), time.perf_counter()
    outcome = attack()
    took = time.perf_counter() - started
    time.sleep(2)
    after = resident(pid)
    ended.set()
    times, delays, failed, peak = asked.recv()
    watch.join()
    return {
        "attack": name,
        "s": round(took, 1),
        "rss_mib": {
            "before": round(before, 1),
            "highest": round(peak, 1),
            "after": round(after, 1),
        },
        "growth": round(after / before - 1, 4),
        "growth_meanwhile": round(peak / before - 1, 4),
        "health_ms": {
            "p50": round(float(np.median(times)), 2),
            "p99": round(float(np.percentile(times, 99)), 2),
            "slowest": round(max(times), 2),
        },
        "own_delay_ms": round(max(delays), 2),
        "asked": len(times),
        "failed": failed,
        **outcome,
    }


def watching(told: Any, events: tuple[Event, Event], port: int, pid: int) -> None:
    """Asks for /health until the second event; sends times and own delays in ms, and the rest."""
    times, delays, failed, peak = [], [], 0, 0.0
    begun, ended = events
    while not ended.is_set():
        started = time.perf_counter()
        try:
            failed += _status(port, HEAD + b"\r\n") != "200"
        except OSError:
            failed += 1
        times.append(1000 * (time.perf_counter() - started))
        peak = max(peak, resident(pid))
        begun.set()
        started = time.perf_counter()
        time.sleep(EVERY)
        delays.append(1000 * (time.perf_counter() - started - EVERY))
    told.send((times, delays, failed, peak))


def resident(pid: int) -> float:
    """Returns the resident memory of a process in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (found,) = (line.split()[1] for line in lines if line.startswith("VmRSS"))
    return int(found) / 1024


def flood(port: int, head: bytes, piece: bytes, size: int) -> dict[str, Any]:
    """Sends ``size`` bytes after ``head`` where the server takes them; returns how it ended."""
    sent = 0
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(head)
        try:
            while sent < size:
                connection.sendall(piece)
                sent += len(piece)
            end = "all sent"
        except ConnectionError as error:
            end = type(error).__name__
    return {"sent_mb": round(sent / 1e6, 1), "end": end}


async def held(
    port: int, head: bytes, clients: int, drop: bytes | None, seconds: float
) -> dict[str, Any]:
    """Opens connections that send ``head``, and then a ``drop`` now and then.

    Returns how many were still open after ``seconds``, the time of the last end, and the answers.
    """
    loop, statuses, started = asyncio.get_running_loop(), Counter(), time.perf_counter()
    ends: list[float] = []

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head)
        reading = asyncio.ensure_future(reader.read())
        with contextlib.suppress(ConnectionError):
            while not reading.done():
                await asyncio.wait([reading], timeout=0.5)
                if drop and not reading.done():
                    writer.write(drop)
            said = await reading
            statuses[said[9:12].decode() or "no answer"] += 1
        ends.append(time.perf_counter() - started)
        writer.close()

    tasks = [loop.create_task(one()) for _ in range(clients)]
    done, late = await asyncio.wait(tasks, timeout=seconds)
    for task in late:
        task.cancel()
    for task in done:
        task.result()
    await asyncio.gather(*late, return_exceptions=True)
    last = round(max(ends), 1) if ends else None
    return {"connections": clients, "still_open": len(late), "last_end_s": last} | statuses


def names(port: int) -> dict[str, Any]:
    """Returns the statuses of answers to other names, and to the server's own."""
    ask = "GET /samples HTTP/1.1\r\nHost: {}\r\n\r\n"
    return {
        "others": {host: _status(port, ask.format(host).encode()) for host in HOSTS},
        "own": {host: _status(port, ask.format(host).encode()) for host in OWN},
    }


def _status(port: int, sent: bytes) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(sent)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        answer.read()
        return str(answer.status)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--load", default="", help="a work directory or an export")
    parser.add_argument("--items", type=int, default=generated.ITEMS, help="without --load")
    parser.add_argument("--width", type=int, default=256, help="without --load")
    parser.add_argument("--megabytes", type=int, default=300, help="of the one header")
    parser.add_argument("--connections", type=int, default=1100, help="that are held open")
    parser.add_argument("--seconds", type=float, default=40.0, help="for which they are held")
    return parser.parse_args()


if __name__ == "__main__":
    main()
