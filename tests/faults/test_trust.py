"""Files are data, never programs: nothing is unpickled, evaluated or unpacked."""

import ast
import json
from pathlib import Path
import pickle

import numpy as np
import pytest

import rearec_jax
from rearec_jax import config as config_lib
from rearec_jax.data import prepare
from rearec_jax.data.interactions import Interactions
from rearec_jax.data.item_vectors import language_model, vectors
from rearec_jax.errors import UserError
from rearec_jax.recommend import from_run
from rearec_jax.run.checkpoint import Checkpoints
from rearec_jax.studies.report import page, run_files, stories
from rearec_jax.studies.report.sources import DataSet
from tests.faults.tiny_run import tiny
from tests.processes import ROOT
from tests.recommend.test_export import forged, written
from tests.studies.report import made_runs
from tests.studies.report.html_check import check

PACKAGE = ROOT / "rearec_jax"


class Poison:
    """Unpickling it makes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture
def poison(tmp_path):
    """Content whose unpickling would be seen."""
    victim = tmp_path / "victim"
    content = pickle.dumps(Poison(victim))
    pickle.loads(content)
    assert victim.exists()
    victim.unlink()
    yield content
    assert not victim.exists()


@pytest.mark.parametrize("kind", ["npy", "pickle"])
def test_poisoned_vectors(tmp_path, poison, kind):
    data = prepare.prepare(tiny().data)
    path = tmp_path / "vectors.npy"
    path.write_bytes(poison)
    if kind == "npy":
        np.save(path, np.array([Poison(tmp_path / "victim")], object), allow_pickle=True)
    config = config_lib.resolve(
        {"text": {"vectors": str(path)}, "data": {"cache_dir": str(tmp_path / "kept")}}
    )
    with pytest.raises(UserError, match=r"vectors\.npy is not a \.npy file of numbers"):
        vectors.item_vectors(config, data)


@pytest.mark.parametrize("kind", ["npy", "pickle"])
def test_poisoned_export(tmp_path, poison, kind):
    """The manifest vouches for the files: a stranger has made it."""
    path = tmp_path / "model"
    written(path)
    for name in ("table.npy", "manifest.json", "encode.stablehlo"):
        content = (path / name).read_bytes()
        (path / name).write_bytes(poison)
        if kind == "npy":
            poisoned = np.array([Poison(tmp_path / "victim")], object)
            with (path / name).open("wb") as file:
                np.save(file, poisoned, allow_pickle=True)
        if name != "manifest.json":
            forged(path)
        if name == "encode.stablehlo":  # JAX cannot read it: it is made from the arrays
            assert rearec_jax.load(path).engine.file == ""
        else:
            with pytest.raises(UserError, match=rf"{name} (cannot be read|is damaged)"):
                rearec_jax.load(path)
        (path / name).write_bytes(content)


@pytest.mark.parametrize("kind", ["npy", "pickle"])
def test_poisoned_item_vectors_of_a_run(tmp_path, poison, kind):
    path = tmp_path / "item_vectors.npy"
    path.write_bytes(poison)
    if kind == "npy":
        np.save(path, np.array([Poison(tmp_path / "victim")], object), allow_pickle=True)
    with pytest.raises(UserError, match=r"item_vectors.npy cannot be read .*; delete it and items"):
        from_run.kept_vectors(path, 1)


def test_poisoned_prepared_arrays(tmp_path, poison):
    prepare.prepare(tiny().data).save(tmp_path / "kept")
    np.save(tmp_path / "kept/items.npy", np.array([Poison(tmp_path / "victim")]), allow_pickle=True)
    with pytest.raises(UserError, match="does not hold complete prepared interactions"):
        Interactions.load(tmp_path / "kept")


def test_poisoned_weights_of_a_language_model(tmp_path, poison):
    pytest.importorskip("transformers", reason="REAREC_EXTRAS=text")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (tmp_path / "pytorch_model.bin").write_bytes(poison)
    text = config_lib.resolve({"text": {"model_path": str(tmp_path)}}).text
    with pytest.raises(UserError, match="cannot be loaded"):
        language_model.load_model(text)


def test_poisoned_checkpoint(tmp_path, poison):
    step = tmp_path / "checkpoints/last/3"
    for part in ("record", "state"):
        (step / part).mkdir(parents=True)
        for name in ("metadata", "manifest.ocdbt", "_METADATA", "checkpoint"):
            (step / part / name).write_bytes(poison)
    wanted = {"x": np.zeros(3, np.float32)}
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    with checkpoints, pytest.raises(UserError, match="3: it cannot be read"):
        checkpoints.restore_last(wanted)


@pytest.mark.parametrize(
    "title",
    [
        "&lt;b&gt;",
        "Salt &amp; Pepper",
        "&amp;lt;",
        "&#60;b&#62;",
        "a < b & c",
        "<script>x()</script>",
    ],
)
def test_title_that_is_markup(title, tmp_path):
    """The reader of a report sees what the file of item text holds, as on the server's page."""
    pytest.importorskip("jinja2")
    run = run_files.read(Path(made_runs.write(tmp_path / "run", title=title)))
    blocks = list(stories.stories(DataSet("d", (run,), None, "")))
    section = page.Section("s", "Single users", blocks)
    shown = check(page.page(page.About("a", "b", "c"), [section], {}))
    history, target, lists = 12, 1, made_runs.STEPS + 1
    assert shown.text.count(title) == history + target + lists


def test_nothing_unpickles_evaluates_or_unpacks():
    """Read from the source of every module of the package."""
    modules = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
    modules |= {"tarfile", "zipfile", "runpy", "code"}
    streams = "data/own_files/paths.py"  # reads files of zip archives, and writes none
    calls = {
        "eval",
        "exec",
        "compile",
        "unpack_archive",
        "extractall",
        "literal_eval",
        "__import__",
    }
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        banned = modules - {"zipfile"} if path == PACKAGE / streams else modules
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            place = f"{path.relative_to(PACKAGE)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Import):
                names = {alias.name.partition(".")[0] for alias in node.names}
                found += [f"{place} {name}" for name in names & banned]
            elif isinstance(node, ast.ImportFrom) and node.module:
                found += [f"{place} {name}" for name in {node.module.partition(".")[0]} & banned]
            elif isinstance(node, ast.Call):
                found += _call(node, calls, place)
    assert found == []


def _call(node: ast.Call, calls: set[str], place: str) -> list[str]:
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    if isinstance(node.func, ast.Attribute):
        name = node.func.attr
        owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
        if name in ("load", "save") and owner in ("np", "numpy"):
            keywords = {word.arg: word.value for word in node.keywords}
            given = keywords.get("allow_pickle")
            is_off = isinstance(given, ast.Constant) and given.value is False
            return [] if is_off else [f"{place} numpy.{name} without allow_pickle=False"]
        # model.eval() and re.compile() are other things.
        name = "" if name in ("eval", "compile") else name
    return [f"{place} {name}()"] if name in calls else []
