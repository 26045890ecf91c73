"""A run from configuration to summary: train, evaluate, write, show."""

import dataclasses
import os
import pathlib
import time
from typing import Any

import jax
from ml_collections import config_dict
from rich.console import Console

from rearec_jax import config as config_lib
from rearec_jax import evaluate, table, train
from rearec_jax.checkpoint import Checkpoints
from rearec_jax.config import Config
from rearec_jax.data import demo
from rearec_jax.data.interactions import TEST, VALIDATION, Interactions
from rearec_jax.data.prepare import prepare
from rearec_jax.errors import UserError
from rearec_jax.models import backbones
from rearec_jax.models.backbones import Backbone, Variables
from rearec_jax.workdir import Workdir, load_config, open_workdir

Summary = dict[str, Any]


def default_workdir(config: Config) -> str:
    """runs/<data>-<backbone>-<method>-<hash>: another configuration gets another directory."""
    kind = f"{config.data.name}-{config.model.backbone}-{config.method.name}"
    return os.path.join("runs", f"{kind}-{config_lib.fingerprint(config)[:6]}")


def train_run(path: str, config: Config, name: str, started: float) -> Summary:
    """Trains (or resumes), evaluates the best epoch on validation and test, writes summary.json."""
    data = prepare(config.data)
    workdir = open_workdir(path, config)
    _announce(config, data, workdir)
    outcome = train.train(config, data, workdir, started)
    model = backbones.build(config, data.num_items)
    summary = _summary(config, name, data, model, outcome.variables, outcome.history)
    _finish(workdir, workdir.summary, summary)
    return summary


def evaluate_run(path: str, options: config_dict.ConfigDict | None) -> Summary:
    """Evaluates the best checkpoint of a run again, perhaps with other ``eval`` options.

    With the options of the run it renews summary.json; with others it writes
    summary.<differences>.json beside it.

    Raises:
        UserError: no such run, no checkpoint, or options other than ``eval`` that differ.
    """
    trained = load_config(path)
    config = _evaluation_config(trained, options)
    workdir = Workdir(pathlib.Path(path))
    data = prepare(config.data)
    model = backbones.build(config, data.num_items)
    variables, history = _best(config, model, data, workdir)
    summary = _summary(config, str(workdir.config), data, model, variables, history)
    changes = config_lib.difference(config_lib.to_dict(trained), config_lib.to_dict(config))
    options_of_name = [line.split(": ")[0].removeprefix("eval.") for line in changes]
    values = [f"{name}={getattr(config.eval, name)}" for name in options_of_name]
    target = workdir.path / ".".join(["summary", *values, "json"])
    _finish(workdir, target, summary)
    return summary


def _evaluation_config(trained: Config, options: config_dict.ConfigDict | None) -> Config:
    if options is None:
        return trained
    given = config_lib.resolve(options)
    config = dataclasses.replace(given, eval=trained.eval)
    lines = config_lib.difference(config_lib.to_dict(trained), config_lib.to_dict(config))
    lines = [line for line in lines if not line.startswith(("data.path", "data.cache_dir"))]
    if lines:
        raise UserError(
            "--config differs from what the work directory was trained with; leave --config out, or"
            " set back:\n  " + "\n  ".join(lines)
        )
    return given


def _best(
    config: Config, model: Backbone, data: Interactions, workdir: Workdir
) -> tuple[Variables, train.History]:
    state = train.abstract_state(config, model, data)
    with Checkpoints(workdir.checkpoints) as checkpoints:
        found = checkpoints.restore_best(state)
    if found is None:
        raise UserError(f"{workdir.path} holds no finished epoch yet; train it first")
    return found[0].variables, train.History(**found[1])


def _summary(
    config: Config,
    name: str,
    data: Interactions,
    model: Backbone,
    variables: Variables,
    history: train.History,
) -> Summary:
    cutoffs = config.eval.cutoffs
    results: Summary = {}
    seconds = 0.0
    for split, which in (("valid", VALIDATION), ("test", TEST)):
        evaluator = evaluate.evaluator(model, config, data, which)
        clock = time.perf_counter()
        ranks = evaluator(variables)
        seconds += time.perf_counter() - clock
        results |= evaluate.report(ranks, cutoffs, split)
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
        "popularity": evaluate.metrics(popularity, cutoffs),
        "evaluation_seconds": seconds,
        "device": jax.devices()[0].device_kind,
        "notes": _notes(config),
    }
    if config.data.source == "demo" and not config.eval.exclude_seen:
        summary["best_possible"] = demo.best_possible(data, config.data)
    return summary


def _notes(config: Config) -> list[str]:
    notes = []
    if config.eval.exclude_seen:
        notes.append("items that the user has had are not ranked")
    if config.eval.max_users:
        notes.append(f"a fixed random sample of {config.eval.max_users:,} users")
    if config.eval.steps >= 0:
        notes.append(f"{config.eval.steps} reasoning steps at inference")
    return notes


def _announce(config: Config, data: Interactions, workdir: Workdir) -> None:
    console = Console()
    console.print(
        f"{config.method.name} on {config.model.backbone}, {data.name}: {data.num_users:,} users,"
        f" {data.num_items:,} items, {data.num_interactions:,} interactions;"
        f" work directory {workdir.path}",
        highlight=False,
        soft_wrap=True,
    )


def _finish(workdir: Workdir, target: pathlib.Path, summary: Summary) -> None:
    workdir.write_summary(summary, target)
    table.print_results(summary)
    Console().print(f"written: {target}", highlight=False, soft_wrap=True)
