"""A server refuses with a status and one sentence, and goes on."""

import asyncio
import json
import os
import shutil
import time
from types import SimpleNamespace

import numpy as np
import pytest

from rearec_jax.errors import UserError
from rearec_jax.serve.api import MOST_SEARCHES
from rearec_jax.serve.models import Models
from rearec_jax.serve.state import Service
from rearec_jax.serve.warm_model import Served
from tests.serve.conftest import LIMITS, Client, write

GOOD = {"histories": [["i1"]]}
SEVERAL = {"histories": [["i1"], ["i2"], ["i3"]]}


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/recommend", b"{", 400, "the body must be a JSON object"),
        ("/recommend", b"", 400, "the body must be a JSON object"),
        ("/recommend", b"[1]", 400, "the body must be a JSON object"),
        ("/recommend", b'{"histories": [["\\ud800"]]}', 400, "the body must be a JSON object"),
        ("/recommend", b'{"histories": [["i1", NaN]]}', 400, "with finite numbers only"),
        ("/recommend", b'{"histories": [[Infinity]]}', 400, "with finite numbers only"),
        ("/recommend", b'{"histories": [[1e999]]}', 400, "with finite numbers only"),
        ("/recommend", b'{"histories": [[-1e999]]}', 400, "with finite numbers only"),
        (
            "/recommend",
            b'{"histories": [[' + b"9" * 300 + b"e99]]}",
            400,
            "with finite numbers only",
        ),
        ("/explain", b'{"history": [-Infinity]}', 400, "with finite numbers only"),
        ("/explain", b'{"history": [], "exclude": [NaN]}', 400, "with finite numbers only"),
        ("/explain", b'{"history": [], "candidates": [NaN]}', 400, "with finite numbers only"),
        ("/explain", b'{"history": [], "k": NaN}', 400, "with finite numbers only"),
        ("/recommend", {}, 422, "the field 'histories' is missing"),
        ("/recommend", {"histories": "i1"}, 422, "histories: Input should be a valid array"),
        (
            "/recommend",
            {"histories": [[None]]},
            422,
            "histories.0.0: Input should be a valid string",
        ),
        ("/recommend", GOOD | {"k": 0}, 422, "k: Input should be greater than or equal to 1"),
        ("/recommend", GOOD | {"k": 21}, 422, "k is 21; this server takes at most 20"),
        ("/recommend", GOOD | {"k": 1.5}, 422, "k: Input should be a valid integer"),
        ("/recommend", GOOD | {"steps": 3}, 422, "steps is 3; it must lie between 0 and the 2"),
        ("/recommend", GOOD | {"tops": 3}, 422, "unknown field 'tops'"),
        (
            "/recommend",
            GOOD | {"model": "two"},
            422,
            "no model is named 'two'; there are one, cloze",
        ),
        ("/recommend", GOOD | {"exclude": ["x"]}, 422, "exclude: no item has the id 'x'"),
        ("/recommend", GOOD | {"candidates": []}, 422, "candidates is empty"),
        ("/recommend", {"histories": [["x"]], "unknown": "error"}, 422, "no item has the id 'x'"),
        ("/recommend", {"histories": [[]] * 9}, 422, "histories is 9 entries; this server takes"),
        ("/explain", {"history": ["i1"] * 301}, 422, "a history is 301 entries"),
        ("/explain", GOOD, 422, "the field 'history' is missing"),
        ("/recommend", b" " * 20_001, 413, "the body is 20001 bytes; at most 20000 are read"),
        ("/models", {}, 405, "this page has another method"),
        ("/items?limit=0", None, 422, "limit: Input should be greater than or equal to 1"),
        ("/items?model=two", None, 422, "no model is named 'two'"),
        ("/items?model=", None, 422, "model: String should have at least 1 character"),
        ("/samples?model=", None, 422, "model: String should have at least 1 character"),
        ("/recommend", GOOD | {"model": ""}, 422, "model: String should have at least 1 character"),
        ("/models/", None, 404, "there is no such page"),
        ("/static", None, 404, "there is no such page"),
        ("/nothing", None, 404, "there is no such page"),
    ],
)
def test_mistakes(client, path, body, status, said):
    answer = client.ask(path, body)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert said in answer.json()["error"]


LONG = "9" * 4000


@pytest.mark.parametrize(
    "field",
    [
        f'"k": {LONG}',
        f'"k": -{LONG}',
        f'"k": {LONG * 2}',
        f'"steps": {LONG}',
        f'"k": "{LONG}"',
        f'"{LONG}": 1',
        f'"model": "{LONG}"',
        f'"unknown": "{LONG}"',
        f'"exclude": ["{LONG}"]',
        f'"exclude": [{LONG}]',
        f'"exclude": [{{"{LONG}": 1}}]',
        f'"candidates": ["{LONG}"]',
    ],
)
def test_long_values_of_requests_are_not_echoed_whole(client, field):
    answer = client.ask("/recommend", f'{{"histories": [["i1"]], {field}}}'.encode())
    assert answer.status_code in (400, 422) and len(answer.json()["error"]) < 300


