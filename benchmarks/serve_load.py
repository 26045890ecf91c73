"""What a server (--mode=serve) bears, as JSON: latency at a low rate, requests a second, its end.

    python -m benchmarks.serve_load                       # a generated model like Beauty's, D=256
    python -m benchmarks.serve_load --load=runs/beauty    # a run or an export
    python -m benchmarks.serve_load --minutes=10          # also long, with memory and errors

Starts the server itself and asks it from this process: one history a request, the ten best out.
`latency`: --rate requests a second, whatever the answers take; `inside` is the server's own
clock: milliseconds, and the share of answers that took no longer than so many. `saturation`: so
many connections that each ask again when they are answered, depths in turns, round after round.
`fuzz`: malformed requests. `end`: SIGTERM under that load; `cut_off` are requests whose answer did
not come whole.
"""

import argparse
import asyncio
import json
from pathlib import Path
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any, NamedTuple
import urllib.request

import jax
import numpy as np
import polars as pl

from benchmarks import generated
from benchmarks.arguments import numbers
from benchmarks.evaluation import over_first
from rearec_jax.models import backbones
from rearec_jax.recommend import export, trained
from rearec_jax.recommend.items import Items, load_items
from rearec_jax.recommend.recommender import Recommender
from rearec_jax.serve.counters import SECONDS

STEPS = 2  # of the generated model
REQUESTS = 4000  # different ones


def main() -> None:
    """Runs the phases and prints one JSON object."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(arguments.load or generated_model(Path(scratch) / "m", arguments))
        requests = _requests(arguments, model)
        started = time.perf_counter()
        server = Server(model)
        ready = time.perf_counter() - started
        try:
            result = {
                "benchmark": "serve_load",
                **generated.machine(),
                "s_to_ready": round(ready, 1),
            }
            result |= asyncio.run(_phases(arguments, server, requests))
        finally:
            server.process.kill()
    print(json.dumps(result, indent=2))


class Server:
    """--mode=serve in a process of its own, ready to be asked."""

    def __init__(self, model: Path, *options: str):
        command = [sys.executable, "-m", "rearec_jax.main", "--mode=serve", f"--runs={model}"]
        command += ["--port=0", *options]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        self.port = 0
        for line in self.process.stderr:
            if found := re.search(r"listening at http://127.0.0.1:(\d+)", line):
                self.port = int(found[1])
            if "is ready" in line:
                return
        raise SystemExit("the server has ended")

    def last_words(self) -> str:
        """Of a server that has ended: how many requests it answered, of how many."""
        assert self.process.stderr is not None
        return self.process.stderr.read().strip().splitlines()[-1]

    def clock(self) -> dict[str, float]:
        """Seconds in all, and how many answers to /recommend took at most so many milliseconds."""
        name, path = "rearec_request_seconds", 'path="/recommend"'
        buckets = {
            f"{1000 * bound:g}": rf'{name}_bucket\{{le="{bound:g}",{path}\}}' for bound in SECONDS
        }
        asked = {"seconds": rf"{name}_sum\{{{path}\}}", "all": rf"{name}_count\{{{path}\}}"}
        asked |= buckets
        return dict(zip(asked, self.numbers(*asked.values()), strict=True))

    def numbers(self, *metrics: str) -> list[float]:
        """Of GET /metrics; labels are added up."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return [
            sum(float(line.split()[-1]) for line in lines if re.match(rf"{name}[ {{]", line))
            for name in metrics
        ]


class Outcome(NamedTuple):
    """Of requests that were sent. seconds: of the answered ones; statuses: how often each."""

    seconds: list[float]
    statuses: dict[int, int]
    cut_off: int
    wall: float


class Connection(asyncio.Protocol):
    """One keep-alive connection, one request at a time; as little work as a client can do."""

    def __init__(self) -> None:
        self._buffer = b""
        self._answer: asyncio.Future[int] | None = None

    def connection_made(self, transport: Any) -> None:
        """Keeps the transport."""
        self._transport = transport

    def ask(self, request: bytes) -> "asyncio.Future[int]":
        """The status of the answer; ConnectionError where it does not come whole."""
        self._answer = asyncio.get_running_loop().create_future()
        if self._transport.is_closing():
            self._answer.set_exception(ConnectionRefusedError())
        self._transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        """Bytes of an answer."""
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        if len(self._buffer) >= end + 4 + length and self._answer and not self._answer.done():
            self._buffer = self._buffer[end + 4 + length :]
            if b"\r\nconnection: close" in head:  # a request sent after this would not be read
                self._transport.close()
            self._answer.set_result(int(head[9:12]))

    def connection_lost(self, exc: Exception | None) -> None:
        """A request that waits for its answer is cut off."""
        if self._answer and not self._answer.done():
            self._answer.set_exception(ConnectionResetError())


