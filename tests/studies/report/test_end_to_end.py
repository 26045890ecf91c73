"""A tiny run, trained, analysed and reported by the command line's functions."""

import time

import pytest

from rearec_jax import config as config_lib
from rearec_jax.commands import train
from rearec_jax.commands.analyse import analyse_run
from rearec_jax.commands.report import report_runs
from tests.studies.report.html_check import check

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

OPTIONS = {
    "mesh.data": 1,
    "data.demo_users": 60,
    "data.demo_items": 60,
    "model.width": 8,
    "model.hidden": 8,
    "model.layers": 1,
    "model.max_length": 10,
    "method.name": "prl",
    "method.steps": 1,
    "train.batch_size": 350,
    "train.epochs": 2,
    "analysis.projected_users": 25,
    "analysis.random_stories": 1,
}


def test_a_trained_run_gives_a_whole_report(tmp_path):
    options = config_lib.default()
    for name, value in OPTIONS.items():
        section, key = name.split(".")
        options[section][key] = value
    run = str(tmp_path / "prl")
    config = config_lib.resolve(options)
    train.train_run(run, config, "configs/tiny.py", time.perf_counter())
    analyse_run(run, None)
    path = report_runs([run], None, config.analysis)
    page = check(path.read_text(encoding="utf-8"))
    found = {link[1:] for link in page.links if link.startswith("#")}
    assert {"training", "accuracy", "steps", "groups", "states", "lists", "stories"} <= found
    words = " ".join(page.text)
    assert "data.demo_users" in words and "best possible" in words
    assert "contrastive" in words.lower()  # a part of the loss has its own curve
    assert all(file.stat().st_size > 1000 for file in path.parent.iterdir())
