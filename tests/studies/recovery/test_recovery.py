"""The controls of a method, and the share of its gain that each recovers."""

from pathlib import Path

import numpy as np
import pytest

from rearec_jax.config import AnalysisConfig
from rearec_jax.errors import UserError
from rearec_jax.studies.analysis import comparable_runs, paired_tests
from rearec_jax.studies.equal import costs
from rearec_jax.studies.grid import cells
from rearec_jax.studies.recovery import __main__ as recovery
from rearec_jax.studies.recovery import recovery_table
from rearec_jax.studies.recovery.controls import (
    CONTROLS,
    Control,
    Pair,
    cells_of,
    same_losses,
    same_parameters,
    same_time,
)
from rearec_jax.studies.recovery.recovery_table import Recovered
from tests import tiny
from tests.processes import ROOT
from tests.studies.analysis import made

# ml_collections loads config files in a way that Python 3.15 will not know.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module")

DEMO = str(ROOT / "configs/demo.py")
RANKS = np.full(100, 11)  # beyond the first ten


def pair(method, **changes):
    return Pair(tiny.config(method, **changes), tiny.config("base", **changes), 9, 40)


def test_the_baseline_trains_as_long_and_is_not_stopped():
    assert dict(same_time(pair("prl")).options) == {"train.epochs": "9", "train.patience": "0"}
    limited = dict(same_time(pair("prl", train__max_steps=5)).options)
    assert limited["train.max_steps"] == "0"


def test_there_is_a_loss_for_each_state_of_the_method():
    assert same_losses(pair("erl", steps=3)).options == (("train.dropout_samples", "4"),)


def test_the_wider_baseline_has_just_as_many_parameters():
    given = pair("prl", steps=3)
    ((name, hidden),) = same_parameters(given).options
    assert name == "model.hidden"

    def count(width):
        return costs.parameters(tiny.config("base", model__hidden=width), given.items)

    wanted = costs.parameters(given.method, given.items)
    assert count(int(hidden) - 1) < wanted <= count(int(hidden))
    assert same_parameters(pair("naive")).options == ()  # no step of it has a vector


def test_cells_of_a_control_lie_below_its_options_and_continue(tmp_path):
    flags = [f"--configs={DEMO}", "--backbones=sasrec", "--methods=base", f"--root={tmp_path}"]
    (base,) = cells.make_cells(recovery.parse(flags))
    (cell,) = cells_of([base], Control("x", (("train.epochs", "9"), ("train.patience", "0"))))
    assert cell.workdir.path == tmp_path / "train.epochs=9,train.patience=0" / base.name
    assert cell.options["train"]["epochs"] == 9 and cell.options["train"]["patience"] == 0
    assert cell.options["method"] == base.options["method"]


def recovered(tmp_path, hits):
    """Runs that rank the targets of the first so many of 100 users first: base ... method."""
    names = ["base", *(f"control{n}" for n in range(len(hits) - 2)), "method"]
    groups = []
    for number, (name, count) in enumerate(zip(names, hits, strict=True)):
        ranks = np.where(np.arange(100) < count, 1, RANKS)
        path = made.write_run(Path(tmp_path) / name, {"train.epochs": number + 1}, ranks)
        groups.append(comparable_runs.Group(str(number), tuple(comparable_runs.read([path]))))
    controls = tuple(Control(name, (("a", "1"),)) for name in names[1:-1])
    compared = paired_tests.compare(groups, AnalysisConfig(resamples=100))
    return Recovered("demo", "prl", controls, (Control("nothing", ()),), compared)


def test_shares_of_the_gain(tmp_path):
    found = recovered(tmp_path, [20, 30, 25, 60])
    shown = recovery_table.rows(found)
    assert [row[0] for row in shown] == ["base", "+ control0", "+ control1", "prl"]
    assert [row[2] for row in shown] == ["-", "25%", "12%", "100%"]
    assert shown[0][3] == "-" and float(shown[1][3]) < 0.01
    said = " ".join(recovery_table.remarks(found))
    assert "nothing: the method has no more than base" in said
    assert "control0 recovers the most, 25%; the other 75%" in said
    assert "| prl | .6000 | 100% |" in recovery_table.markdown([found])


@pytest.mark.parametrize(("hits", "recovers"), [([20, 90, 60], "100%"), ([20, 10, 60], "0%")])
def test_no_more_than_all_and_no_less_than_nothing_is_recovered(tmp_path, hits, recovers):
    assert f"the most, {recovers};" in recovery_table.remarks(recovered(tmp_path, hits))[-1]


def test_without_a_gain_there_is_nothing_to_recover(tmp_path):
    found = recovered(tmp_path, [20, 30, 20])
    assert recovery_table.rows(found)[1][2] == "-"
    assert "nothing to recover" in recovery_table.remarks(found)[-1]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--methods=base"], "no method beside base"),
        (["--methods=pearl"], "must be of base"),
        (["--methods=prl", "--vary=method.steps=1,2"], "leave out --vary"),
        (["--methods=prl", "--table"], "base are not finished yet"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, flags, words):
    with pytest.raises(UserError, match=words):
        recovery.main([f"--configs={DEMO}", "--backbones=sasrec", f"--root={tmp_path}", *flags])


def test_every_control_says_what_it_gives():
    sentences = [control(pair("prl")).sentence for control in CONTROLS]
    assert len(set(sentences)) == len(CONTROLS) == 3
