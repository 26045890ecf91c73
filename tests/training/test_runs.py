"""Whole runs in tiny sizes: train, stop anywhere, resume, evaluate again."""

import contextlib
import dataclasses
import functools
import json
import os
from pathlib import Path
import signal
import time
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rearec_jax import config as config_lib
from rearec_jax.commands import evaluate, train
from rearec_jax.commands.given import Given
from rearec_jax.config import Config
from rearec_jax.data import read
from rearec_jax.data.prepare import prepare
from rearec_jax.errors import UserError
from rearec_jax.evaluation import evaluator
from rearec_jax.methods import METHODS
from rearec_jax.run.checkpoint import Checkpoints
from rearec_jax.run.events import read_events
from rearec_jax.run.workdir import Workdir, load_config, open_workdir, opened
from rearec_jax.training import loop, objective
from rearec_jax.training import step as step_module
from rearec_jax.training.restored import best_parameters
from rearec_jax.training.setup import make_setup
from tests.faults import tiny_run

TINY = tiny_run.TINY


def tiny(**changes: Any) -> Config:
    """Changes are dotted, with __ for the dot."""
    options = config_lib.default()
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    for name, value in (TINY | dotted).items():
        section, key = name.split(".")
        options[section][key] = value
    return config_lib.resolve(options)


def run(path: Path, config: Config) -> dict[str, Any]:
    return train.train_run(str(path), config, "configs/tiny.py", time.perf_counter())


def fit(path: Path, config: Config) -> loop.Outcome:
    """Training alone."""
    data = prepare(config.data)
    with (
        opened(path, config) as workdir,
        loop.trained(config, data, workdir, time.perf_counter()) as outcome,
    ):
        return outcome


@functools.cache
def abstract_state() -> loop.TrainState:
    return loop.abstract_state(make_setup(tiny(), prepare(tiny().data)))


def restored(path: Path, kind: str = "last") -> tuple[Any, dict[str, Any]]:
    state = abstract_state()
    with Checkpoints(Workdir(path).checkpoints) as checkpoints:
        found = getattr(checkpoints, f"restore_{kind}")(state)
    assert found is not None
    return found


def events(path: Path) -> list[dict[str, Any]]:
    """Without what depends on the clock."""
    timed = ("seconds", "targets_per_second")
    read = read_events(Workdir(path))
    return [{key: event[key] for key in event if key not in timed} for event in read]


def same_run(one: Path, other: Path) -> None:
    """Equal to the last bit: parameters, moments, best epoch, events."""
    for kind in ("last", "best"):
        (state, history), (state2, history2) = restored(one, kind), restored(other, kind)
        chex.assert_trees_all_equal(state, state2)
        for name in ("epochs", "best", "best_epoch"):
            assert history[name] == history2[name]
    assert events(one) == events(other)


def steps_per_epoch(config: Config) -> int:
    return make_setup(config, prepare(config.data)).steps_per_epoch


