"""Equal epochs: how many they are, what stays of the options, and what is measured once."""

import json

import numpy as np
import pytest

from rearec_jax.config import AnalysisConfig
from rearec_jax.errors import UserError
from rearec_jax.fitting.equal import compare_at_equal_cost
from rearec_jax.run.workdir import load_config
from rearec_jax.studies.analysis import comparable_runs
from rearec_jax.studies.equal import plan
from rearec_jax.studies.equal.costs import Cost
from tests import tiny
from tests.studies.analysis import made

RANKS = np.random.default_rng(0).geometric(0.1, 200)
FAST = AnalysisConfig(resamples=200)
COSTS = {"base": Cost(1.0, 10, 4.0), "erl": Cost(2.5, 10, 5.0)}


@pytest.fixture
def measured(monkeypatch):
    """The configurations whose costs are asked for, call by call."""
    asked = []

    def costs(configs, unit):
        asked.append(([config.method.name for config in configs], unit))
        return [COSTS[config.method.name] for config in configs]

    monkeypatch.setattr(plan, "costs", costs)
    return asked


def run(path, epochs=8, **options):
    dotted = {key.replace("__", "."): value for key, value in options.items()}
    name = made.write_run(path, dotted | {"train.epochs": 8}, RANKS)
    summary = {"data": {"items": 50}, "test": {}, "train": {"epochs": epochs}}
    (path / "summary.json").write_text(json.dumps(summary))
    return name


@pytest.fixture
def runs(tmp_path):
    base = [run(tmp_path / f"b{seed}", method__name="base", seed=seed) for seed in (0, 1)]
    return [*base, *(run(tmp_path / f"e{seed}", method__name="erl", seed=seed) for seed in (0, 1))]


@pytest.mark.parametrize(
    ("budget", "epoch", "epochs"),
    [(80.0, 10.0, 8), (80.0, 25.0, 3), (80.0, 23.0, 3), (80.0, 900.0, 1), (80.0, 4.0, 20)],
)
def test_the_epochs_nearest_to_the_budget_and_at_least_one(budget, epoch, epochs):
    assert plan.equal_epochs(budget, epoch) == epochs


def test_only_the_length_of_the_training_changes():
    before = tiny.config("erl", train__patience=3, train__max_steps=7, train__schedule="cosine")
    after = plan.with_epochs(before, 5)
    assert (after.train.epochs, after.train.patience, after.train.max_steps) == (5, 0, 0)
    assert after.train.schedule == "cosine"
    assert plan.with_epochs(after, 5) == after


def test_the_budget_is_what_the_baseline_was_trained_not_what_it_was_allowed(tmp_path, measured):
    names = [
        run(tmp_path / "b", method__name="base", epochs=5),
        run(tmp_path / "e", method__name="erl"),
    ]
    groups = comparable_runs.group(comparable_runs.read(names))
    found = plan.make_plan(groups, "flops", tmp_path / "costs.json")
    assert found.budget == 50
    assert [share.epochs for share in found.shares] == [5, 2]


def test_costs_are_measured_once_for_the_same_runs(runs, measured, tmp_path):
    groups = comparable_runs.group(comparable_runs.read(runs))
    path = tmp_path / "costs.json"
    first = plan.make_plan(groups, "seconds", path)
    assert plan.make_plan(groups, "seconds", path) == first
    assert measured == [(["base", "erl"], "seconds")]
    plan.make_plan(groups, "flops", path)
    path.write_text("{")
    plan.make_plan(groups, "flops", path)
    assert len(measured) == 3


def test_one_method_alone_is_refused(runs, measured, tmp_path):
    with pytest.raises(UserError, match="a second one in --runs"):
        compare_at_equal_cost(runs[:2], str(tmp_path / "out"), FAST, "flops")


def test_both_lengths_stand_side_by_side_and_nothing_is_trained_twice(
    runs, measured, tmp_path, monkeypatch, capsys
):
    trained = []

    def train_run(path, config, name, started):
        trained.append((config.seed, config.train.epochs))
        better = made.write_run(tmp_path / f"new{config.seed}", {}, np.maximum(RANKS - 1, 1))
        (tmp_path / "equal" / "equal-flops").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"new{config.seed}").rename(path)
        with open(f"{path}/config.json", "w") as file:
            json.dump(plan.config_lib.to_dict(config), file)
        return better

    monkeypatch.setattr("rearec_jax.fitting.equal.train_run", train_run)
    place = tmp_path / "equal"
    for _ in range(2):
        compare_at_equal_cost(runs, str(place), FAST, "flops")
    assert trained == [(0, 3), (1, 3)]
    report = json.loads((place / "comparison.json").read_text())
    own, equal = report["equal"]["groups"][1], report["groups"][2]
    assert (own["epochs"], own["equal_epochs"]) == (8, 3)
    assert own["label_at_equal_cost"] == equal["label"] != own["label"]
    assert load_config(equal["runs"][0]).train.patience == 0
    rows = [line.split("|") for line in (place / "comparison.md").read_text().splitlines()]
    mrr = next(row for row in rows if len(row) > 2 and row[2].strip() == "MRR")
    means = [f"{np.mean(1 / r):.4f}"[1:] for r in (RANKS, RANKS, np.maximum(RANKS - 1, 1))]
    assert [mrr[3].strip(), mrr[4].strip(), mrr[8].strip()] == means
    assert "75" not in capsys.readouterr().err