@pytest.mark.parametrize(
    "path", ["/items?limit=", "/items?q=", "/samples?model=", "/samples?limit=x"]
)
def test_nor_are_those_of_a_query(client, path):
    answer = client.ask(path + LONG)
    assert answer.status_code == 422 and len(answer.json()["error"]) < 300


def test_ids_that_look_like_numbers_that_are_none(client):
    body = {"histories": [["NaN", "Infinity", "1e999", 17, 1.5, "i1"]]}
    (found,) = client.ask("/recommend", body).json()["results"]
    assert found["unknown"] == ["NaN", "Infinity", "1e999", "17", "1.5"]


def test_whole_numbers_may_be_written_as_others_write_them(client):
    """JSON has one kind of number, and JSON Schema calls 3.0 an integer."""
    first, second = (client.ask("/recommend", GOOD | {"k": k, "steps": k - 2}) for k in (3, 3.0))
    assert first.status_code == 200 and first.json() == second.json()
    for wrong in ("3", True, 3.5, [3]):
        assert client.ask("/recommend", GOOD | {"k": wrong}).status_code == 422
        assert client.ask("/recommend", GOOD | {"steps": wrong}).status_code == 422


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},  # what a form of another site may send unasked
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": "text/plain; application/json"},
        {"content-type": "application/json; charset=latin-1"},
        {"content-type": ""},
        {"content-encoding": "gzip"},
        {"content-encoding": "deflate, gzip"},
    ],
)
@pytest.mark.parametrize("path", ["/recommend", "/explain"])
def test_bodies_are_json_and_nothing_else(client, path, headers):
    raw = json.dumps(GOOD if path == "/recommend" else {"history": []}).encode()
    answer = client.ask(path, raw, headers=headers)
    assert answer.status_code == 415 and list(answer.json()) == ["error"]
    for good in ("application/json", 'Application/JSON; charset="UTF-8"'):
        headers = {"content-type": good, "content-encoding": "identity"}
        assert client.ask(path, raw, headers=headers).status_code == 200


HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("evil.example", "this server is not called evil.example; --allowed_hosts=NAME permits"),
        ("evil.example:8000", "this server is not called evil.example"),
        ("localhost.evil.example", "not called"),
        ("127.0.0.1.evil.example", "not called"),
        ("evil.example#localhost", "must be one name"),
        ("evil.example@localhost", "must be one name"),
        ("localhost:8000:9000", "must be one name"),
        ("", "must be one name"),
        ("[::2]:8000", "not called"),
        ("0.0.0.0", "not called"),
        ("LocalHost:8000", None),
        ("127.0.0.1", None),
        ("[::1]:8000", None),
    ],
)
@pytest.mark.parametrize("path", ["/samples", "/", "/health"])
def test_only_its_own_names_are_answered(limited, host, said, path):
    answer = limited(hosts=HOSTS).ask(path, headers={"host": host})
    if said is None:
        assert answer.status_code == 200
    else:
        assert answer.status_code == 400 and said in answer.json()["error"]


def test_a_body_of_untold_length_is_not_read_for_ever(client):
    async def endless():
        for _ in range(100):
            yield b" " * 1000

    async def ask():
        return await client.http.post("/recommend", content=endless())

    answer = client.loop.run_until_complete(ask())
    assert answer.status_code == 413 and "larger than 20000" in answer.json()["error"]


def test_a_full_queue_is_said_and_recovers(limited, blocked):
    client = limited(waiting=4)

    async def ask():
        first = asyncio.create_task(client.asking("/recommend", GOOD))
        while not client.service.workers.batched._thread.is_alive() or len(
            client.service.workers.batched
        ):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)  # the thread has taken it
        waiting = asyncio.create_task(client.asking("/recommend", SEVERAL))
        await asyncio.sleep(0.05)
        refused = await client.asking("/recommend", SEVERAL)
        blocked.set()
        return refused, await first, await waiting

    refused, first, waiting = client.loop.run_until_complete(ask())
    assert refused.status_code == 429 and "too many requests wait" in refused.json()["error"]
    assert refused.headers["retry-after"] == "1"
    assert first.status_code == waiting.status_code == 200


