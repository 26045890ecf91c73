"""Whole runs of every backbone: train, evaluate, evaluate again from the checkpoint."""

import dataclasses
import json
import time

import pytest

from rearec_jax import config as config_lib
from rearec_jax.commands import evaluate, train

TINY = {
    "mesh.data": 1,
    "data.demo_users": 60,
    "data.demo_items": 60,
    "model.width": 8,
    "model.hidden": 8,
    "model.layers": 1,
    "model.max_length": 8,
    "method.steps": 1,
    "text.width": 16,
    "train.batch_size": 350,
    "train.epochs": 1,
}


def tiny(tmp_path, **changes):
    options = config_lib.default()
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    for name, value in (TINY | {"data.cache_dir": str(tmp_path)} | dotted).items():
        section, key = name.split(".")
        options[section][key] = value
    return config_lib.resolve(options)


@pytest.mark.parametrize(
    ("backbone", "method", "changes"),
    [
        ("bert4rec", "prl", {}),
        ("bert4rec", "erl", {"train__objective": "cloze"}),
        ("unisrec", "prl", {"model__item_ids": True}),
        ("unisrec", "base", {}),
        ("morec", "erl", {"method__kl_weight": 0.1}),
        ("sasrec", "rpe", {"model__items": "projection", "model__attention": "bidirectional"}),
    ],
)
def test_run_and_evaluate_again(tmp_path, backbone, method, changes):
    config = tiny(tmp_path / "cache", model__backbone=backbone, method__name=method, **changes)
    path = str(tmp_path / "run")
    summary = train.train_run(path, config, "configs/tiny.py", time.perf_counter())
    assert summary["backbone"] == backbone
    assert summary["test"]["ndcg@10"] > 0
    assert len(summary["test_by_step"]) == config.method.steps + 1
    again = evaluate.evaluate_run(path, None)
    for key in ("valid", "test", "test_by_step"):
        assert again[key] == summary[key]
    saved = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert saved["test"] == summary["test"]


def test_inference_steps_of_another_number(tmp_path):
    config = tiny(
        tmp_path / "cache",
        model__backbone="unisrec",
        method__name="prl",
        method__steps=2,
        data__name="x",
    )
    path = str(tmp_path / "run")
    summary = train.train_run(path, config, "configs/tiny.py", time.perf_counter())
    fewer = dataclasses.replace(config, eval=dataclasses.replace(config.eval, steps=1))
    again = evaluate.evaluate_run(path, fewer)
    assert again["test"]["mrr"] == pytest.approx(summary["test_by_step"][1]["mrr"])
