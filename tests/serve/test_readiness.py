"""A model that is ready answers, and the others say when."""

import time

import pytest

from rearec_jax.serve.models import LATEST, Refusal
from rearec_jax.serve.warm_model import Progress

BODY = {"histories": [["i1"]]}


@pytest.fixture
def second(client, monkeypatch):
    """The second of two models, which is not compiled."""
    slot = client.service.models.find("cloze")
    monkeypatch.setattr(slot, "is_ready", False)
    monkeypatch.setitem(slot.current.served.__dict__, "progress", Progress())
    return slot


def test_the_first_of_two_models_does_not_wait_for_the_second(client, second):
    answer = client.ask("/ready")
    assert answer.status_code == 200 and answer.json()["status"] == "ready"
    one, cloze = answer.json()["models"]
    assert (one["name"], one["ready"], one["state"]) == ("one", True, "is ready")
    assert (cloze["name"], cloze["ready"]) == ("cloze", False) and "waits" in cloze["state"]
    assert client.ask("/recommend", BODY).status_code == 200
    answer = client.ask("/recommend", BODY | {"model": "cloze"})
    assert answer.status_code == 503 and "cloze waits for the models" in answer.json()["error"]
    assert 1 <= int(answer.headers["retry-after"]) <= LATEST
    assert client.ask("/items?model=cloze").status_code == 200


@pytest.mark.parametrize(("compiled", "took", "wait"), [(4, 8.0, 12), (9, 9.0, 1), (1, 3600, 60)])
def test_a_model_that_is_being_compiled_says_how_far_it_is(client, second, compiled, took, wait):
    progress = second.current.served.progress
    progress.begin(10)
    progress.started, progress.compiled = time.monotonic() - took, compiled
    answer = client.ask("/explain", {"history": [], "model": "cloze"})
    assert answer.status_code == 503
    assert f"is being compiled ({compiled} of 10 programs)" in answer.json()["error"]
    assert int(answer.headers["retry-after"]) - wait in (0, 1)


def test_a_model_that_is_refused_says_when_it_is_tried_again(client, second, monkeypatch):
    monkeypatch.setattr(second, "refused", Refusal(None, 30.0, time.monotonic() + 20))
    monkeypatch.setattr(second, "problem", "/home/me/model is damaged")
    answer = client.ask("/recommend", BODY | {"model": "cloze"})
    assert answer.status_code == 503 and "cannot be used now" in answer.json()["error"]
    assert "/home/me" not in answer.text and int(answer.headers["retry-after"]) in (20, 21)


def test_the_default_is_the_one_to_wait_for(client, second, monkeypatch):
    monkeypatch.setattr(client.service.models.default, "is_ready", False)
    answer = client.ask("/ready")
    assert answer.status_code == 503 and answer.headers["retry-after"]
    assert [one["ready"] for one in answer.json()["models"]] == [False, False]


def test_programs_are_counted(client):
    for slot in client.service.models.slots.values():
        progress = slot.current.served.progress
        assert progress.compiled == progress.programs > 4 and progress.seconds_left == 0
