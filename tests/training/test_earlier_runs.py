"""A work directory and an export of an earlier version, under an older JAX, still work."""

import json
import time
import zipfile

import numpy as np
import pytest

import rearec_jax
from rearec_jax.commands import train
from rearec_jax.run.workdir import load_config
from tests.processes import ROOT


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    path = tmp_path_factory.mktemp("earlier")
    with zipfile.ZipFile(ROOT / "tests" / "fixtures" / "earlier.zip") as archive:
        archive.extractall(path)
    return path


@pytest.fixture(scope="module")
def expected(earlier):
    return json.loads((earlier / "expected.json").read_text())


def same_lists(model, expected):
    found = model.recommend(expected["histories"], k=8)
    assert [list(one.ids) for one in found] == expected["lists"]
    for one, scores in zip(found, expected["scores"], strict=True):
        np.testing.assert_allclose(one.scores, scores, rtol=1e-5, atol=1e-5)


def test_an_interrupted_training_continues_to_the_same_end(
    earlier, expected, tmp_path_factory, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    path = str(earlier / "run")
    summary = train.train_run(path, load_config(path), "configs/demo.py", time.perf_counter())
    assert summary["train"]["epochs"] == expected["epochs"]
    assert summary["best_epoch"] == expected["best_epoch"]
    for split in ("valid", "test"):
        for name, value in expected[split].items():
            assert summary[split][name] == pytest.approx(value, rel=1e-3)
    same_lists(rearec_jax.load(path), expected)


def test_an_export_gives_the_same_lists(earlier, expected):
    same_lists(rearec_jax.load(earlier / "export"), expected)
