"""From a work directory: without its data, as the documentation says, and exported."""

import re
import shlex
import shutil
import subprocess
import sys
from typing import Any

import numpy as np
import polars as pl
import pytest

import rearec_jax
from rearec_jax import config as config_lib
from rearec_jax.commands import train
from rearec_jax.data.prepare import prepare
from rearec_jax.errors import UserError
from rearec_jax.recommend import export
from rearec_jax.recommend.items import ITEMS_FILE
from tests.processes import ROOT
from tests.test_main import start
from tests.training.test_runs import TINY

DOCUMENT = (ROOT / "docs" / "recommending.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
(HNSWLIB,) = (block for block in BLOCKS if "import hnswlib" in block)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A directory with runs/demo, trained on a file that is no longer there."""
    place = tmp_path_factory.mktemp("place")
    options = config_lib.default()
    for name, value in (TINY | {"model.backbone": "morec", "text.width": 6}).items():
        section, key = name.split(".")
        options[section][key] = value
    demo = prepare(config_lib.resolve(options).data)
    users = np.repeat(np.arange(demo.num_users), demo.lengths)
    frame = pl.DataFrame({"user_id": users, "item_id": demo.item_ids.gather(demo.items)})
    frame.write_csv(place / "data.csv")
    titles = pl.DataFrame({"item_id": demo.item_ids, "title": demo.item_text})
    titles.write_csv(place / "titles.csv")
    options.data.source, options.data.timestamp_column = "table", ""
    options.data.path, options.data.item_text = str(place / "data.csv"), str(place / "titles.csv")
    options.data.cache_dir = str(place / "cache")
    config = config_lib.resolve(options)
    train.train_run(str(place / "runs" / "demo"), config, "configs/tiny.py", 0.0)
    for lost in ("data.csv", "titles.csv"):
        (place / lost).unlink()
    shutil.rmtree(place / "cache")
    return place


@pytest.mark.filterwarnings("ignore:.*")  # an example prints what a user would see
def test_the_documentation_runs(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    namespace: dict[str, object] = {}
    blocks = [block for block in BLOCKS if block != HNSWLIB]
    assert len(blocks) == 7
    for block in blocks:
        exec(block, namespace)
    assert "new:" in capsys.readouterr().out
    ids = (place / "vectors/items.ids.txt").read_text().splitlines()
    assert ids == pl.read_parquet(place / "vectors/items.parquet")["id"].to_list()


@pytest.mark.filterwarnings("ignore:.*")
def test_the_documented_index_finds_the_exact_list(place, monkeypatch):
    pytest.importorskip("hnswlib", reason="hnswlib is not installed (pip install hnswlib)")
    monkeypatch.chdir(place)
    names: dict[str, Any] = {"rearec_jax": rearec_jax}
    (vectors,) = (block for block in BLOCKS if "items.npy" in block)
    exec(vectors, names)
    exec(HNSWLIB, names)
    (exact,) = names["model"].recommend([names["history"]], k=names["k"])
    assert names["found"] == list(exact.ids)  # so few items are searched exactly
    scores = dict(zip(exact.ids, exact.scores, strict=True))
    listed = names["items"].ids.gather(names["rows"][0].astype(int))
    for item, distance in zip(listed, names["distances"][0], strict=True):
        if item in scores:
            assert 1 - distance == pytest.approx(scores[item], abs=1e-5)


def test_the_documented_commands_run(place):
    commands = re.findall(r"python -m rearec_jax.main (--mode[^`\n]*)", DOCUMENT)
    assert len(commands) == 4
    (place / "users.csv").write_text("user_id,items\nann,17 4 39\nbob,\n")
    for command in commands:
        process = start(*shlex.split(command, comments=True), cwd=place)
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        assert "written:" in out
    lists = pl.read_parquet(place / "lists.parquet")
    assert lists.group_by("user_id").len().sort("user_id").rows() == [("ann", 10), ("bob", 10)]
    (ann,) = rearec_jax.load(place / "exported/demo").recommend([["17", "4", "39"]])
    assert lists.filter(pl.col("user_id") == "ann")["item_id"].to_list() == list(ann.ids)


def test_an_exported_run_gives_the_same_lists(place, tmp_path):
    export.export_run(str(place / "runs/demo"), str(tmp_path / "model"))
    histories = [["1", "2"], ["30"], ["5"] * 12]
    ours = rearec_jax.load(place / "runs/demo").recommend(histories)
    theirs = rearec_jax.load(tmp_path / "model").recommend(histories)
    assert ours.ids == theirs.ids


def test_samples_are_kept_and_exported(place, tmp_path):
    run = rearec_jax.load(place / "runs/demo")
    assert 0 < len(run.samples) <= 50
    assert {raw for one in run.samples for raw in (*one.history, one.target)} <= set(run.items.ids)
    export.export_run(str(place / "runs/demo"), str(tmp_path / "model"))
    assert rearec_jax.load(tmp_path / "model").samples == run.samples
    (tmp_path / "model/samples.parquet").unlink()
    assert rearec_jax.load(tmp_path / "model").samples == ()


def test_a_damaged_file_is_named(place, tmp_path):
    for name in ("items.parquet", "item_vectors.npy"):
        shutil.copytree(place / "runs/demo", tmp_path / name)
        (tmp_path / name / name).write_bytes(b"something else")
        with pytest.raises(UserError, match=rf"{name} cannot be read.*; delete it"):
            rearec_jax.load(tmp_path / name)


def test_a_path_that_is_no_model(tmp_path):
    with pytest.raises(UserError, match=r"does not exist"):
        rearec_jax.load(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"is not the work directory of a run"):
        rearec_jax.load(tmp_path)
    for wrong in (None, 3, b"runs/demo"):
        with pytest.raises(UserError, match=rf"{wrong!r} is no path; give the work directory"):
            rearec_jax.load(wrong)


@pytest.mark.parametrize("wrong", ["long", "long part", "loop", "nul"])
def test_a_path_that_the_system_refuses(tmp_path, wrong):
    (tmp_path / "loop").symlink_to("loop")
    path = {"long": "x" * 5000, "long part": "x/" * 2500, "nul": "a\0b"}.get(wrong, wrong)
    with pytest.raises(
        UserError, match=r"^the path .* cannot be used: .*; give another$"
    ) as caught:
        rearec_jax.load(str(tmp_path / path))
    assert len(str(caught.value)) < 300


def test_an_older_run_prepares_its_data(tmp_path):
    options = config_lib.default()
    for name, value in (TINY | {"train.epochs": 1}).items():
        section, key = name.split(".")
        options[section][key] = value
    path = tmp_path / "run"
    train.train_run(str(path), config_lib.resolve(options), "configs/tiny.py", 0.0)
    (kept,) = rearec_jax.load(path).recommend([["1", "2"]])
    (path / ITEMS_FILE).unlink()
    (again,) = rearec_jax.load(path).recommend([["1", "2"]])
    assert kept == again


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--mode=recommend"], "--workdir=DIR"),
        (["--mode=recommend", "--workdir=x"], "--input=FILE"),
        (["--mode=export", "--workdir=x"], "--output=DIR"),
        (["--mode=export", "--workdir=x", "--output=y"], "--workdir=x does not exist"),
    ],
)
def test_a_missing_flag_is_one_sentence(tmp_path, arguments, words):
    process = start(*arguments, cwd=tmp_path)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert err.startswith("error: ") and words in err and "Traceback" not in err


def test_the_light_modules_are_light():
    code = "import sys\nfor name in ('flax', 'orbax', 'ml_collections'): sys.modules[name] = None\n"
    code += "import rearec_jax.recommend.from_export"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
