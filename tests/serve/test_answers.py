"""The answers of the endpoints are the recommender's lists, whatever way they are computed."""

import asyncio
from types import SimpleNamespace
import unicodedata

import numpy as np
import polars as pl
from prometheus_client import generate_latest
import pytest

import rearec_jax
from rearec_jax.recommend.items import Items
from rearec_jax.serve.counters import counter, histogram
from rearec_jax.serve.limits import MOST_EXCLUDED
from rearec_jax.serve.search import Search
from tests.serve.conftest import SAMPLES, close

HISTORIES = [["i3", "i4"], ["i7"], [f"i{n}" for n in range(9)], ["i5", "i29", "i5"]]
LONG = [f"i{n % 30}" for n in range(280)]


@pytest.fixture(scope="module")
def recommenders(exported):
    return {name: rearec_jax.load(exported / name) for name in ("one", "cloze")}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("one", {}),
        ("one", {"k": 20}),
        ("one", {"k": 3, "steps": 0}),
        ("one", {"steps": 1, "exclude_seen": False}),
        ("one", {"exclude": ["i1", "i2"], "k": 5}),
        ("one", {"candidates": [f"i{n}" for n in range(0, 30, 2)]}),
        ("cloze", {}),
    ],
)
def test_recommend_is_what_the_recommender_says(client, recommenders, name, options):
    rec = recommenders[name]
    histories = [*HISTORIES, [], ["?", "i7"]]
    answer = client.ask("/recommend", {"histories": histories, "model": name, **options})
    assert answer.status_code == 200 and answer.json()["model"] == name
    for found, one in zip(
        answer.json()["results"], rec.recommend(histories, **options), strict=True
    ):
        assert found["ids"] == list(one.ids) and found["titles"] == list(one.titles)
        assert (found["by"], found["unknown"]) == (one.by, list(one.unknown))
        close(found["scores"], one.scores)


def test_many_requests_at_once_share_batches(client, recommenders):
    rec = recommenders["one"]
    rng = np.random.default_rng(0)
    asked = [[f"i{n}" for n in rng.integers(0, 30, rng.integers(1, 9))] for _ in range(14)]

    async def all_of_them():
        one_each = (client.asking("/recommend", {"histories": [history]}) for history in asked)
        return await asyncio.gather(*one_each)

    before = client.number("rearec_batch_users_count")
    answers = client.loop.run_until_complete(all_of_them())
    assert client.number("rearec_batch_users_count") - before < len(asked)
    for ids, answer in zip(rec.recommend(asked).ids, answers, strict=True):
        assert answer.json()["results"][0]["ids"] == ids


def test_more_excluded_than_a_batch_holds(client, recommenders, monkeypatch):
    assert MOST_EXCLUDED >= 30  # so the limit is lowered here: the catalogue is smaller than it
    monkeypatch.setattr("rearec_jax.serve.answers.MOST_EXCLUDED", 3)
    answer = client.ask("/recommend", {"histories": [LONG[:25], ["i1"]], "k": 4, "steps": 1})
    lists = recommenders["one"].recommend([LONG[:25], ["i1"]], 4, steps=1).ids
    assert [found["ids"] for found in answer.json()["results"]] == lists


@pytest.mark.parametrize(("name", "steps"), [("one", None), ("one", 1), ("cloze", None)])
def test_explain_is_the_path(client, recommenders, name, steps):
    rec = recommenders[name]
    question = {"history": ["i3", "?", "i4"], "k": 4, "steps": steps, "model": name}
    answer = client.ask("/explain", question).json()
    (one,) = rec.recommend([["i3", "i4"]], 4, steps=steps, explain=True)
    assert (answer["by"], answer["unknown"], answer["method"]) == ("model", ["?"], "rpe")
    assert [item["id"] for item in answer["history"]] == list(one.history) == ["i3", "i4"]
    for found, step in zip(answer["steps"], one.steps, strict=True):
        assert found["step"] == step.step
        for key in ("ids", "titles", "entered", "left"):
            assert found[key] == list(getattr(step, key))
        for key in ("scores", "effective_items", "top_share", "attention"):
            close(found[key], getattr(step, key))
    assert answer["ranks"] == {raw: list(own) for raw, own in one.ranks.items()}


def test_explain_without_a_history(client):
    answer = client.ask("/explain", {"history": [], "k": 2}).json()
    (step,) = answer["steps"]
    assert answer["by"] == "popularity" and answer["ranks"] == {} and answer["history"] == []
    assert step["step"] == 0 and step["attention"] is None and len(step["ids"]) == 2


