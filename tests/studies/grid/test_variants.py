"""Grids that vary options: which cells there are, where they lie, and their table."""

import json
from pathlib import Path
import shutil

import pytest

from rearec_jax.errors import UserError
from rearec_jax.methods import BASELINE, reading
from rearec_jax.studies.grid import __main__ as grid
from rearec_jax.studies.grid import agreement, cells, sweep_table, variants
from rearec_jax.studies.grid.options import parse
from tests import markdown
from tests.processes import ROOT

DEMO = str(ROOT / "configs/demo.py")

# ml_collections loads config files in a way that Python 3.15 will not know.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module")


def made(*arguments: str) -> list[cells.Cell]:
    return cells.make_cells(parse([f"--configs={DEMO}", "--backbones=sasrec", *arguments]))


def places(found: list[cells.Cell]) -> list[str]:
    return [f"{cell.root.name}/{cell.method}" for cell in found]


def test_an_option_varies_for_the_methods_that_read_it():
    found = made("--vary=method.steps=1,3", "--methods=base,erl", "--root=r")
    assert places(found) == ["as_given/base", "method.steps=1/erl", "method.steps=3/erl"]
    assert "--config.method.steps=3" in found[2].command
    assert found[2].workdir.path == Path("r/method.steps=3/demo/sasrec-erl-seed0")


def test_several_options_give_all_combinations():
    found = made("--vary=method.kl_weight=0,1", "--vary=train.batch_size=64,128", "--methods=erl")
    assert len(found) == len({cell.workdir.path for cell in found}) == 4
    assert len(made("--vary=method.kl_weight=0,1", "--methods=prl")) == 1


# Five depths of each of ReaRec's methods that reason, and `base` once.
@pytest.mark.parametrize(
    ("study", "count"), [("depth", 21), ("kl_weight", 6), ("temperature", 16), ("ablation", 5)]
)
def test_every_study_is_a_grid_of_valid_options(study, count):
    found = made(f"--study={study}")
    cells.check(found)
    assert len(found) == len({cell.workdir.path for cell in found}) == count
    for name in variants.STUDIES[study].vary:
        assert BASELINE not in reading(name) or name == "method.temperature"


def test_a_study_may_be_made_smaller():
    found = made("--study=depth", "--vary=method.steps=1,2", "--methods=base,rpe")
    assert places(found) == ["as_given/base", "method.steps=1/rpe", "method.steps=2/rpe"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--vary=method.steps"], "must have the form --vary=method.steps=1,2,3"),
        (["--vary=method.steps="], "must have the form"),
        (["--vary=seed=1,2"], "--seeds="),
        (["--vary=method.steps=1", "--vary=method.steps=2"], "set twice"),
        (["--vary=method.steps=1,2", "--config.method.steps=2"], "set twice"),
        (["--vary=data.name=a/b"], "must not hold '/'"),
        (["--study=breadth"], "depth, kl_weight"),
    ],
)
def test_mistakes(arguments, words):
    with pytest.raises(UserError, match=words):
        parse([f"--configs={DEMO}", *arguments])


def test_an_unknown_option_is_said_before_anything_runs(tmp_path):
    with pytest.raises(UserError, match=r"method\.stepz"):
        grid.main([f"--configs={DEMO}", f"--root={tmp_path / 'r'}", "--vary=method.stepz=1"])
    assert not (tmp_path / "r").exists()


def test_the_order_of_flags_names_no_other_cells(tmp_path):
    flags = ["--vary=method.temperature=1,2", "--vary=method.noise=0,1"]
    more = ["--methods=prl", f"--root={tmp_path}"]
    places = [{cell.variant for cell in made(*order, *more)} for order in (flags, flags[::-1])]
    assert places[0] == places[1]
    assert "method.noise=0,method.temperature=1" in places[0]
    (tmp_path / "method.temperature=1,method.noise=0").mkdir()  # by an older version
    assert "method.temperature=1,method.noise=0" in {cell.variant for cell in made(*flags, *more)}


def finish(cell: cells.Cell, value: float = 0.1, digest: str = "d", **options: object) -> None:
    """The files of a finished cell; ``options`` of the section train are not those asked for."""
    test = dict.fromkeys(("ndcg@10", "ndcg@20", "recall@10", "recall@20"), value)
    config = cell.options | {"train": cell.options["train"] | options}
    cell.workdir.path.mkdir(parents=True)
    cell.workdir.config.write_text(json.dumps(config))
    cell.workdir.data.write_text(json.dumps({"digest": digest}))
    cell.workdir.summary.write_text(json.dumps({"test": test, "valid": {"ndcg@20": value}}))


