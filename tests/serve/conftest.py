"""Tiny models on disk, and a service of them that is called without a socket."""

import asyncio
from collections.abc import Iterator
import dataclasses
from typing import Any

import httpx
import numpy as np
import pytest

from rearec_jax.recommend import export, trained
from rearec_jax.recommend.recommender import Recommender
from rearec_jax.recommend.samples import Sample
from rearec_jax.serve.guard import Guard
from rearec_jax.serve.limits import Limits
from rearec_jax.serve.models import Models
from rearec_jax.serve.server import guarded
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

    def __init__(self, service: Service, key: str = ""):
        self.service = service
        self.guard: Guard = guarded(service, key)
        self.loop = asyncio.new_event_loop()
        transport = httpx.ASGITransport(self.guard)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://test")

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
    """Makes a client of the same compiled models with other limits or a key."""
    made: list[Client] = []

    def make(key: str = "", **limits: Any) -> Client:
        service = Service(client.service.models, dataclasses.replace(LIMITS, **limits))
        made.append(Client(service, key))
        return made[-1]

    yield make
    for one in made:
        one.close()


def close(numbers: Any, others: Any) -> None:
    np.testing.assert_allclose(numbers, others, rtol=1e-4, atol=1e-5)