def test_nothing_is_compiled_once_it_is_ready(client):
    before = client.number("rearec_compilations_total")
    assert before > 0
    rng = np.random.default_rng(1)
    for _ in range(60):
        count = int(rng.integers(1, 8))
        histories = [
            [f"i{n}" for n in rng.integers(0, 40, rng.integers(0, 80))] for _ in range(count)
        ]
        body = {"k": int(rng.integers(1, 21)), "steps": int(rng.integers(0, 3))}
        body["model"] = str(rng.choice(["one", "cloze"]))
        body["exclude_seen"] = bool(rng.integers(2))
        if rng.integers(2):
            chosen = rng.permutation(30)[: rng.integers(1, 21)]
            body["candidates"] = [f"i{n}" for n in chosen]
        path = "/recommend" if rng.integers(2) else "/explain"
        asked = {"histories": histories} if path == "/recommend" else {"history": histories[0]}
        assert client.ask(path, body | asked).status_code == 200
    for path, asked in (
        ("/recommend", {"histories": [["i1"]]}),
        ("/explain", {"history": ["i1"]}),
    ):  # as many as there may be, and as many listed
        body = {"candidates": [f"i{n}" for n in range(20)], "k": 20}
        assert client.ask(path, body | asked).status_code == 200
    assert client.number("rearec_compilations_total") == before


def test_models(client, recommenders):
    one, cloze = client.ask("/models").json()["models"]
    temperature = one["temperature"]
    assert temperature == recommenders["one"].engine.temperature > 0
    assert one == {
        "name": "one",
        "label": "rpe on sasrec",
        "method": "rpe",
        "backbone": "sasrec",
        "steps": 2,
        "items": 30,
        "max_length": 6,
        "default": True,
        "attention": True,
        "temperature": temperature,
    }
    assert (cloze["name"], cloze["default"]) == ("cloze", False)


def test_items_are_found_by_words_of_title_and_id(client, exported):
    def found(query, **more):
        return client.ask("/items", params={"q": query, **more}).json()["items"]

    items = rearec_jax.load(exported / "one").items
    popular = [items.ids[n] for n in items.popular.tolist()]
    assert [item["id"] for item in found("", limit=7)] == popular[:7]
    assert [item["id"] for item in found("WOOL thing1", limit=100)] == [
        raw for raw in popular if int(raw[1:]) % 3 == 1 and f"thing{raw[1:]}".startswith("thing1")
    ]
    assert found("i29") == [{"id": "i29", "title": "oak thing29", "count": int(items.counts[29])}]
    assert found("wool .*") == [] and found("thing1\nwool")


@pytest.mark.parametrize("title", ["café crème", "CAFÉ", "naïve Å", "한글"])
@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")])
def test_both_forms_of_an_accent_are_found_by_both(title, forms):
    stored, typed = (unicodedata.normalize(form, title) for form in forms)
    items = Items(pl.Series(["a", "b"]), pl.Series([stored, "other"]), np.ones(2, np.int64))
    search = Search(SimpleNamespace(items=items, samples=()))
    assert [item["id"] for item in search.items(typed, 10)] == ["a"]
    assert search.items(typed, 1)[0]["title"] == stored


def test_samples(client):
    (one,) = client.ask("/samples?limit=1").json()["samples"]
    assert [item["id"] for item in one["history"]] == list(SAMPLES[0].history)
    assert one["target"] == {"id": "i5", "title": "oak thing5"}


def test_state_and_descriptions(client):
    assert client.ask("/health").json() == {"status": "ok"}
    assert client.ask("/ready").json()["status"] == "ready"
    schema = client.ask("/openapi.json").json()
    assert {"/recommend", "/explain", "/models", "/items", "/samples"} <= set(schema["paths"])
    page = client.ask("/docs")
    assert "POST /recommend" in page.text and "//" not in page.text.replace("<!--", "")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert client.ask("/").text.startswith("<!doctype html>")
    assert client.ask("/static/page.css").status_code == 200
    for path in ("/static/../api.py", "/static/%2e%2e/api.py", "/static/", "/nothing"):
        assert client.ask(path).status_code == 404


def test_a_large_counter_still_moves_by_one():
    large = counter("c_total", "said")
    large.inc(12_345_678)
    large.inc()
    lines = generate_latest(large).decode().splitlines()
    assert lines[:2] == ["# HELP c_total said", "# TYPE c_total counter"] and len(lines) == 3
    assert float(lines[2].removeprefix("c_total ")) == 12_345_679


def test_bounds_of_a_histogram_keep_their_names():
    seconds = histogram("h", "said", (0.001, 1, 10), ("path",))
    seconds.labels("/a").observe(1)
    assert generate_latest(seconds).decode().splitlines() == [
        "# HELP h said",
        "# TYPE h histogram",
        'h_bucket{le="0.001",path="/a"} 0.0',
        'h_bucket{le="1",path="/a"} 1.0',
        'h_bucket{le="10",path="/a"} 1.0',
        'h_bucket{le="+Inf",path="/a"} 1.0',
        'h_count{path="/a"} 1.0',
        'h_sum{path="/a"} 1.0',
    ]


def test_metrics_are_prometheus_text(client):
    client.ask("/nothing")
    lines = client.ask("/metrics").text.splitlines()
    samples = [line for line in lines if not line.startswith("#")]
    names = {line.split("{")[0].split()[0] for line in samples}
    assert {"rearec_requests_total", "rearec_waiting_histories", "rearec_ready"} <= names
    for line in samples:
        float(line.rpartition(" ")[2])
    assert 'rearec_requests_total{path="other",status="404"}' in "\n".join(samples)
