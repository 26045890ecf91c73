"""Tiny models on disk, and a service of them that is called without a socket."""

import asyncio
from collections.abc import Iterator
import dataclasses
import signal
import socket
import threading
from typing import Any

import httpx
import numpy as np
import pytest

from rearec_jax.recommend import export, trained
from rearec_jax.recommend.recommender import Recommender
from rearec_jax.recommend.samples import Sample
from rearec_jax.serve.guard import Access, Guard
from rearec_jax.serve.limits import Limits
from rearec_jax.serve.models import Models
from rearec_jax.serve.server import guarded, listen, serving
from rearec_jax.serve.state import Service
from tests import tiny
from tests.recommend.test_recommender import ITEMS, catalogue

SAMPLES = (Sample(("i3", "i4"), "i5"), Sample(("i7",), "i9"))
LIMITS = Limits(body_bytes=20_000, histories=8, history=300, ids=20, k=20, waiting=16, users=2)


def write(path, seed=0, **changes) -> None:
    """Writes an export of a model with random parameters; another ``seed`` is another model."""
    config = tiny.config("rpe", model__layers=1, **changes)
    _, variables = tiny.build(config, ITEMS, seed)
    engine = trained.engine_of_model(config, variables, ITEMS)
    recommender = Recommender(engine, catalogue(), samples=SAMPLES)
    export.write(path, config, variables, recommender)


class Client:
    """Calls a service in this process; ``loop`` is the event loop that runs it."""

    def __init__(self, service: Service, key: str = "", hosts: frozenset[str] | None = None):
        self.service = service
        self.guard: Guard = guarded(service, key, hosts)
        self.loop = asyncio.new_event_loop()
        transport = httpx.ASGITransport(self.guard)
        self.http = httpx.AsyncClient(
            transport=transport,
            base_url="http://test",
            headers={"content-type": "application/json"},  # of bodies that are bytes
        )

    def ask(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        return self.loop.run_until_complete(self.asking(path, body, **options))

    async def asking(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        if isinstance(body, bytes):
            return await self.http.post(path, content=body, **options)
        if body is not None:
            return await self.http.post(path, json=body, **options)
        return await self.http.get(path, **options)

    def close(self) -> None:
        self.service.close()
        self.loop.close()

    def number(self, metric: str) -> float:
        lines = self.ask("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(metric))


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory):
    """Two models: `one` and, masking items, `cloze`."""
    place = tmp_path_factory.mktemp("served")
    write(place / "one")
    write(place / "cloze", model__backbone="bert4rec", train__objective="cloze")
    return place


@pytest.fixture(scope="session")
def client(exported) -> Iterator[Client]:
    models = Models([str(exported / name) for name in ("one", "cloze")], LIMITS)
    client = Client(Service(models, LIMITS))
    try:
        assert client.ask("/ready").status_code == 503
        assert client.ask("/recommend", {"histories": [["i1"]]}).status_code == 503
        models.compile(lambda text: None)
        yield client
    finally:
        client.close()


@pytest.fixture
def limited(client, monkeypatch) -> Iterator[Any]:
    """Makes a client of the same compiled models with other limits, a key or names."""
    made: list[Client] = []

    def make(key: str = "", hosts: frozenset[str] | None = None, **limits: Any) -> Client:
        service = Service(client.service.models, dataclasses.replace(LIMITS, **limits))
        made.append(Client(service, key, hosts))
        return made[-1]

    yield make
    for one in made:
        one.close()


class Live:
    """A server of a service at a port of this machine, in a thread."""

    def __init__(self, service: Service, hosts: frozenset[str] | None = None):
        self.service = service
        self.server = serving(service, Access(hosts=hosts))
        listening = listen("localhost", 0)
        self.port: int = listening.getsockname()[1]
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [listening]})
        self.thread.start()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def stop(self) -> None:
        """As SIGTERM does, but in this process."""
        self.server.handle_exit(signal.SIGTERM, None)

    def close(self) -> None:
        self.server.should_exit = self.server.force_exit = True
        self.thread.join(20)
        self.service.close()
        assert not self.thread.is_alive()


@pytest.fixture
def live(client) -> Iterator[Any]:
    """Makes servers of the same compiled models with other limits."""
    made: list[Live] = []

    def make(hosts: frozenset[str] | None = None, **limits: Any) -> Live:
        service = Service(client.service.models, dataclasses.replace(LIMITS, **limits))
        made.append(Live(service, hosts))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def blocked(client, monkeypatch) -> Iterator[threading.Event]:
    """An event before which the threads compute nothing."""
    go = threading.Event()
    served = client.service.models.default.current.served
    compute = served.rank_batch

    def wait(*arguments):
        assert go.wait(20)
        return compute(*arguments)

    monkeypatch.setitem(served.__dict__, "rank_batch", wait)
    yield go
    go.set()


def close(numbers: Any, others: Any) -> None:
    np.testing.assert_allclose(numbers, others, rtol=1e-4, atol=1e-5)