async def _phases(
    arguments: argparse.Namespace, server: Server, requests: dict[int, list[bytes]]
) -> dict[str, Any]:
    deepest = requests[max(requests)]
    result: dict[str, Any] = {}
    await _closed(server, deepest, 8, 2.0)  # warm sockets, threads and caches
    compiled = server.numbers("rearec_compilations_total")
    before = server.clock()
    slow = await _open(server, deepest, arguments.rate, arguments.seconds)
    result["latency"] = {"a_second": arguments.rate, **_told(slow)}
    result["latency"]["inside"] = _inside(before, server.clock())
    result["saturation"] = await _saturation(arguments, server, requests)
    if arguments.minutes:
        result["long"] = await _long(arguments, server, deepest)
    result["fuzz"] = await _fuzz(server, arguments.malformed)
    result["compiled_while_serving"] = server.numbers("rearec_compilations_total")[0] - compiled[0]
    load = asyncio.create_task(_closed(server, deepest, arguments.connections, 60.0))
    await asyncio.sleep(1.0)
    started = time.perf_counter()
    server.process.send_signal(signal.SIGTERM)
    code = await asyncio.to_thread(server.process.wait, 30)
    outcome = await load
    result["end"] = {"exit_code": code, "s": round(time.perf_counter() - started, 2)}
    result["end"] |= _told(outcome) | {"said": server.last_words()}
    return result


async def _saturation(
    arguments: argparse.Namespace, server: Server, requests: dict[int, list[bytes]]
) -> list[dict[str, Any]]:
    depths = [steps for steps in arguments.steps if steps in requests]
    found: dict[int, list[Outcome]] = {steps: [] for steps in depths}
    for number in range(arguments.rounds):
        for steps in depths if number % 2 else depths[::-1]:
            outcome = await _closed(
                server, requests[steps], arguments.connections, arguments.seconds
            )
            found[steps].append(outcome)
    times = {
        steps: [one.wall / len(one.seconds) for one in outcomes]
        for steps, outcomes in found.items()
    }
    ratios = over_first(times)
    rows = []
    for steps, outcomes in found.items():
        middle = sorted(outcomes, key=lambda one: len(one.seconds) / one.wall)[len(outcomes) // 2]
        rates = [len(one.seconds) / one.wall for one in outcomes]
        rows.append(
            {
                "steps": steps,
                "connections": arguments.connections,
                "requests_per_second": round(statistics.median(rates), 1),
                "over_no_reasoning": ratios[steps],
                **_told(middle),
            }
        )
    return rows


async def _long(
    arguments: argparse.Namespace, server: Server, requests: list[bytes]
) -> dict[str, Any]:
    load = asyncio.create_task(
        _closed(server, requests, arguments.connections, 60.0 * arguments.minutes)
    )
    resident = []
    while not load.done():
        resident.append(
            (await asyncio.to_thread(server.numbers, "rearec_resident_bytes"))[0] / 2**20
        )
        await asyncio.wait([load], timeout=5)
    kept = resident[len(resident) // 5 :]  # after the first fifth
    return {
        "minutes": arguments.minutes,
        **_told(load.result()),
        "resident_mib": {"first": round(resident[0]), "last": round(resident[-1])},
        "growth_mib_after_a_fifth": round(kept[-1] - kept[0], 1),
    }


async def _closed(
    server: Server, requests: list[bytes], connections: int, seconds: float
) -> Outcome:
    """Each connection asks again when it is answered, until the time is over or nobody listens."""
    loop, until = asyncio.get_running_loop(), time.perf_counter() + seconds
    times: list[float] = []
    statuses: dict[int, int] = {}
    cut_off = 0

    async def one(number: int) -> None:
        nonlocal cut_off
        turn = number
        while time.perf_counter() < until:
            try:
                transport, connection = await loop.create_connection(
                    Connection, "127.0.0.1", server.port
                )
            except OSError:
                return
            try:
                while time.perf_counter() < until and not transport.is_closing():
                    started = time.perf_counter()
                    status = await connection.ask(requests[turn % len(requests)])
                    times.append(time.perf_counter() - started)
                    statuses[status] = statuses.get(status, 0) + 1
                    turn += connections
                    if status == 503:  # told to go elsewhere
                        return
            except ConnectionRefusedError:
                continue
            except ConnectionError:
                cut_off += 1
            finally:
                transport.close()

    started = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(connections)))
    return Outcome(times, statuses, cut_off, time.perf_counter() - started)