def test_a_request_that_takes_too_long_is_given_up(limited, blocked):
    client = limited(seconds=0.5)

    async def ask():
        late = await asyncio.gather(*(client.asking("/recommend", GOOD) for _ in range(3)))
        blocked.set()
        await asyncio.sleep(0.05)
        return late, await client.asking("/recommend", GOOD)

    late, after = client.loop.run_until_complete(ask())
    assert {answer.status_code for answer in late} == {504}
    assert after.status_code == 200 and client.service.workers.waiting == 0


def test_a_failing_batch_is_one_500_and_the_server_goes_on(limited, client, monkeypatch, caplog):
    own = limited()

    def fail(*arguments):
        raise RuntimeError("out of memory")

    served = client.service.models.default.current.served
    with monkeypatch.context() as changed:
        changed.setitem(served.__dict__, "rank_batch", fail)
        answer = own.ask("/recommend", GOOD)
    assert answer.status_code == 500 and "out of memory" not in answer.text
    assert "out of memory" in caplog.text
    assert own.ask("/recommend", GOOD).status_code == 200


def test_the_key(limited):
    client = limited(key="sésame")
    key = "sésame".encode()
    for headers in ({}, {"X-API-Key": "x"}, {"Authorization": "Basic x"}):
        answer = client.ask("/models", headers=headers)
        assert answer.status_code == 401 and "API key" in answer.json()["error"]
    for headers in ({b"X-API-Key": key}, {b"Authorization": b"Bearer " + key}):
        assert client.ask("/models", headers=headers).status_code == 200
    for path in ("/", "/static/page.css", "/health", "/ready", "/docs"):
        assert client.ask(path).status_code == 200
    assert client.ask("/recommend", GOOD).status_code == 401
    assert client.ask("/metrics").status_code == 401


def test_reasons_are_told_to_who_has_the_key(limited, monkeypatch):
    place = limited().service.models.default
    monkeypatch.setattr(place, "problem", "/home/me/models/table.npy is damaged")
    client, key = limited(key="secret"), {"X-API-Key": "secret"}
    for ready in (True, False):
        monkeypatch.setattr(place, "is_ready", ready)
        stranger = client.ask("/ready")
        assert stranger.status_code == (200 if ready else 503)
        assert "the reason is told to requests that show the API key" in stranger.text
        assert "table.npy" not in stranger.text
        assert "table.npy is damaged" in client.ask("/ready", headers=key).text
        assert "table.npy is damaged" in limited().ask("/ready").text


def test_a_stopping_server_takes_nothing_new(limited):
    client = limited()
    client.guard.is_stopping = True
    answer = client.ask("/models")
    assert answer.status_code == 503 and answer.headers["connection"] == "close"


def test_too_many_searches(limited):
    client = limited()
    client.service.searches = MOST_SEARCHES
    assert client.ask("/items?q=a").status_code == 429
    client.service.searches = 0
    assert client.ask("/items?q=a").status_code == 200 and client.service.searches == 0


def test_a_model_that_cannot_be_compiled_may_be_replaced(exported, tmp_path, monkeypatch):
    shutil.copytree(exported / "one", tmp_path / "one")
    models, said = Models([str(tmp_path / "one")], LIMITS), []
    with monkeypatch.context() as patch:
        patch.setattr(Served, "warm_up", lambda self: 1 / 0)
        models.compile(said.append)
    client = Client(Service(models, LIMITS))
    answer = client.ask("/ready")
    assert answer.status_code == 503 and "division by zero" in answer.json()["error"]
    assert "cannot be used: division by zero" in said[0]
    monkeypatch.setattr(Served, "warm_up", lambda self: None)
    write(tmp_path / "new", seed=1)
    shutil.rmtree(tmp_path / "one")
    os.replace(tmp_path / "new", tmp_path / "one")
    models._look(models.default, said.append)
    assert "is replaced by" in said[1] and client.ask("/ready").status_code == 200
    client.close()


@pytest.fixture
def watched(exported, tmp_path, monkeypatch):
    """A served model beside `new`, nothing compiled; `clock.now` is the time."""
    monkeypatch.setattr(Served, "warm_up", lambda self: None)
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(
        "rearec_jax.serve.models.time",
        SimpleNamespace(monotonic=lambda: clock.now, perf_counter=time.perf_counter),
    )
    shutil.copytree(exported / "one", tmp_path / "old")
    shutil.copytree(exported / "one", tmp_path / "new")
    (tmp_path / "current").symlink_to("old")
    models = Models([str(tmp_path / "current")], LIMITS)
    models.compile(lambda text: None)
    return models, clock, tmp_path


def point_to(place, target):
    (place / "next").symlink_to(target)
    os.replace(place / "next", place / "current")


