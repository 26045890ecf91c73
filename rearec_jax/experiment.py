"""A run from configuration to summary: train, evaluate, write, show."""

import contextlib
import dataclasses
import os
import pathlib
import time
from typing import Any

import jax
from rich.console import Console

from rearec_jax import config as config_lib
from rearec_jax import (
    evaluate,
    files,
    hosts,
    objectives,
    profiling,
    sharding,
    table,
    train,
    user_results,
)
from rearec_jax.checkpoint import Checkpoints
from rearec_jax.config import Config
from rearec_jax.data import demo
from rearec_jax.data.interactions import TEST, VALIDATION, Interactions
from rearec_jax.data.prepare import prepare
from rearec_jax.data.vectors import item_vectors
from rearec_jax.errors import UserError
from rearec_jax.evaluate import Ranks
from rearec_jax.inference.runs import keep_items
from rearec_jax.interruption import interruptible
from rearec_jax.meter import History
from rearec_jax.models import backbones
from rearec_jax.models.backbones import Backbone, Variables
from rearec_jax.plan import Plan, make_plan, text_vectors
from rearec_jax.popularity import metrics_by_popularity
from rearec_jax.workdir import (
    FREE_OPTIONS,
    Workdir,
    explained,
    load_config,
    make_directory,
    opened,
)

Summary = dict[str, Any]


def default_workdir(config: Config) -> str:
    """runs/<data>-<backbone>-<method>-<hash>: another configuration gets another directory."""
    kind = f"{config.data.name}-{config.model.backbone}-{config.method.name}"
    return os.path.join("runs", f"{kind}-{config_lib.fingerprint(config)[:6]}")


def train_run(path: str, config: Config, name: str, started: float) -> Summary:
    """Trains (or resumes), evaluates the best epoch on validation and test, writes summary.json.

    Raises:
        UserError: whatever is wrong with options, data or work directory.
        KeyboardInterrupt: stopped by a signal; what could be saved is.
    """
    with contextlib.ExitStack() as stack:
        opening = opened(path, config) if hosts.is_first() else _found(path)
        workdir = hosts.first_then_others(lambda: stack.enter_context(opening))
        data = hosts.first_then_others(lambda: read_data(config))
        hosts.first_then_others(lambda: workdir.check_data(data.digests()))
        hosts.first_then_others(lambda: keep_items(workdir, data))
        _announce(config, data, workdir)
        with interruptible(), train.trained(config, data, workdir, started) as outcome:
            summary, ranks = _summary(config, name, data, outcome.variables, outcome.history)
        _finish(workdir, workdir.summary, summary, data, ranks)
    return summary


def _found(path: str) -> contextlib.AbstractContextManager[Workdir]:
    """A work directory that another process keeps."""
    return contextlib.nullcontext(Workdir(files.place(path)))


def evaluate_run(path: str, given: Config | None) -> Summary:
    """Evaluates the best checkpoint of a run again, perhaps with other ``eval`` options.

    With the options of the run it renews summary.json; with others it writes
    summary.<option=value>.json beside it. Of a run that is not at its end the name has
    "unfinished" in it: summary.json says that a run is done.

    Raises:
        UserError: no such run, no checkpoint, or options other than ``eval`` that differ.
    """
    run = restore(path, given)
    with interruptible():
        summary, ranks = _summary(
            run.config, str(run.workdir.config), run.data, run.variables, run.history
        )
    target = run.workdir.path / ".".join(["summary", *run.changes, "json"])
    _finish(run.workdir, target, summary, run.data, ranks)
    return summary


@dataclasses.dataclass(frozen=True)
class Restored:
    """A trained run: its best epoch.

    ``changes`` are ``eval`` options that now differ ("option=value"), after "unfinished" if its
    training is not at its end.
    """

    workdir: Workdir
    config: Config
    changes: list[str]
    data: Interactions
    model: Backbone
    variables: Variables
    history: History


def restore(path: str, given: Config | None) -> Restored:
    """The best checkpoint of a run, with its data.

    Raises:
        UserError: no such run, no checkpoint, or options other than ``eval`` that differ.
    """
    trained = load_config(path)
    config = given or trained
    changes = _changes(trained, config)
    workdir = Workdir(files.place(path))
    if not workdir.is_trained:
        raise UserError(f"{workdir.path} holds no finished epoch yet; train it first")
    data = hosts.first_then_others(lambda: read_data(config))
    workdir.check_data(data.digests())
    plan = make_plan(config, data)
    variables, history = _best(plan, workdir)
    if not plan.ends(plan.step_after(history.epochs), history):
        changes = ["unfinished", *changes]
    model = backbones.build(config, data.num_items)
    return Restored(workdir, config, changes, data, model, variables, history)


def profile_run(path: str, config: Config) -> None:
    """Traces a few updates from fresh parameters into ``path``/profile; trains nothing.

    Raises:
        UserError: whatever is wrong with options, data or directory.
    """
    if jax.process_count() > 1:
        raise UserError("--mode=profile is for one process; leave out --coordinator")
    directory = pathlib.Path(path) / "profile"
    with interruptible():
        data = read_data(config)
        make_directory(directory)
        profiling.profile(config, data, directory)


