"""Whole searches in tiny sizes: what is written, what is refused, stopping and going on."""

from collections.abc import Iterator
import dataclasses
import importlib.util
import os
from pathlib import Path
import shutil
import signal
import time

import jax
import numpy as np
import polars as pl
import pytest

from rearec_jax import config as config_lib
from rearec_jax.config import command_line
from rearec_jax.data import read
from rearec_jax.data.interactions import VALIDATION
from rearec_jax.errors import DivergedError, UserError
from rearec_jax.evaluation import evaluator
from rearec_jax.run import lock
from rearec_jax.run.events import read_events
from rearec_jax.run.workdir import Workdir, load_config, open_workdir
from rearec_jax.studies.tune import alone as running
from rearec_jax.studies.tune import tuner
from rearec_jax.studies.tune.ledger import DONE, FAILED, METRIC, PARTIAL, Ledger, Record
from rearec_jax.studies.tune.shared_updates import SharedUpdates
from rearec_jax.studies.tune.tuner import Request, tune
from tests.faults.tiny_run import TINY
from tests.processes import ROOT

DEMO = str(ROOT / "configs/demo.py")
OPTIONS = TINY | {"method.name": "erl", "train.epochs": 3}
ARGUMENTS = (f"--config={DEMO}", *(f"--config.{name}={value}" for name, value in OPTIONS.items()))
SPACE = ("method.temperature=0.5,2", "train.learning_rate=0.002,0.02")

# ml_collections loads config files in a way that Python 3.15 will not know.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module")


def request_of(root: Path, **changes) -> Request:
    asked = Request(
        root=root,
        options=command_line.load(ARGUMENTS),
        arguments=ARGUMENTS,
        space=SPACE,
        first_epochs=1,
        command="python -m rearec_jax.main --mode=tune",
    )
    return dataclasses.replace(asked, **changes)


@pytest.fixture(scope="module")
def searched(tmp_path_factory) -> Iterator[tuple[Path, Record, list[int]]]:
    """A finished search, its best record, and the splits that were asked for."""
    root, splits = tmp_path_factory.mktemp("search") / "tuned", []
    original, of_split = evaluator.make_evaluator, evaluator.Evaluator.of_split

    def noting(model, config, data, which, *rest):
        splits.append(which)
        return original(model, config, data, which, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluator, "make_evaluator", noting)
        patch.setattr(
            evaluator.Evaluator,
            "of_split",
            lambda self, which: splits.append(which) or of_split(self, which),
        )
        best = tune(request_of(root))
    assert best is not None
    yield root, best, splits


def test_a_search_ends_with_its_best_trained_in_full(searched):
    root, best, _ = searched
    table = pl.read_parquet(root / "trials.parquet")
    assert table.filter(rung=0).height == 5
    assert best.metric == table[METRIC].max() and table["epochs"].max() == 3
    assert set(table["status"]) == {DONE} and (table["seconds"] > 0).all()
    # What the log of the trial says is what decided.
    events = read_events(Workdir(root / "trials" / f"{best.trial:04d}"))
    scores = [event["valid"]["ndcg@20"] for event in events if event["kind"] == "validation"]
    assert max(scores[: best.epochs]) == best.metric


def test_the_test_split_is_never_looked_at(searched):
    root, _, splits = searched
    assert splits and set(splits) == {VALIDATION}
    written = {path.name for path in root.rglob("*")}
    assert not {"summary.json", "ranks.parquet"} & written


