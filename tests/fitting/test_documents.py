"""The README's example, docs/python.md and the notebooks run as they stand, on tiny data."""

import ast
import functools
import json
from pathlib import Path
import re
from typing import Any

import polars as pl
import pytest

import rearec_jax
from rearec_jax.fitting.fit import fit, tune
from tests.fitting.frames import QUICK, interactions
from tests.processes import ROOT, free_port

NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))
# ml_collections loads config files in a way that Python 3.15 will not know.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def place(cache, tmp_path, monkeypatch):
    """A directory with ratings.csv, and trainings of one epoch of a tiny model."""
    names = {"userId": "user_id", "movieId": "item_id", "ts": "timestamp"}
    interactions().rename(names).write_csv(tmp_path / "ratings.csv")
    monkeypatch.chdir(tmp_path)
    small = QUICK | {"data.cache_dir": str(cache)}
    monkeypatch.setattr(rearec_jax, "fit", functools.partial(_quickly, fit, small))
    monkeypatch.setattr(rearec_jax, "tune", functools.partial(_quickly, tune, small))
    return tmp_path


def _quickly(function: Any, small: dict[str, Any], data: Any, **given: Any) -> Any:
    if "config" in given:  # of a search, which is small already
        return function(data, **given)
    space = {"space": {"train.learning_rate": [0.01]}} if function is tune else {}
    return function(data, **small | given | space | {"epochs": 1})


def blocks(page: Path) -> list[str]:
    text = re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    return [block for block in text if "rearec_jax.fit" in block]


def test_the_readme_goes_from_a_frame_to_lists_in_five_lines(place):
    (block,) = blocks(ROOT / "README.md")
    assert len(block.strip().splitlines()) <= 6  # one of them is empty
    names: dict[str, Any] = {}
    exec(block, names)
    assert names["lists"].columns == ["user", "rank", "item", "score"]
    assert names["model"].metrics["test"]["ndcg@10"] > 0


@pytest.mark.parametrize("number", [0, 1])
def test_the_page_runs(place, number, capsys):
    exec(blocks(ROOT / "docs/python.md")[number], {})
    assert "ndcg" in capsys.readouterr().out.lower()


def test_each_notebook_is_named():
    page = (ROOT / "docs/python.md").read_text("utf-8")
    assert len(NOTEBOOKS) == 3 and all(path.name in page for path in NOTEBOOKS)


def _value(source: str, names: dict[str, Any]) -> Any:
    """Runs a cell; returns the value of its last line, where that is an expression."""
    *lines, last = ast.parse(source).body
    if not isinstance(last, ast.Expr):
        return exec(source, names)
    exec(compile(ast.Module(lines, []), "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run(path, place):
    if path.stem == "to_a_service":
        pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")
    pl.read_csv("ratings.csv").drop("note").write_csv("ratings.csv")  # the columns of the kept run
    cells = json.loads(path.read_text("utf-8"))["cells"]
    names: dict[str, Any] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            value = _value("".join(cell["source"]), names)
            if isinstance(value, pl.DataFrame):  # the kept output is of the demo
                kept = "".join(cell["outputs"][-1]["data"]["text/html"])
                assert re.findall("<th>(.*?)</th>", kept) == value.columns
        if cell["metadata"].get("tags") == ["parameters"]:
            names |= {"SEEDS": (0,), "PORT": free_port()}
    if path.stem == "to_a_service":
        (one,) = names["answer"]["results"]
        expected = names["model"].recommend([names["history"]], k=5)[0].ids
        assert one["ids"] == list(expected)
