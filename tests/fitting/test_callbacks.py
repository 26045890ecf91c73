"""Whom a whole training tells, and what."""

import pytest

import rearec_jax
from rearec_jax.errors import UserError
from rearec_jax.run.events import read_events
from rearec_jax.run.workdir import Workdir
from tests.fitting.frames import QUICK, interactions


class Noting(rearec_jax.Callback):
    def __init__(self):
        self.names, self.steps = [], []

    def on_start(self, start):
        self.names.append(("start", start.step, start.options["train.epochs"]))

    def on_update(self, update):
        self.steps.append(update.step)

    def on_epoch(self, event):
        self.names.append(("epoch", event["epoch"]))

    def on_end(self, summary):
        self.names.append(("end", summary["test"]["ndcg@10"]))

    def close(self):
        self.names.append("closed")


def test_a_training_tells_what_its_log_holds(tmp_path):
    (tmp_path / "mine.py").write_text(
        "def log(event):\n"
        f"    with open({str(tmp_path / 'told.txt')!r}, 'a') as file:\n"
        "        print(event['epoch'], event['valid']['ndcg@20'], file=file)\n"
    )
    told, events = Noting(), []
    options = QUICK | {"train.callbacks": (f"{tmp_path / 'mine.py'}:log",)}
    path, cache = tmp_path / "run", {"data.cache_dir": str(tmp_path / "cache")}
    both = [told, events.append]
    model = rearec_jax.fit(interactions(), workdir=path, callbacks=both, **options, **cache)
    end = ("end", model.metrics["test"]["ndcg@10"])
    assert told.names == [("start", 0, 2), ("epoch", 1), ("epoch", 2), end, "closed"]
    logged = read_events(Workdir(path))
    assert events == [event for event in logged if event["kind"] == "validation"]
    assert told.steps == [event["step"] for event in logged if event["kind"] == "training"]
    scores = [event["valid"]["ndcg@20"] for event in events]
    assert events[-1]["best"]["value"] == max(scores)
    lines = [f"{event['epoch']} {event['valid']['ndcg@20']}" for event in events]
    assert (tmp_path / "told.txt").read_text().splitlines() == lines
    # The finished run may be told again, by other callbacks: they change no number.
    rearec_jax.fit(interactions(), workdir=path, callbacks=[told], **QUICK, **cache)
    assert told.names[5:] == [("start", told.steps[-1], 2), end, "closed"]


def test_a_wrong_name_ends_before_anything_is_written(tmp_path):
    options = QUICK | {"data.cache_dir": str(tmp_path / "cache"), "train.callbacks": ("nothing",)}
    with pytest.raises(UserError, match=r"FILE\.py:NAME"):
        rearec_jax.fit(interactions(), workdir=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()
