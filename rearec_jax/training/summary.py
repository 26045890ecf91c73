"""The results of a run: computes them, writes them with the ranks by user, and shows them."""

import pathlib
import time
from typing import Any

import jax
from rich.console import Console

from rearec_jax.config import Config
from rearec_jax.data import demo
from rearec_jax.data.interactions import TEST
from rearec_jax.devices import hosts
from rearec_jax.evaluation import evaluator, lists, popularity, rank_file, summary_table, ties
from rearec_jax.evaluation.evaluator import Evaluator
from rearec_jax.evaluation.popularity import metrics_by_popularity
from rearec_jax.evaluation.ranks import Ranks
from rearec_jax.models.backbones import Variables
from rearec_jax.run.workdir import Workdir, explained
from rearec_jax.training.history import History

Summary = dict[str, Any]
TIES = {  # what a summary says of data.ties
    "untied": "only targets that are alone in their time",
    "expected": "the mean over the orders of tied targets",
}


def summarise(
    name: str, validate: Evaluator, variables: Variables, history: History
) -> tuple[Summary, Ranks | None]:
    """Ranks validation and test with these parameters; given splits may lack one of them.

    Args:
        name: of the configuration file.
        validate: the evaluator of the validation split.
        variables: the parameters of the best epoch.
        history: of the training.

    Returns:
        The content of summary.json, and the ranks of the test split.
    """
    config, data, orders = validate.config, validate.data, validate.orders
    cutoffs = config.eval.cutoffs
    results: Summary = {}
    has_validation = bool(validate.batches.examples)
    clock = time.perf_counter()
    if has_validation:
        ranks = validate(variables)
        results |= evaluator.report(ranks, cutoffs, "valid", orders.weights_of(ranks))
    test = validate.of_split(TEST)
    ranks = test(variables) if test.batches.examples else None
    if ranks is not None:
        results |= evaluator.report(ranks, cutoffs, "test", orders.weights_of(ranks))
    seconds = time.perf_counter() - clock
    if ranks is not None:
        results |= _of_test(validate, ranks)
        if config.eval.list_length:
            best, examples = lists.best_items(test, variables)
            figures = lists.beyond_accuracy(best, data.items[examples], data)
            results["test_lists"] = {"length": best.shape[1], **figures}
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
            **({} if data.tied_users is None else {"tied_users": data.tied_users}),
        },
        "best_epoch": history.best_epoch,
        "train": {
            "targets_per_second": history.targets / history.seconds if history.seconds else 0.0,
            "seconds": history.seconds,
            "seconds_to_first_step": history.seconds_to_first_step,
            "epochs": history.epochs,
        },
        **({"start_from": history.start_from} if history.start_from else {}),
        **results,
        "evaluation_seconds": seconds,
        "device": jax.devices()[0].device_kind,
        "notes": _notes(config, has_validation, ranks is not None, data.tied_users),
    }
    if config.data.source == "demo" and not config.eval.exclude_seen:
        summary["best_possible"] = demo.best_possible(data, config.data)
    return summary, ranks


def _of_test(validate: Evaluator, ranks: Ranks) -> Summary:
    """Returns the test by popularity, and of the targets that are alone in their time."""
    config, data, orders = validate.config, validate.data, validate.orders
    cutoffs, weights = config.eval.cutoffs, orders.weights_of(ranks)
    by_popularity = metrics_by_popularity(
        ranks.final, orders.data.items[ranks.examples], data.training_counts(), cutoffs, weights
    )
    by_popularity_alone = popularity.popularity_ranks(
        orders.data, ranks.examples, config.eval.exclude_seen
    )
    return {
        **ties.metrics_of_untied(orders.data, ranks.examples, ranks.final, cutoffs),
        "test_by_popularity": by_popularity,
        "popularity": evaluator.metrics(by_popularity_alone, cutoffs, weights),
    }


def _notes(
    config: Config, has_validation: bool, has_test: bool, tied_users: int | None
) -> list[str]:
    notes = [] if has_validation else ["no validation: the last epoch's parameters"]
    notes += [] if has_test else ["no test: the results are those of the validation"]
    if config.eval.exclude_seen:
        notes.append("items that the user has had are not ranked")
    if config.data.ties != "file":
        notes.append(f"{TIES[config.data.ties]} ({tied_users:,} users have tied test targets)")
    if config.eval.max_users:
        notes.append(f"a fixed random sample of {config.eval.max_users:,} users")
    if config.eval.steps >= 0:
        notes.append(f"{config.eval.steps} reasoning steps at inference")
    if not config.eval.by_step:
        notes.append("steps are not ranked on their own")
    return notes


def finish(
    workdir: Workdir,
    target: pathlib.Path,
    summary: Summary,
    validate: Evaluator,
    ranks: Ranks | None,
) -> None:
    """Writes summary*.json to ``target`` and the ranks by user beside it, and shows the results."""
    if not hosts.is_first():
        return
    by_user = target.with_name(target.name.replace("summary", "ranks", 1)).with_suffix(".parquet")
    if ranks is not None:
        with explained(by_user):
            orders = validate.orders
            rank_file.write(by_user, validate.data, orders.in_file(ranks), orders.expected(ranks))
    workdir.write_summary(summary, target)
    summary_table.print_results(summary)
    for path in (target, by_user)[: 1 if ranks is None else 2]:
        Console().print(f"written: {path}", markup=False, highlight=False, soft_wrap=True)