def test_what_was_half_there_is_tried_again(watched):
    models, clock, place = watched
    (place / "new" / "table.npy").rename(place / "table.npy")
    point_to(place, "new")
    said, tries = [], []
    for second in range(200):
        models._look(models.default, said.append)
        if len(said) > len(tries):
            tries.append(second)
        clock.now += 1
    assert tries == [0, 30, 90] and all("table.npy cannot be read" in one for one in said)
    (place / "table.npy").rename(place / "new" / "table.npy")
    clock.now += 480
    models._look(models.default, said.append)
    assert "is replaced by" in said[-1]
    assert models.default.problem is None and models.default.refused is None


def test_a_refusal_ends_when_what_was_refused_is_gone(watched):
    models, _, place = watched
    (place / "new" / "table.npy").unlink()
    point_to(place, "new")
    models._look(models.default, lambda text: None)
    assert models.default.problem and models.default.refused
    point_to(place, "old")
    models._look(models.default, lambda text: None)
    assert models.default.problem is None and models.default.refused is None


@pytest.mark.parametrize("gone", ["directory", "link", "files"])
def test_a_refusal_ends_when_the_directory_is_gone(watched, gone):
    models, _, place = watched
    (place / "new" / "table.npy").unlink()
    point_to(place, "new")
    models._look(models.default, lambda text: None)
    assert models.default.problem
    if gone == "link":
        (place / "current").unlink()
    else:
        shutil.rmtree(place / "new")
        if gone == "files":
            (place / "new").mkdir()
    models._look(models.default, lambda text: None)
    assert models.default.problem is None and models.default.refused is None


def test_a_model_that_could_not_be_compiled_is_tried_again(watched, monkeypatch):
    models, clock, _ = watched
    models.default.is_ready = False
    with monkeypatch.context() as patch:
        patch.setattr(Served, "warm_up", lambda self: 1 / 0)
        models.compile(lambda text: None)
        models._look(models.default, lambda text: None)
    models._look(models.default, lambda text: None)
    assert not models.are_ready and models.default.problem == "division by zero"
    clock.now += 30
    models._look(models.default, lambda text: None)
    assert models.are_ready and models.default.problem is None


def test_a_directory_whose_name_is_no_text(exported, tmp_path):
    """Linux permits any bytes; JSON does not."""
    path = os.fsdecode(os.fsencode(tmp_path) + b"/mod\xe9l")
    os.symlink(exported / "one", path)
    models = Models([path], LIMITS)
    models.default.refuse(None, UserError(f"{path} is damaged"))
    client = Client(Service(models, LIMITS))
    try:
        assert [one["name"] for one in client.ask("/models").json()["models"]] == ["mod?l"]
        assert client.ask("/openapi.json").status_code == client.ask("/docs").status_code == 200
        answer = client.ask("/ready")
        assert answer.status_code == 503 and "mod?l is damaged" in answer.json()["error"]
        assert client.ask("/items?model=mod%3Fl").status_code == 200
    finally:
        client.close()
    os.unlink(path)
    shutil.copytree(exported / "one", path)
    with pytest.raises(UserError, match=r"items.parquet cannot be read: .* surrogates not allowed"):
        Models([path], LIMITS)


def test_no_model_no_server(tmp_path):
    with pytest.raises(UserError, match=r"is missing"):
        Models([], LIMITS)
    with pytest.raises(UserError, match=r"does not exist"):
        Models([str(tmp_path / "nothing")], LIMITS)


VALUES = (
    None,
    True,
    -1,
    0,
    3,
    10**30,
    1.5,
    "",
    "i1",
    "\x00",
    "ï" * 50,
    [],
    [[]],
    {},
    [["i1"]],
    ["i1"],
)
FIELDS = ("histories", "history", "k", "steps", "exclude_seen", "exclude", "candidates", "unknown")


def malformed(rng):
    """Returns a request that is wrong in some way, or nearly wrong."""
    body = {str(rng.choice(FIELDS)): VALUES[rng.integers(len(VALUES))] for _ in range(3)}
    if rng.integers(2):
        body.setdefault("histories" if rng.integers(2) else "history", [["i1"]])
    raw = bytearray(json.dumps(body).encode())
    for _ in range(rng.integers(3)):
        raw[rng.integers(len(raw))] = rng.integers(256)
    return bytes(raw[: rng.integers(1, len(raw) + 1)] if rng.integers(3) == 0 else raw)


def test_nothing_that_is_sent_makes_it_fail(client):
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(300):
        answer = client.ask("/recommend" if rng.integers(2) else "/explain", malformed(rng))
        assert answer.status_code in (200, 400, 422), answer.text
        assert answer.status_code == 200 or list(answer.json()) == ["error"]
        seen.add(answer.status_code)
    assert {400, 422} <= seen
    assert client.number("rearec_batch_failures_total") == 0