def saves_in_the_place_of_another(monkeypatch) -> list[int]:
    """Numbers of last checkpoints that had to go before the new one was whole."""
    found: list[int] = []
    original = Checkpoints.save_last

    def save(self, number, state, progress):
        found.extend({number} & set(self._last.store.numbers()))
        original(self, number, state, progress)

    monkeypatch.setattr(Checkpoints, "save_last", save)
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A run that nothing disturbed."""
    path = tmp_path_factory.mktemp("whole") / "run"
    run(path, tiny())
    return path


class Boom(BaseException):
    """As sudden as a kill, but the process of the tests survives it."""


def at_step(monkeypatch, step: int, change) -> list[int]:
    """``change(state, parts)`` replaces what update ``step`` gives; returns the steps seen."""
    seen: list[int] = []
    original = step_module.update_function

    def make(*arguments):
        inner = original(*arguments)

        def wrapped(state, batch):
            seen.append(int(state.step) + 1)
            result = inner(state, batch)
            return change(*result) if seen[-1] == step else result

        return wrapped

    monkeypatch.setattr("rearec_jax.training.setup.update_function", make)
    return seen


def fail(state, parts):
    raise Boom


class TestFiles:
    def test_summary_has_what_the_design_says(self, whole):
        summary = json.loads((whole / "summary.json").read_text())
        assert {"config", "method", "backbone", "steps", "data", "best_epoch", "train"} <= set(
            summary
        )
        assert {"users", "items", "interactions"} <= set(summary["data"])
        speed = summary["train"]
        assert {"targets_per_second", "seconds", "seconds_to_first_step"} <= set(speed)
        assert speed["targets_per_second"] > 0 and speed["seconds"] > 0
        assert speed["seconds_to_first_step"] > 0
        ks = ("ndcg@10", "ndcg@20", "recall@10", "recall@20", "mrr")
        assert set(ks) <= set(summary["test"]) and set(ks) <= set(summary["valid"])
        assert [row["step"] for row in summary["test_by_step"]] == [0, 1]
        assert set(ks) <= set(summary["test_best_step_in_hindsight"])

    def test_every_event_and_tensorboard(self, whole):
        steps = steps_per_epoch(tiny())
        found = events(whole)
        training = [event for event in found if event["kind"] == "training"]
        validation = [event for event in found if event["kind"] == "validation"]
        assert [event["step"] for event in training] == list(range(1, 2 * steps + 1))
        assert [event["epoch"] for event in validation] == [1, 2]
        assert set(validation[0]["valid_ndcg@20_by_step"]) == {"step_0", "step_1"}
        assert list((whole / "tensorboard").iterdir())

    def test_config_is_the_configuration(self, whole):
        assert load_config(whole) == tiny()

    def test_targets_are_counted_one_by_one(self, whole):
        setup = make_setup(tiny(), prepare(tiny().data))
        counts = [targets for _, targets in setup.rest_of_epoch(0)]
        assert sum(counts) == setup.batches.targets_per_epoch
        assert len(set(counts)) > 1
        _, history = restored(whole)
        assert history["targets"] == sum(counts[1:]) + self.second_epoch(setup)  # 1st: compiled

    @staticmethod
    def second_epoch(setup) -> int:
        return sum(targets for _, targets in setup.rest_of_epoch(setup.steps_per_epoch))


class TestResume:
    def test_finished_run_is_evaluated_again(self, whole, monkeypatch):
        before = json.loads((whole / "summary.json").read_text())
        seen = at_step(monkeypatch, 0, fail)
        after = run(whole, tiny())
        assert seen == []
        assert json.loads(json.dumps(after["test"])) == before["test"]
        assert after["train"] == before["train"]

    def test_more_epochs_are_as_if_they_had_been_asked_for_at_first(self, whole, tmp_path):
        fit(tmp_path / "run", tiny(train__epochs=1))
        fit(tmp_path / "run", tiny())
        same_run(whole, tmp_path / "run")

    def test_killed_within_an_epoch(self, whole, tmp_path, monkeypatch):
        config = tiny(train__checkpoint_minutes=1e-9)  # a checkpoint at every step
        steps = steps_per_epoch(config)
        for kill_at in (2, steps, steps + 2):
            with monkeypatch.context() as patch, pytest.raises(Boom):
                at_step(patch, kill_at, fail)
                fit(tmp_path / "run", config)
        fit(tmp_path / "run", config)
        same_run(whole, tmp_path / "run")

    def test_killed_around_validation(self, whole, tmp_path, monkeypatch):
        """Before it, before its event is written, and before its checkpoint is saved."""
        places = ((evaluator.Evaluator, "__call__"), (loop.EventLog, "append"))
        for owner, name in (*places, (Checkpoints, "save_last")):
            original = getattr(owner, name)

            def fails(self, *arguments, original=original, name=name):
                if name != "append" or arguments[0]["kind"] == "validation":
                    raise Boom
                return original(self, *arguments)

            with monkeypatch.context() as patch, pytest.raises(Boom):
                patch.setattr(owner, name, fails)
                fit(tmp_path / "run", tiny())
        fit(tmp_path / "run", tiny())
        same_run(whole, tmp_path / "run")

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_signal_saves_at_the_next_step(self, whole, tmp_path, monkeypatch, number):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            seen = at_step(patch, 2, lambda *result: os.kill(os.getpid(), number) or result)
            fit(tmp_path / "run", tiny())
        assert seen == [1, 2]
        assert int(restored(tmp_path / "run")[0].step) == 2
        fit(tmp_path / "run", tiny())
        same_run(whole, tmp_path / "run")

    def test_signal_during_validation(self, whole, tmp_path, monkeypatch):
        def interrupt(self, variables):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
            raise AssertionError("not interrupted")

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(evaluator.Evaluator, "__call__", interrupt)
            fit(tmp_path / "run", tiny())
        state, history = restored(tmp_path / "run")
        assert int(state.step) == steps_per_epoch(tiny()) and history["epochs"] == 0
        with monkeypatch.context() as patch:
            replaced = saves_in_the_place_of_another(patch)
            fit(tmp_path / "run", tiny())
        assert not replaced
        same_run(whole, tmp_path / "run")

    def test_signal_while_a_callback_runs_is_not_lost(self, whole, tmp_path, monkeypatch):
        """Python drops what is raised inside a callback; here, before the first update."""
        original = loop.make_setup

        def make_setup(config, data):
            with contextlib.suppress(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
            return original(config, data)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(loop, "make_setup", make_setup)
            seen = at_step(patch, 1, fail)
            fit(tmp_path / "run", tiny())
        assert seen == []
        fit(tmp_path / "run", tiny())
        same_run(whole, tmp_path / "run")

    def test_signal_during_the_last_evaluation_is_not_lost(self, tmp_path, monkeypatch):
        original = evaluator.report

        def report(*arguments):
            with contextlib.suppress(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
            return original(*arguments)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(evaluator, "report", report)
            run(tmp_path / "run", tiny(train__epochs=1))
        assert not (tmp_path / "run" / "summary.json").exists()

    def test_signal_before_training_leaves_nothing(self, tmp_path, monkeypatch):
        def interrupt(config):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)

        monkeypatch.setattr(read, "prepare", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "run", tiny())
        assert not (tmp_path / "run").exists()

    def test_other_data_under_the_same_options_are_refused(self, tmp_path, monkeypatch):
        fit_all = tiny(train__epochs=1)
        run(tmp_path / "run", fit_all)
        data = prepare(fit_all.data)
        other = dataclasses.replace(data, items=data.items[::-1].copy())
        monkeypatch.setattr(read, "prepare", lambda config: other)
        before = (tmp_path / "run" / "summary.json").read_text()
        for again in (lambda: run(tmp_path / "run", fit_all), self.evaluate_again(tmp_path)):
            with pytest.raises(UserError, match="no longer those"):
                again()
        assert (tmp_path / "run" / "summary.json").read_text() == before

    @staticmethod
    def evaluate_again(tmp_path):
        return lambda: evaluate.evaluate_run(str(tmp_path / "run"), None)

    def test_moved_data_and_free_options(self, tmp_path):
        """The data are memory-mapped arrays of the cache, made from a file that then moves."""
        data = tmp_path / "sequences.txt"
        rng = np.random.default_rng(0)
        lines = [f"u{u} " + " ".join(map(str, rng.permutation(20)[:8])) for u in range(30)]
        data.write_text("\n".join(lines) + "\n")
        options = {
            "data__source": "sequences",
            "data__cache_dir": str(tmp_path / "cache"),
            "train__batch_size": 50,
        }
        config = tiny(data__path=str(data), train__max_steps=3, **options)
        first = run(tmp_path / "run", config)
        moved = data.rename(tmp_path / "elsewhere.txt")
        second = run(
            tmp_path / "run",
            tiny(data__path=str(moved), train__max_steps=3, train__log_every_steps=9, **options),
        )
        assert second["test"] == first["test"]
        assert isinstance(prepare(load_config(tmp_path / "run").data).items, np.memmap)


class TestDivergence:
    def test_loss_that_is_not_finite_is_named(self, whole, tmp_path, monkeypatch):
        config = tiny(train__checkpoint_minutes=1e-9)
        step = steps_per_epoch(config) + 2
        with monkeypatch.context() as patch, pytest.raises(UserError) as caught:
            seen = at_step(
                patch, step, lambda state, parts: (state, parts | {"loss": jnp.array(jnp.nan)})
            )
            fit(tmp_path / "run", config)
        assert f"the loss is nan at step {step} (epoch 2)" in str(caught.value)
        assert seen[-1] <= step + 1
        assert int(restored(tmp_path / "run")[0].step) == step - 1
        fit(tmp_path / "run", config)
        same_run(whole, tmp_path / "run")

    @pytest.mark.parametrize("at_the_end", [False, True])
    def test_state_that_is_not_finite_is_never_saved(self, tmp_path, monkeypatch, at_the_end):
        """An update may spoil the parameters although its loss, of those before it, is finite."""
        steps = steps_per_epoch(tiny())
        step = 2 * steps if at_the_end else steps + 1

        def spoil(state, parts):
            moments = jax.tree.map(lambda x: x * jnp.ones((), x.dtype) / 0, state.optimizer)
            return state._replace(optimizer=moments), parts

        at_step(monkeypatch, step, spoil)
        config = tiny(train__checkpoint_minutes=10.0 if at_the_end else 1e-9)
        with pytest.raises(UserError, match=f"not finite at step {step} "):
            fit(tmp_path / "run", config)
        state, history = restored(tmp_path / "run")
        assert (int(state.step), history["epochs"]) == (steps, 1)

    def test_nothing_is_left_of_a_run_that_diverges_at_once(self, tmp_path, monkeypatch):
        at_step(monkeypatch, 1, lambda state, parts: (state, parts | {"loss": jnp.array(jnp.inf)}))
        with pytest.raises(UserError, match="loss is inf at step 1"):
            fit(tmp_path / "run", tiny())
        assert not (tmp_path / "run").exists()


class TestSelection:
    @staticmethod
    def scores(monkeypatch, scores: list[float]) -> None:
        """Validation NDCG@20 of the epochs, whatever the model does."""
        metrics = evaluator.metrics
        left = iter(scores)

        def scripted(ranks, cutoffs, weights=None):
            result = metrics(ranks, cutoffs, weights)
            if len(cutoffs) > 1:  # the whole report, not that of one step
                result["ndcg@20"] = next(left)
            return result

        monkeypatch.setattr(loop.evaluator, "metrics", scripted)

    def test_early_stopping_restores_the_best(self, tmp_path, monkeypatch):
        # Equal to four digits: an unrounded comparison sees that epoch 3 is better than epoch 2.
        self.scores(monkeypatch, [0.0, 0.12341, 0.12342, 0.1, 0.12342, 0.9])
        config = tiny(train__epochs=9, train__patience=2, train__max_steps=0)
        outcome = fit(tmp_path, config)
        assert (outcome.history.best_epoch, outcome.history.epochs) == (3, 5)
        best, _ = restored(tmp_path, "best")
        assert int(best.step) == 3 * steps_per_epoch(config)
        chex.assert_trees_all_equal(outcome.variables, best.variables)

    def test_best_weights_and_best_epoch_agree_after_a_kill(self, tmp_path, monkeypatch):
        """Also where what is computed again is not the same to the last bit."""
        config = tiny(train__epochs=3, train__max_steps=0)

        def killed(*_: Any) -> None:
            raise InterruptedError

        with monkeypatch.context() as patch, pytest.raises(InterruptedError):
            self.scores(patch, [0.1, 0.2])
            save_best = Checkpoints.save_best

            def save(self: Checkpoints, number: int, *rest: Any) -> None:
                save_best(self, number, *rest)
                if number > 1 + steps_per_epoch(config):
                    patch.setattr(Checkpoints, "save_last", killed)

            patch.setattr(Checkpoints, "save_best", save)
            fit(tmp_path, config)
        self.scores(monkeypatch, [0.05, 0.06])
        outcome = fit(tmp_path, config)
        assert (outcome.history.best_epoch, outcome.history.best) == (2, 0.2)
        best, history = restored(tmp_path, "best")
        assert (int(best.step), history["epochs"]) == (2 * steps_per_epoch(config), 2)
        chex.assert_trees_all_equal(outcome.variables, best.variables)

    def test_parameters_are_read_whatever_the_schedule(self, tmp_path):
        """Whoever only loads them does not know how many updates the run had."""
        config = tiny(train__schedule="cosine", train__warmup_steps=2, train__epochs=2)
        outcome = fit(tmp_path, config)
        found = best_parameters(tmp_path, config, prepare(config.data).num_items, None)
        chex.assert_trees_all_equal(found, outcome.variables)

    def test_no_patience_is_endless_patience_and_zero_is_a_score(self, tmp_path, monkeypatch):
        self.scores(monkeypatch, [0.0, 0.0, 0.0])
        outcome = fit(tmp_path, tiny(train__epochs=3, train__patience=0))
        assert (outcome.history.best_epoch, outcome.history.epochs) == (1, 3)
        assert outcome.history.best == 0.0

    def test_another_metric_chooses_the_epoch(self, tmp_path):
        options = {"train__patience": 0, "train__max_steps": 0, "train__epochs": 4}
        outcome = fit(tmp_path / "run", tiny(**options, train__stop_metric="recall@3"))
        validations = [e for e in events(tmp_path / "run") if e["kind"] == "validation"]
        scores = [event["valid"]["recall@3"] for event in validations]
        assert outcome.history.best == max(scores) != max(e["valid"]["mrr"] for e in validations)
        assert outcome.history.best_epoch == 1 + scores.index(max(scores))
        for wrong in ("ndgc@3", "recall@0", "recall", "mrr@5"):
            with pytest.raises(UserError, match=rf"train\.stop_metric='{wrong}' is no metric"):
                fit(tmp_path / "wrong", tiny(train__stop_metric=wrong))

    def test_cutoffs_without_20_and_an_epoch_cut_short(self, tmp_path):
        steps = steps_per_epoch(tiny())
        config = tiny(eval__cutoffs=(5,), train__max_steps=steps + 1)
        summary = run(tmp_path / "run", config)
        assert set(summary["test"]) == {"ndcg@5", "recall@5", "mrr"}
        validations = [e for e in events(tmp_path / "run") if e["kind"] == "validation"]
        assert [event["step"] for event in validations] == [steps, steps + 1]
        assert all("ndcg@20" in event["valid"] for event in validations)


@pytest.fixture
def traces(monkeypatch, cold) -> list[str]:
    """The methods of the updates that were traced."""
    traced: list[str] = []
    build = objective.build

    def noting(task, *arguments):
        objective_of_batch = build(task, *arguments)

        def wrapped(*inputs):
            traced.append(task.config.method.name)
            return objective_of_batch(*inputs)

        return wrapped

    monkeypatch.setattr(objective, "build", noting)
    return traced


class TestTracing:
    @pytest.mark.parametrize(("method", "count"), [("rpe", 1), ("prl", 2)])
    def test_train_step_is_traced_once(self, tmp_path, traces, method, count):
        """Twice where the contrastive term starts later."""
        config = tiny(method__name=method, method__contrastive_warmup_epochs=1)
        fit(tmp_path / "run", config)
        assert traces == [method] * count

    def test_trainings_share_an_update_where_it_is_the_same(self, tmp_path, traces, monkeypatch):
        """Not with another learning rate, nor where a name stands for another method by then."""

        def train_again(name: str, **changes: Any) -> int:
            before = len(traces)
            fit(tmp_path / name, tiny(**{"train__epochs": 1} | changes))
            return len(traces) - before

        assert train_again("first") == 1
        longer = {"train__epochs": 2, "train__patience": 1, "eval__cutoffs": (3,)}
        assert train_again("longer", **longer) == 0
        assert train_again("slower", train__learning_rate=1e-4) == 1
        monkeypatch.setitem(METHODS, "rpe", dataclasses.replace(METHODS["rpe"]))
        assert train_again("anew") == 1

    def test_the_evaluation_at_the_end_takes_the_programs_of_validation(
        self, tmp_path, monkeypatch, cold
    ):
        """Its batches of the test split may have another shape, and their table has not."""
        traced = []
        for name in ("item_table", "encode_and_reason"):
            original = getattr(evaluator, name)

            def noting(*arguments, original=original, name=name):
                traced.append(name)
                return original(*arguments)

            monkeypatch.setattr(evaluator, name, noting)
        run(tmp_path / "run", tiny(train__epochs=1))
        assert traced.count("item_table") == 1
        assert traced.count("encode_and_reason") <= 2


class TestEvaluate:
    def test_the_saved_run_gives_the_same_numbers(self, whole):
        before = json.loads((whole / "summary.json").read_text())
        again = evaluate.evaluate_run(str(whole), None)
        for key in ("valid", "test", "test_by_step", "best_epoch", "popularity"):
            assert again[key] == before[key]
        assert again["train"] == before["train"]

    def test_other_options_get_another_file(self, whole):
        kept = (whole / "summary.json").read_text()
        given = tiny(eval__steps=0, eval__cutoffs=(10, 20), eval__batch_size=7)
        summary = evaluate.evaluate_run(str(whole), given)
        assert (whole / "summary.cutoffs=10,20.steps=0.json").exists()
        assert (whole / "summary.json").read_text() == kept
        assert [row["step"] for row in summary["test_by_step"]] == [0]
        full = json.loads(kept)["test_by_step"][0]
        assert summary["test"]["ndcg@20"] == pytest.approx(full["ndcg@20"])

    def test_without_the_steps_on_their_own(self, whole, capsys):
        kept = json.loads((whole / "summary.json").read_text())
        changes = ["--mode=evaluate", "--config.eval.by_step=False"]  # the run has the others
        evaluate.run(Given(0.0, "evaluate", None, str(whole), [], changes))
        summary = json.loads((whole / "summary.by_step=False.json").read_text())
        assert (whole / "summary.by_step=False.json").exists()
        assert not {"test_by_step", "test_best_step_in_hindsight"} & set(summary)
        assert summary["test"] == kept["test"] and summary["valid"] == kept["valid"]
        shown = capsys.readouterr().out
        assert "final representation" in shown and "hindsight" not in shown

    def test_a_run_that_is_not_at_its_end_gets_no_summary(self, tmp_path, monkeypatch):
        """Or a grid would take it for done."""
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            after = steps_per_epoch(tiny()) + 1
            at_step(patch, after, lambda *result: os.kill(os.getpid(), signal.SIGINT) or result)
            fit(tmp_path / "run", tiny())
        evaluate.evaluate_run(str(tmp_path / "run"), None)
        assert (tmp_path / "run/summary.unfinished.json").exists()
        assert (tmp_path / "run/ranks.unfinished.parquet").exists()
        assert not (tmp_path / "run/summary.json").exists()

    def test_what_cannot_be_evaluated(self, whole, tmp_path):
        wider = ["--config.model.width=16"]
        with pytest.raises(UserError, match=r"only a new training .*\n  model\.width: 8 -> 16"):
            evaluate.run(Given(0.0, "evaluate", None, str(whole), [], wider))
        with pytest.raises(UserError, match="does not exist"):
            evaluate.evaluate_run(str(tmp_path / "nothing"), None)
        open_workdir(tmp_path / "empty", tiny())
        with pytest.raises(UserError, match="no finished epoch"):
            evaluate.evaluate_run(str(tmp_path / "empty"), None)


def test_it_learns(tmp_path):
    """A model of a few thousand parameters beats popularity clearly within seconds."""
    options = {"data__demo_users": 400, "data__demo_items": 60, "model__width": 16}
    config = tiny(
        **options,
        model__max_length=20,
        model__dropout=0.1,
        model__embedding_dropout=0.1,
        train__learning_rate=0.01,
        train__epochs=8,
        train__log_every_steps=100,
    )
    summary = run(tmp_path / "run", config)
    assert summary["test"]["ndcg@10"] > 1.15 * summary["popularity"]["ndcg@10"]
    assert summary["test"]["ndcg@10"] < summary["best_possible"]["ndcg@10"]