def test_best_py_is_a_configuration_that_continues_the_trial(searched):
    root, best, _ = searched
    options = command_line.load([f"--config={root / 'best.py'}"])
    config = config_lib.resolve(options)
    trial = root / "trials" / f"{best.trial:04d}"
    assert config == load_config(trial)
    open_workdir(trial, config)  # raises if it were another run
    spec = importlib.util.spec_from_file_location("best", root / "best.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert "--mode=tune" in module.__doc__ and f"{best.metric:.4f}" in module.__doc__


def test_the_same_command_again_trains_nothing(searched, monkeypatch, capsys):
    root, best, _ = searched
    monkeypatch.setattr(running, "train_alone", None)
    assert tune(request_of(root)) == best
    out = capsys.readouterr().out
    assert "as given" in out and f"--config={root / 'best.py'}" in out


def test_another_search_in_the_same_place_is_refused(searched):
    root, _, _ = searched
    with pytest.raises(UserError, match=r"another search[^$]*temperature: 0\.5,2 -> 0\.5,3"):
        tune(request_of(root, space=("method.temperature=0.5,3", SPACE[1])))
    with pytest.raises(UserError, match="first_epochs: 1 -> 2"):
        tune(request_of(root, first_epochs=2))


def test_the_order_of_the_options_is_no_matter(searched, monkeypatch, capsys):
    root, best, _ = searched
    monkeypatch.setattr(running, "train_alone", None)
    assert tune(request_of(root, space=SPACE[::-1])) == best


def test_trials_of_other_options_are_refused(searched, tmp_path):
    root = tmp_path / "changed"
    shutil.copytree(searched[0], root)
    trials = pl.read_parquet(root / "trials.parquet")
    name = trials.columns[-1]
    trials.with_columns(pl.col(name).shuffle(seed=1)).write_parquet(root / "trials.parquet")
    with pytest.raises(UserError, match="numbers its trials in another order"):
        tune(request_of(root))


def test_other_data_are_refused(searched, tmp_path, monkeypatch):
    root = tmp_path / "changed"
    shutil.copytree(searched[0], root)
    shutil.rmtree(root / "trials")
    (root / "trials.parquet").unlink()  # all trials are to come
    original = read.read_data

    def other(config):
        data = original(config)
        return dataclasses.replace(data, items=data.items[::-1].copy())

    monkeypatch.setattr(read, "read_data", other)
    with pytest.raises(UserError, match="no longer those"):
        tune(request_of(root))


def test_two_searches_in_one_place_are_refused(searched):
    root, _, _ = searched
    with lock.alone(root), pytest.raises(UserError, match="in use by another run"):
        tune(request_of(root))


def test_several_at_once_give_the_same_results_also_after_ctrl_c(searched, tmp_path, monkeypatch):
    root, _, _ = searched
    original = SharedUpdates.update_together

    def interrupted(self, configs, contrast):
        update, calls = original(self, configs, contrast), []

        def wrapped(*given):
            calls.append(given)
            if len(calls) == 2:  # in the middle of the first epoch
                os.kill(os.getpid(), signal.SIGINT)
            return update(*given)

        return wrapped

    request = request_of(tmp_path / "t", parallel=5)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(SharedUpdates, "update_together", interrupted)
        tune(request)
    stopped = pl.read_parquet(request.root / "trials.parquet")
    assert stopped["status"].to_list() == [PARTIAL] * 5 and set(stopped["epochs"]) == {0}
    assert not (request.root / "best.py").exists()
    tune(request)
    alone, together = (
        pl.read_parquet(place / "trials.parquet").filter(rung=0).sort("trial")
        for place in (root, request.root)
    )
    assert together["trial"].to_list() == alone["trial"].to_list()
    # A rank may change where two scores are nearly equal.
    assert together[METRIC].to_list() == pytest.approx(alone[METRIC].to_list(), abs=0.01)


@pytest.mark.parametrize("parallel", [1, 5])
def test_trained_further_elsewhere_trials_are_compared_as_they_were_at_the_rung(
    searched, tmp_path, parallel
):
    root, _, _ = searched
    shutil.copytree(root / "trials", tmp_path / "t/trials")  # the best of them to the end
    tune(request_of(tmp_path / "t", parallel=parallel))
    before, again = (
        pl.read_parquet(place / "trials.parquet").drop("seconds")
        for place in (root, tmp_path / "t")
    )
    assert again.equals(before)


class Fake:
    """In place of training: a quality by candidate; may be interrupted, fail, or stop early."""

    def __init__(self, monkeypatch):
        self.jobs: list[tuple[int, int]] = []
        self.interrupt_at = -1
        self.failing: set[int] = set()
        self.stale: set[int] = set()
        monkeypatch.setattr(running, "train_alone", self.train)

    def train(self, trial, data, setup, deadline) -> Record:
        job, epochs = trial.job, trial.epochs
        if len(self.jobs) == self.interrupt_at:
            self.interrupt_at = -1
            return Record(*job, PARTIAL, seconds=2.0)
        self.jobs.append(tuple(job))
        if job.candidate in self.failing:
            return Record(*job, FAILED, seconds=1.0)
        if job.candidate in self.stale:
            return Record(*job, DONE, 1, 9.0, 1, 1.0)
        return Record(*job, DONE, epochs, (7 * job.candidate % 5 + epochs) / 10, epochs, 1.0)


def test_killed_after_the_rung_and_before_the_ledger(tmp_path, monkeypatch):
    """Several at once: nothing is left to train, and they are not trained further."""
    asked = {"parallel": 2, "space": SPACE[:1], "trials": 2}

    def killed(self, records):
        raise InterruptedError

    with monkeypatch.context() as patch, pytest.raises(InterruptedError):
        patch.setattr(Ledger, "add", killed)
        tune(request_of(tmp_path / "t", **asked))
    noted = []
    add = Ledger.add
    monkeypatch.setattr(Ledger, "add", lambda self, found: (noted.append(found), add(self, found)))
    tune(request_of(tmp_path / "t", **asked))
    assert [(r.trial, r.rung, r.status, r.epochs) for r in noted[0]] == [
        (0, 0, DONE, 1),
        (1, 0, DONE, 1),
    ]


@pytest.fixture
def fake(monkeypatch) -> Fake:
    return Fake(monkeypatch)


SIX = {"space": ("method.temperature=0.5,0.6,0.7,0.8,2",), "first_epochs": 1}


def test_interrupted_anywhere_it_goes_on_to_the_same_end(fake, tmp_path):
    whole = tune(request_of(tmp_path / "whole", **SIX))
    order = fake.jobs
    for stop in range(len(order)):
        fake.jobs, fake.interrupt_at = [], stop
        with pytest.raises(KeyboardInterrupt):
            tune(request_of(tmp_path / str(stop), **SIX))
        assert tune(request_of(tmp_path / str(stop), **SIX)) is not None
        assert fake.jobs == order
    best = tune(request_of(tmp_path / "0", **SIX))
    assert best is not None and whole is not None
    assert (best.trial, best.metric) == (whole.trial, whole.metric)


def test_the_budget_counts_all_starts(fake, tmp_path, monkeypatch):
    fake.interrupt_at = 2
    with pytest.raises(KeyboardInterrupt):
        tune(request_of(tmp_path / "t", **SIX))  # has cost 1 + 1 + 2 seconds
    fake.jobs = []
    tune(request_of(tmp_path / "t", minutes=3.9 / 60, **SIX))
    assert fake.jobs == []
    tune(request_of(tmp_path / "t", minutes=5.0, trials=3, **SIX))
    assert {trial for trial, _ in fake.jobs} <= {0, 1, 2}
    tune(request_of(tmp_path / "t", minutes=5.0, **SIX))
    assert {trial for trial, rung in fake.jobs if rung == 0} == {2, 3, 4, 5}


def test_failed_candidates_never_win(fake, tmp_path, capsys):
    fake.failing = {2, 4}  # 2 would be the best
    best = tune(request_of(tmp_path / "t", **SIX))
    assert best is not None and best.trial not in fake.failing
    assert "2 failed" in capsys.readouterr().out
    fake.failing = set(range(9))
    assert tune(request_of(tmp_path / "all", **SIX)) is None
    assert not (tmp_path / "all" / "best.py").exists()


def test_who_stopped_early_trains_no_more(fake, tmp_path):
    fake.stale = {2}  # the best by far after its only epoch
    root = tmp_path / "t"
    tune(
        request_of(root, **SIX, options=command_line.load([*ARGUMENTS, "--config.train.epochs=9"]))
    )
    assert (2, 0) in fake.jobs and (2, 1) in fake.jobs and (2, 2) not in fake.jobs
    assert pl.read_parquet(root / "trials.parquet").filter(trial=2).height == 3


def test_a_divergence_is_a_failed_trial(monkeypatch, tmp_path, capsys):
    def diverging(*_):
        raise DivergedError("the loss is nan at step 3")

    monkeypatch.setattr(running.loop, "trained", diverging)
    assert tune(request_of(tmp_path / "t", trials=1)) is None
    assert "trial 0000 failed: the loss is nan" in capsys.readouterr().out


def test_other_errors_are_not_swallowed(monkeypatch, tmp_path):
    def broken(*_):
        raise UserError("no room")

    monkeypatch.setattr(running.loop, "trained", broken)
    with pytest.raises(UserError, match="no room"):
        tune(request_of(tmp_path / "t", trials=1))


def test_the_deadline_stops_a_training_and_saves_it(tmp_path):
    root = tmp_path / "t"
    started = time.monotonic()
    tune(request_of(root, minutes=0.01 / 60, trials=1))
    assert time.monotonic() - started < 60
    table = pl.read_parquet(root / "trials.parquet") if (root / "trials.parquet").exists() else None
    assert table is None or set(table["status"]) <= {PARTIAL, DONE}


def test_too_little_memory_for_several_at_once(fake, monkeypatch, tmp_path, capsys):
    def full(*_):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")

    monkeypatch.setattr(tuner, "train_together", full)
    assert tune(request_of(tmp_path / "t", parallel=4, **SIX)) is not None
    assert capsys.readouterr().out.count("too little memory for 4 at once") == 1


def test_on_a_cpu_candidates_with_kl_train_one_after_another(fake, monkeypatch, tmp_path):
    def never(*_):
        raise AssertionError("XLA's program of several crashes")

    monkeypatch.setattr(tuner, "train_together", never)
    space = ("method.kl_weight=0.01,0.02,0.03",)
    assert tune(request_of(tmp_path / "t", parallel=2, space=space)) is not None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"minutes": 0.0}, "--minutes=0 must be a positive"),
        ({"minutes": float("nan")}, "--minutes=nan"),
        ({"trials": -1}, "--trials=-1"),
        ({"parallel": -1}, "--parallel=-1"),
        ({"first_epochs": 0}, "--first_epochs=0"),
    ],
)
def test_mistakes(changes, words, tmp_path):
    with pytest.raises(UserError, match=words):
        tune(request_of(tmp_path / "t", **changes))
    assert not (tmp_path / "t").exists()


def test_the_configuration_is_found_in_any_command_line():
    argv = ["--mode=tune", "--config", "a.py", "--space=seed=1", "-config.seed=3", "--workdir=r"]
    assert command_line.split(argv)[0] == ["--config=a.py", "-config.seed=3"]
    assert command_line.split(argv)[1] == ["--mode=tune", "--space=seed=1", "--workdir=r"]
    argv = ["--config=a.py", "--config.eval.exclude_seen", "--space=seed=1"]
    assert command_line.split(argv)[0] == ["--config=a.py", "--config.eval.exclude_seen"]


def test_data_without_validation_cannot_be_searched(tmp_path, monkeypatch):
    original = read.read_data

    def without(config):
        data = original(config)
        return dataclasses.replace(data, split=np.where(data.split == VALIDATION, 1, data.split))

    monkeypatch.setattr(read, "read_data", without)
    with pytest.raises(UserError, match=r"candidates by validation, and the data have no row"):
        tune(request_of(tmp_path / "tuned"))
