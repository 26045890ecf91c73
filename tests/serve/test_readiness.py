"""A model that is ready answers, and the others say when."""

import shutil
import threading
import time

import pytest

from rearec_jax.serve.models import LATEST, Models, Refusal
from rearec_jax.serve.warm_model import Progress, Served
from tests.serve.conftest import LIMITS, write

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


def test_a_model_that_hangs_keeps_no_other_waiting(exported, tmp_path, monkeypatch):
    """Neither one before it nor one after it; the others are also replaced by newer ones."""
    paths = [tmp_path / name for name in ("hangs", "second", "hangs_too", "last")]
    for path in paths:
        shutil.copytree(exported / "one", path)
    ends = threading.Event()

    def warm_up(served):
        assert not served.name.startswith("hangs") or ends.wait(30)

    monkeypatch.setattr(Served, "warm_up", warm_up)
    monkeypatch.setattr("rearec_jax.serve.models.HEAD_START", 0.05)
    models, said = Models([str(path) for path in paths], LIMITS), []
    threads = models.start(0.05, said.append)
    try:
        until(lambda: models.find("second").is_ready and models.find("last").is_ready)
        assert not models.default.is_ready and not models.find("hangs_too").is_ready
        write(tmp_path / "new", seed=1)
        shutil.rmtree(paths[1])
        (tmp_path / "new").rename(paths[1])
        until(lambda: any("second is replaced" in line for line in said))
        ends.set()
        until(lambda: models.are_ready)
    finally:
        ends.set()
        models.stop()
        for thread in threads:
            thread.join(10)
    assert not any(thread.is_alive() for thread in threads)


def test_models_are_compiled_in_their_order(exported, monkeypatch):
    """So the default is ready first, unless it takes long."""
    began, running = [], []

    def warm_up(served):
        began.append(served.name)
        running.append(served.name)
        time.sleep(0.05)
        assert running == [served.name]
        running.clear()

    monkeypatch.setattr(Served, "warm_up", warm_up)
    models = Models([str(exported / "one")] * 4, LIMITS)
    models.compile(lambda text: None)
    assert models.are_ready and began == list(models.slots)


def until(holds):
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_programs_are_counted(client):
    for slot in client.service.models.slots.values():
        progress = slot.current.served.progress
        assert progress.compiled == progress.programs > 4 and progress.seconds_left == 0
