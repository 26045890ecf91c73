"""Methods whose steps differ from ReaRec's go through every mode, with other layers too."""

import json
import time

import numpy as np
import pytest

import rearec_jax
from rearec_jax.commands import analyse, evaluate, train
from rearec_jax.methods import METHODS
from rearec_jax.recommend import export
from rearec_jax.studies.grid import means, summaries
from tests.training.test_backbones import tiny

PARTS = {  # what training minimises and logs
    "mancar": {"loss", "cross_entropy", "shallow_cross_entropy", "teacher"},
    "lares": {"loss", "cross_entropy", "trajectory_contrast", "step_contrast"},
    "router": {
        *("loss", "cross_entropy", "shallow_cross_entropy", "contrastive"),
        "routed_cross_entropy",
    },
}


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("mancar", {"model__layer": "hstu", "method__rescale": True}),
        (
            "lares",
            {
                "model__layer": "filtered",
                "method__trajectory_weight": 0.1,
                "method__step_weight": 0.1,
            },
        ),
        ("router", {}),  # its representation is learned, and is no step's
    ],
)
def test_every_mode(tmp_path, method, changes):
    root = tmp_path / "root"
    path = root / "demo" / f"sasrec-{method}-seed0"
    config = tiny(tmp_path / "cache", method__name=method, method__steps=2, **changes)
    summary = train.train_run(str(path), config, "configs/tiny.py", time.perf_counter())
    assert len(summary["test_by_step"]) == 3
    assert summary["test"]["ndcg@10"] > 0
    if METHODS[method].represents_by_a_step:
        assert summary["test_by_step"][-1]["ndcg@10"] == summary["test"]["ndcg@10"]
    events = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    parts = next(event["parts"] for event in events if event["kind"] == "training")
    assert set(parts) == PARTS[method]
    assert evaluate.evaluate_run(str(path), None)["test"] == summary["test"]

    run = rearec_jax.load(path)
    exported = rearec_jax.load(export.export_run(str(path), str(tmp_path / "exported")))
    histories = [history for history, _ in run.samples[:3]]
    for ours, theirs in zip(
        run.recommend(histories, k=5, explain=True),
        exported.recommend(histories, k=5, explain=True),
        strict=True,
    ):
        assert ours.ids == theirs.ids and len(ours.steps) == 3
        np.testing.assert_allclose(ours.scores, theirs.scores, rtol=1e-4, atol=1e-5)
    alone = [run.recommend([history], k=5)[0].ids for history in histories]
    assert alone == [one.ids for one in run.recommend(histories, k=5)]

    tables = json.loads((analyse.analyse_run(str(path), None) / "tables.json").read_text())
    rows = {row["representation"]: row for row in tables["accuracy_by_step"]}
    assert list(rows) == ["step 0", "step 1", "step 2", "final"]
    assert rows["final"]["ndcg@10"] == pytest.approx(summary["test"]["ndcg@10"])
    (comparison,) = means.compare(summaries.read(root)[0], [])
    (block,) = comparison.blocks
    row = next(row for row in block.rows if row.label == METHODS[method].label)
    assert row.values[0].mean == pytest.approx(summary["test"]["ndcg@10"])