def _changes(trained: Config, given: Config) -> list[str]:
    """One "option=value" for each ``eval`` option that gives other numbers than the run's own."""
    lines = config_lib.difference(config_lib.to_dict(trained), config_lib.to_dict(given))
    changed = [line.split(": ")[0] for line in lines]
    refused = [
        line
        for line, name in zip(lines, changed, strict=True)
        if not name.startswith((*FREE_OPTIONS, "eval."))
    ]
    if refused:
        raise UserError(
            "--config differs from what the work directory was trained with; leave --config out, or"
            " set back:\n  " + "\n  ".join(refused)
        )
    names = [name.removeprefix("eval.") for name in changed if not name.startswith(FREE_OPTIONS)]
    return [f"{name}={_plain(getattr(given.eval, name))}" for name in names]


def _plain(value: object) -> str:
    """As it may stand in a file's name."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _best(plan: Plan, workdir: Workdir) -> tuple[Variables, History]:
    """The best epoch's parameters, and the history up to the last epoch."""
    with Checkpoints(workdir.checkpoints) as checkpoints:
        found = checkpoints.restore_best(train.abstract_state(plan))
        last = checkpoints.last_progress()
    if found is None:
        raise UserError(f"{workdir.path} holds no finished epoch yet; train it first")
    return found[0].variables, History(**(last or found[1]))


def _summary(
    config: Config,
    name: str,
    data: Interactions,
    variables: Variables,
    history: History,
) -> tuple[Summary, Ranks]:
    """Of validation and test; the ranks are the test's."""
    cutoffs = config.eval.cutoffs
    results: Summary = {}
    seconds = 0.0
    mesh = sharding.make_mesh(config.mesh)
    model, text = objectives.build_model(config, data.num_items, mesh), text_vectors(data, mesh)
    for split, which in (("valid", VALIDATION), ("test", TEST)):
        evaluator = evaluate.evaluator(model, config, data, which, text, mesh)
        clock = time.perf_counter()
        ranks = evaluator(variables)
        seconds += time.perf_counter() - clock
        results |= evaluate.report(ranks, cutoffs, split)
    by_popularity = metrics_by_popularity(
        ranks.final, data.items[ranks.examples], data.training_counts(), cutoffs
    )
    popularity = evaluate.popularity_ranks(data, ranks.examples, config.eval.exclude_seen)
    summary: Summary = {
        "config": name,
        "method": config.method.name,
        "backbone": config.model.backbone,
        "steps": config.method.steps,
        "data": {
            "name": data.name,
            "users": data.num_users,
            "items": data.num_items,
            "interactions": data.num_interactions,
        },
        "best_epoch": history.best_epoch,
        "train": {
            "targets_per_second": history.targets / history.seconds if history.seconds else 0.0,
            "seconds": history.seconds,
            "seconds_to_first_step": history.seconds_to_first_step,
            "epochs": history.epochs,
        },
        **results,
        "test_by_popularity": by_popularity,
        "popularity": evaluate.metrics(popularity, cutoffs),
        "evaluation_seconds": seconds,
        "device": jax.devices()[0].device_kind,
        "notes": _notes(config),
    }
    if config.data.source == "demo" and not config.eval.exclude_seen:
        summary["best_possible"] = demo.best_possible(data, config.data)
    return summary, ranks


def _notes(config: Config) -> list[str]:
    notes = []
    if config.eval.exclude_seen:
        notes.append("items that the user has had are not ranked")
    if config.eval.max_users:
        notes.append(f"a fixed random sample of {config.eval.max_users:,} users")
    if config.eval.steps >= 0:
        notes.append(f"{config.eval.steps} reasoning steps at inference")
    if not config.eval.by_step:
        notes.append("steps are not ranked on their own")
    return notes


def read_data(config: Config) -> Interactions:
    """The interactions, with vectors of the items' text where the backbone reads them."""
    data = prepare(config.data)
    if config.model.items == "ids":
        return data
    return dataclasses.replace(data, item_vectors=item_vectors(config, data).vectors)


def _announce(config: Config, data: Interactions, workdir: Workdir) -> None:
    console = Console()
    console.print(
        f"{config.method.name} on {config.model.backbone}, {data.name}: {data.num_users:,} users,"
        f" {data.num_items:,} items, {data.num_interactions:,} interactions;"
        f" work directory {workdir.path}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _finish(
    workdir: Workdir, target: pathlib.Path, summary: Summary, data: Interactions, ranks: Ranks
) -> None:
    """Writes summary*.json and the ranks by user beside it, and shows the results."""
    if not hosts.is_first():
        return
    by_user = target.with_name(target.name.replace("summary", "ranks", 1)).with_suffix(".parquet")
    with explained(by_user):
        user_results.write(by_user, data, ranks)
    workdir.write_summary(summary, target)
    table.print_results(summary)
    for path in (target, by_user):
        Console().print(f"written: {path}", markup=False, highlight=False, soft_wrap=True)