STUDY = ("--vary=method.steps=1,2", "--methods=base,erl")


@pytest.mark.parametrize("first", [(), STUDY])
@pytest.mark.parametrize("then", [(), STUDY])
def test_a_root_with_other_options_is_refused(first, then, tmp_path):
    """Also where no cell asked for is there: other seeds, methods, a study beside a grid."""
    root = f"--root={tmp_path}"
    for cell in made(*first, root):
        finish(cell, epochs=12)
    for same in (["--seeds=1"], ["--seeds=1", "--methods=prl"], ["--backbones=morec"]):
        agreement.check(tmp_path, made(*then, root, *same))
        changed = made(*then, root, *same, "--config.train.epochs=5")
        with pytest.raises(UserError, match=r"with other options(?s:.*)train\.epochs: 12 -> 5"):
            agreement.check(tmp_path, changed)


def test_seeds_of_a_row_differ_in_the_seed_alone(tmp_path):
    """What may differ between methods may not within one."""
    root = f"--root={tmp_path}"
    for cell in made("--methods=erl", root):
        finish(cell)
    steps = "--config.method.steps=3"
    agreement.check(tmp_path, made("--methods=prl", root, steps))
    with pytest.raises(UserError, match=r"erl-seed0 holds a run with.*\n  method\.steps: 2 -> 3"):
        agreement.check(tmp_path, made("--methods=erl", "--seeds=1", root, steps))


def test_the_table_remarks_what_else_differs(tmp_path):
    one, other = made("--vary=method.steps=1", "--methods=erl", "--seeds=0,1", f"--root={tmp_path}")
    finish(one)
    finish(other, digest="e", epochs=5)
    assert sweep_table.read(tmp_path)[1] == [
        "demo: the cells differ in train.epochs as well.",
        "demo: the cells of sasrec were trained on different data.",
    ]


def test_a_study_beside_a_grid_shows_both_tables(tmp_path, capsys):
    root, file = f"--root={tmp_path}", tmp_path / "t.md"
    for cell in made(root, "--methods=base"):
        finish(cell, 0.25)
    for cell in made(root, *STUDY):
        finish(cell, 0.375)
    assert grid.main([root, "--table", f"--markdown={file}"]) == 0
    out = capsys.readouterr().out
    assert "improvement" in out and "steps=2" in out
    rows = list(markdown.rows(file.read_text()))
    (of_grid,) = (row for row in rows if row["Method"] == "base" and "Options" not in row)
    assert of_grid["NDCG@10"] == ".2500"
    (of_study,) = (row for row in rows if row.get("Options") == "method.steps=2")
    assert of_study["Method"] == "+ERL"
    assert of_study["Valid NDCG@20"] == of_study["NDCG@10"] == ".3750"


def test_a_method_that_is_not_known_comes_last(tmp_path):
    (cell,) = made("--vary=method.steps=1", "--methods=erl", f"--root={tmp_path}")
    finish(cell)
    shutil.copytree(cell.workdir.path, cell.workdir.path.with_name("sasrec-another-seed0"))
    assert [row.row.label for row in sweep_table.read(tmp_path)[0]] == ["+ERL", "another"]


def test_the_table_has_a_row_a_variant(tmp_path, capsys):
    root = tmp_path / "r"
    found = made("--vary=method.steps=2,10", "--methods=base,erl", "--seeds=0,1", f"--root={root}")
    for cell in found:
        cell.workdir.path.mkdir(parents=True)
        value = 0.1 + 0.01 * cell.seed
        test = {name: value for name in ("ndcg@10", "ndcg@20", "recall@10", "recall@20")}
        summary = {"test": test, "valid": {"ndcg@20": 0.3}, "train": {"seconds": 60}}
        cell.workdir.summary.write_text(json.dumps(summary))
    (root / "notes.txt").write_text("not a variant")
    rows, notes = sweep_table.read(root)
    assert notes == []
    assert [(row.method, row.options) for row in rows] == [
        ("base", ""),
        ("erl", "method.steps=2"),
        ("erl", "method.steps=10"),
    ]
    assert rows[0].row.seeds == 2 and rows[0].valid == pytest.approx(0.3)
    file = tmp_path / "t.md"
    assert grid.main([f"--root={root}", "--table", f"--markdown={file}"]) == 0
    assert ".1050" in capsys.readouterr().out
    (row,) = (r for r in markdown.rows(file.read_text()) if r["Options"] == "method.steps=10")
    assert (row["Method"], row["Valid NDCG@20"]) == ("+ERL", ".3000")
    assert markdown.number(row["NDCG@10"]) == pytest.approx(0.105)