async def _open(server: Server, requests: list[bytes], rate: float, seconds: float) -> Outcome:
    """A request every 1 / rate seconds, each on a connection that is free."""
    loop = asyncio.get_running_loop()
    free: list[Connection] = []
    times: list[float] = []
    statuses: dict[int, int] = {}

    async def one(request: bytes) -> None:
        if free:
            connection = free.pop()
        else:
            _, connection = await loop.create_connection(Connection, "127.0.0.1", server.port)
        started = time.perf_counter()
        status = await connection.ask(request)
        times.append(time.perf_counter() - started)
        statuses[status] = statuses.get(status, 0) + 1
        free.append(connection)

    started, tasks = time.perf_counter(), []
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, started + number / rate - time.perf_counter()))
        tasks.append(asyncio.create_task(one(requests[number % len(requests)])))
    await asyncio.gather(*tasks)
    return Outcome(times, statuses, 0, time.perf_counter() - started)


async def _fuzz(server: Server, count: int) -> dict[str, Any]:
    """Bodies that are wrong in many ways; what counts is that each is answered, and none by 5xx."""
    drawn = random.Random(0)
    values = (None, True, -1, 10**30, 1.5, "", "x", "\x00", [], [[]], {}, [["x"]], [[[]]])
    names = ("histories", "history", "k", "steps", "exclude", "candidates", "unknown", "model")
    requests = []
    for _ in range(count):
        body: Any = {drawn.choice(names): drawn.choice(values) for _ in range(3)}
        raw = bytearray(json.dumps(body if drawn.random() < 0.9 else drawn.choice(values)).encode())
        for _ in range(drawn.randrange(4)):
            raw[drawn.randrange(len(raw))] = drawn.randrange(256)
        requests.append(_request(bytes(raw), drawn.choice(("/recommend", "/explain", "/models"))))
    statuses: dict[int, int] = {}
    _, connection = await asyncio.get_running_loop().create_connection(
        Connection, "127.0.0.1", server.port
    )
    for request in requests:
        status = await connection.ask(request)
        statuses[status] = statuses.get(status, 0) + 1
    return {"requests": count, "statuses": statuses}


def _told(outcome: Outcome) -> dict[str, Any]:
    p50, p90, p99 = np.percentile(outcome.seconds, [50, 90, 99]) * 1000
    return {
        "ms": {"p50": round(p50, 2), "p90": round(p90, 2), "p99": round(p99, 2)},
        "statuses": outcome.statuses,
        "cut_off": outcome.cut_off,
    }


def _inside(before: dict[str, float], after: dict[str, float]) -> dict[str, Any]:
    spent = {name: after[name] - before[name] for name in after}
    answers = spent.pop("all")
    mean = round(1000 * spent.pop("seconds") / answers, 2)
    return {"mean": mean, "within": {ms: round(n / answers, 3) for ms, n in spent.items()}}


def _requests(arguments: argparse.Namespace, model: Path) -> dict[int, list[bytes]]:
    """Depth -> requests of random items in sequences as long as Beauty's."""
    ids = load_items(model / "items.parquet").ids
    data = generated.like_beauty(REQUESTS, len(ids))
    raw = ids.gather(data.items).to_list()
    histories = [raw[a:b][-1000:] for a, b in zip(data.offsets, data.offsets[1:], strict=False)]
    return {
        steps: [
            _request(json.dumps({"histories": [history], "steps": steps}).encode(), "/recommend")
            for history in histories
        ]
        for steps in arguments.steps
    }


def _request(body: bytes, path: str) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def generated_model(path: Path, arguments: argparse.Namespace) -> Path:
    """Writes the export of a model with random parameters, of `items` and `width`."""
    config = generated.configuration(
        method__name="prl", method__steps=STEPS, model__width=arguments.width
    )
    model = backbones.build(config, arguments.items)
    variables = backbones.initialise(model, jax.random.key(0), None)
    ids = pl.Series([f"B{number:09}" for number in range(arguments.items)])
    titles = pl.Series([f"title {number}" for number in range(arguments.items)])
    items = Items(ids, titles, np.ones(arguments.items, np.int64))
    recommender = Recommender(trained.engine_of_model(config, variables, arguments.items), items)
    export.write(path, config, variables, recommender)
    return path


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--load", default="", help="a work directory or an export")
    parser.add_argument("--items", type=int, default=generated.ITEMS, help="without --load")
    parser.add_argument("--width", type=int, default=256, help="without --load")
    parser.add_argument("--steps", type=numbers, default=[0, STEPS], help="K; the first is 0")
    parser.add_argument("--rate", type=float, default=50.0, help="requests a second, latency")
    parser.add_argument("--connections", type=int, default=64, help="saturation")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=0.0, help="of the long run; 0 = none")
    parser.add_argument("--malformed", type=int, default=2000, help="requests of the fuzz")
    arguments = parser.parse_args()
    if arguments.steps[0] != 0:
        parser.error("--steps must begin with 0, what the others are compared with")
    return arguments


if __name__ == "__main__":
    main()
