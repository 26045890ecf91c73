"""Work directories as runs leave them, made by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tests.studies.analysis import made

METRICS = ("ndcg@10", "ndcg@20", "recall@10", "recall@20", "mrr")
USERS, STEPS = 60, 2


def metrics(value: float) -> dict[str, float]:
    return dict.fromkeys(METRICS, value)


def write(
    path: Path, options: dict[str, Any] | None = None, seed: int = 0, title: str = "Lamp"
) -> str:
    """A finished and analysed run. A method other than base has STEPS steps."""
    options = {"method.name": "erl", "seed": seed} | (options or {})
    steps = 0 if options["method.name"] == "base" else STEPS
    rng = np.random.default_rng(seed)
    by_step = {f"rank_step_{k}": rng.geometric(0.1, USERS) for k in range(steps + 1)}
    groups = {"history_length": np.arange(USERS) % 8 + 1, "target_popularity": [3] * USERS}
    made.write_run(path, options, by_step[f"rank_step_{steps}"], **by_step, **groups)
    _write_summary(path, options, steps)
    (path / "metrics.jsonl").write_text("".join(json.dumps(e) + "\n" for e in _events(steps)))
    (path / "data.json").write_text(json.dumps({"digest": "d"}))
    if steps:
        _write_analysis(path, steps, title)
    return str(path)


def _write_summary(path: Path, options: dict[str, Any], steps: int) -> None:
    summary = {
        "config": "configs/tiny.py",
        "data": {"users": USERS, "items": 50, "interactions": 999},
        "best_epoch": 2,
        "train": {"targets_per_second": 1234.5, "seconds": 71.0, "epochs": 3},
        "valid": metrics(0.3),
        "test": metrics(0.2),
        "test_by_step": [{"step": k} | metrics(0.1 + k / 100) for k in range(steps + 1)],
        "test_best_step_in_hindsight": metrics(0.4),
        "popularity": metrics(0.05),
        "device": "cpu",
        "notes": ["a note"],
    }
    (path / "summary.json").write_text(json.dumps(summary))


def _events(steps: int) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    for epoch, value in enumerate((0.1, 0.3, 0.2), start=1):
        parts = {"cross_entropy": 4.0 / epoch, "loss": 4.1 / epoch}
        parts |= {"kl_diversity": 0.1} if steps else {}
        events.append({"step": 10 * epoch, "epoch": epoch, "kind": "training", "parts": parts})
        valid = {"valid": {"ndcg@20": value}, "kind": "validation"}
        events.append({"step": 10 * epoch, "epoch": epoch, **valid})
    return events


def _write_analysis(path: Path, steps: int, title: str) -> None:
    names = [f"step {k}" for k in range(steps + 1)]
    matrix = [{"representation": a} | {b: 1.0 if a == b else 0.9 for b in names} for a in names]
    listed = {"coverage": 0.5, "popularity_bias": 2.0, "popular_quarter": 0.7, "novelty": 5.0}
    tables = {
        "about": {"list_length": 10},
        "state_cosines": matrix,
        "list_overlap": matrix,
        "list_statistics": [{"representation": name} | listed for name in names],
        "sharpness": [{"representation": name, "mean": 5.0} for name in names],
        "projection_variance": [0.4, 0.2],
    }
    item = {"id": "i1", "title": title}
    top = [
        item | {"target": True, "seen": False},
        {"id": "i2", "title": None} | dict(target=False, seen=True),
    ]
    story = {
        "user": "u<7>",
        "chosen": "random",
        "history": [item] * 12,
        "history_length": 40,
        "target": item,
        "steps": [{"representation": n, "target_rank": 3, "top": top} for n in names],
    }
    directory = path / "analysis"
    directory.mkdir()
    (directory / "tables.json").write_text(json.dumps(tables))
    (directory / "stories.json").write_text(json.dumps([story]))
    rng = np.random.default_rng(1)
    count = 20 * (steps + 1)
    pl.DataFrame(
        {
            "user": np.repeat([f"u{n}" for n in range(20)], steps + 1),
            "step": np.tile(np.arange(steps + 1), 20),
            "x": rng.normal(size=count),
            "y": rng.normal(size=count),
        }
    ).write_parquet(directory / "projection.parquet")


def write_cell(root: Path, variant: str, method: str, value: float, seed: int = 0) -> None:
    """A finished cell of a study, as far as its table reads it."""
    path = root / variant / "tiny" / f"sasrec-{method}-seed{seed}"
    path.mkdir(parents=True)
    summary = {"test": metrics(value), "valid": metrics(value + 0.1), "best_epoch": 1}
    (path / "summary.json").write_text(json.dumps(summary))
