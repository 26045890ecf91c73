"""The results of a run: computes them, writes them with the ranks by user, and shows them."""

import pathlib
import time
from typing import Any

import jax
from rich.console import Console

from rearec_jax.config import Config
from rearec_jax.data import demo
from rearec_jax.data.interactions import TEST, VALIDATION, Interactions
from rearec_jax.devices import hosts
from rearec_jax.devices.mesh import make_devices
from rearec_jax.evaluation import evaluator, popularity, rank_file, summary_table
from rearec_jax.evaluation.popularity import metrics_by_popularity
from rearec_jax.evaluation.ranks import Ranks
from rearec_jax.models.backbones import Variables
from rearec_jax.run.workdir import (
    Workdir,
    explained,
)
from rearec_jax.training.history import History
from rearec_jax.training.setup import text_vectors
from rearec_jax.training.task import build_model

Summary = dict[str, Any]


def summarise(
    config: Config,
    name: str,
    data: Interactions,
    variables: Variables,
    history: History,
) -> tuple[Summary, Ranks]:
    """Ranks validation and test with these parameters.

    Args:
        config: of the run.
        name: of the configuration file.
        data: with a test split.
        variables: the parameters of the best epoch.
        history: of the training.

    Returns:
        The content of summary.json, and the ranks of the test split.
    """
    cutoffs = config.eval.cutoffs
    results: Summary = {}
    devices = make_devices(config.mesh.data, config.mesh.model)
    model, text = build_model(config, data.num_items, devices), text_vectors(data, devices)

    def ranked(split: str, which: int) -> Ranks:
        ranks = evaluator.make_evaluator(model, config, data, which, text, devices)(variables)
        results.update(evaluator.report(ranks, cutoffs, split))
        return ranks

    has_validation = bool((data.split == VALIDATION).any())  # given splits may lack it
    clock = time.perf_counter()
    if has_validation:
        ranked("valid", VALIDATION)
    ranks = ranked("test", TEST)
    seconds = time.perf_counter() - clock
    by_popularity = metrics_by_popularity(
        ranks.final, data.items[ranks.examples], data.training_counts(), cutoffs
    )
    by_popularity_alone = popularity.popularity_ranks(
        data, ranks.examples, config.eval.exclude_seen
    )
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
        "popularity": evaluator.metrics(by_popularity_alone, cutoffs),
        "evaluation_seconds": seconds,
        "device": jax.devices()[0].device_kind,
        "notes": _notes(config, has_validation),
    }
    if config.data.source == "demo" and not config.eval.exclude_seen:
        summary["best_possible"] = demo.best_possible(data, config.data)
    return summary, ranks


def _notes(config: Config, has_validation: bool) -> list[str]:
    notes = [] if has_validation else ["no validation: the last epoch's parameters"]
    if config.eval.exclude_seen:
        notes.append("items that the user has had are not ranked")
    if config.eval.max_users:
        notes.append(f"a fixed random sample of {config.eval.max_users:,} users")
    if config.eval.steps >= 0:
        notes.append(f"{config.eval.steps} reasoning steps at inference")
    if not config.eval.by_step:
        notes.append("steps are not ranked on their own")
    return notes


def finish(
    workdir: Workdir, target: pathlib.Path, summary: Summary, data: Interactions, ranks: Ranks
) -> None:
    """Writes summary*.json to ``target`` and the ranks by user beside it, and shows the results."""
    if not hosts.is_first():
        return
    by_user = target.with_name(target.name.replace("summary", "ranks", 1)).with_suffix(".parquet")
    with explained(by_user):
        rank_file.write(by_user, data, ranks)
    workdir.write_summary(summary, target)
    summary_table.print_results(summary)
    for path in (target, by_user):
        Console().print(f"written: {path}", markup=False, highlight=False, soft_wrap=True)
