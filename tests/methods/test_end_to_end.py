"""A method whose representation is learned trains, evaluates, recommends, exports and analyses."""

import json
import time

import pytest

import rearec_jax
from rearec_jax.commands import analyse, evaluate, train
from rearec_jax.recommend import export
from tests.training.test_backbones import tiny


def test_every_mode(tmp_path):
    path = tmp_path / "router"
    config = tiny(tmp_path / "cache", method__name="router", method__steps=2)
    summary = train.train_run(str(path), config, "configs/tiny.py", time.perf_counter())
    assert len(summary["test_by_step"]) == 3
    assert evaluate.evaluate_run(str(path), None)["test"] == summary["test"]

    run = rearec_jax.load(path)
    exported = rearec_jax.load(export.export_run(str(path), str(tmp_path / "exported")))
    (history, _), *_ = run.samples
    (one,) = run.recommend([history], k=5, explain=True)
    (other,) = exported.recommend([history], k=5)
    assert one.ids == other.ids and len(one.steps) == 3

    tables = json.loads((analyse.analyse_run(str(path), None) / "tables.json").read_text())
    rows = {row["representation"]: row for row in tables["accuracy_by_step"]}
    assert rows["final"]["ndcg@10"] == pytest.approx(summary["test"]["ndcg@10"])
