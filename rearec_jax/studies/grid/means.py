"""Computes the rows of the paper's table from a grid's summaries. Numbers only, no layout."""

from collections.abc import Collection, Iterable, Mapping, Sequence
import dataclasses
from typing import Any

from rearec_jax import config as config_lib
from rearec_jax.config.compare import clashes
from rearec_jax.evaluation import metrics
from rearec_jax.methods import BASELINE, METHODS, in_paper
from rearec_jax.studies.estimate import Estimate, estimate
from rearec_jax.studies.grid.summaries import Result

METRICS = tuple(name for name in metrics.METRICS if "@" in name)
OWN_OPTIONS = (  # in which the cells of a data set are meant to differ
    "seed",
    "method.name",
    "method.steps",
    "method.temperature",
    "model.backbone",
    "model.items",
    "model.attention",
    "model.similarity",
)


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the table: a method on a backbone, or popularity."""

    label: str
    values: tuple[Estimate | None, ...]  # in the order of METRICS; None where one is missing
    seeds: int = 0  # the number of seeds
    best_epoch: float | None = None  # the best epoch, the mean over seeds
    minutes: float | None = None  # the minutes of training, the mean over seeds
    valid: float | None = None  # the validation NDCG@20, the mean over seeds


@dataclasses.dataclass(frozen=True)
class Block:
    """All methods of one data set and backbone."""

    dataset: str
    backbone: str
    rows: tuple[Row, ...]  # a row for each method
    # in each metric, the better of ERL and PRL over base, minus 1, by the seeds that both have;
    # None where it is unknown
    improvement: tuple[float | None, ...]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The rows of one data set."""

    dataset: str
    popularity: Row | None  # the row of ranking by popularity; None where it is unknown
    blocks: tuple[Block, ...]  # a block for each backbone


def compare(results: Sequence[Result], requested: Iterable[tuple[str, str]]) -> list[Comparison]:
    """Makes the rows of all results, and empty rows where there are none yet.

    Pairs of data set and backbone that are ``requested`` have rows in any case. Their data sets
    come first, in that order; backbones have the order of the configuration.
    """
    wanted = dict.fromkeys([*requested, *((result.dataset, result.backbone) for result in results)])
    compared = []
    for dataset in dict.fromkeys(dataset for dataset, _ in wanted):
        own = [result for result in results if result.dataset == dataset]
        backbones = {order(b, config_lib.BACKBONES): b for d, b in wanted if d == dataset}
        blocks = tuple(_block(dataset, backbones[place], own) for place in sorted(backbones))
        compared.append(Comparison(dataset, _popularity(own), blocks))
    return compared


def remarks(results: Sequence[Result], varied: Collection[str] = ()) -> list[str]:
    """Returns the sentences that a reader needs before comparing; ``varied`` options may differ."""
    lines: dict[str, None] = {}  # a set in order
    for dataset in dict.fromkeys(result.dataset for result in results):
        own = [result for result in results if result.dataset == dataset]
        for result in own:
            lines |= {f"{dataset}: {note}.": None for note in result.summary.get("notes", [])}
        if names := sorted(_differing_options(own) - {*OWN_OPTIONS, *varied}):
            lines[f"{dataset}: the cells differ in {', '.join(names)} as well."] = None
        for backbone in _of_several_data(own):
            lines[f"{dataset}: the cells of {backbone} were trained on different data."] = None
    return list(lines)


def _of_several_data(results: Sequence[Result]) -> list[str]:
    """Returns the backbones whose cells were trained on different data.

    The digests of two backbones may differ, as they cover the text that one of them reads.
    """
    seen = {(result.backbone, result.data) for result in results if result.data}
    backbones = [backbone for backbone, _ in seen]
    return sorted({name for name in backbones if backbones.count(name) > 1})


def _differing_options(results: Sequence[Result]) -> set[str]:
    known = [result.options for result in results if result.options]
    return {line.split(": ")[0] for options in known for line in clashes(known[0], options)}


def order(name: str, known: Iterable[str]) -> tuple[int, str]:
    """Returns a key that sorts names as ``known`` has them, and others behind them."""
    places = list(known)
    return (places.index(name) if name in places else len(places)), name


def _block(dataset: str, backbone: str, results: Sequence[Result]) -> Block:
    own = [result for result in results if result.backbone == backbone]
    names = {result.method for result in own}.union(in_paper())
    rows = tuple(
        row(label(name), [result for result in own if result.method == name])
        for name in sorted(names, key=lambda name: order(name, METHODS))
    )
    improvement = tuple(_improvement(own, metric) for metric in METRICS)
    return Block(dataset, backbone, rows, improvement)


def label(method: str) -> str:
    """Returns the label of a method in tables; its name where this version does not know it."""
    return METHODS[method].label if method in METHODS else method


def row(label: str, results: Sequence[Result]) -> Row:
    """Makes the row of a method from its results with all seeds."""
    summaries = [result.summary for result in results]
    return Row(
        label=label,
        values=tuple(_estimate([_number(s["test"], key) for s in summaries]) for key in METRICS),
        seeds=len(results),
        best_epoch=_mean([_number(s, "best_epoch") for s in summaries]),
        minutes=_mean([_number(s.get("train") or {}, "seconds", 60) for s in summaries]),
        valid=_mean([_number(s.get("valid", {}), "ndcg@20") for s in summaries]),
    )


def _popularity(results: Sequence[Result]) -> Row | None:
    """Makes the row of popularity, which any cell of the data set holds; None where none does."""
    for result in results:
        if isinstance(metrics := result.summary.get("popularity"), Mapping):
            values = tuple(_estimate([_number(metrics, key)]) for key in METRICS)
            return Row("popularity", values)
    return None


def _number(values: Mapping[str, Any], key: str, unit: int = 1) -> float | None:
    value = values.get(key)
    return value / unit if isinstance(value, int | float) else None


def _mean(values: Sequence[float | None]) -> float | None:
    found = _estimate(values)
    return None if found is None else found.mean


def _estimate(values: Sequence[float | None]) -> Estimate | None:
    """Returns a metric over seeds; None where one is missing, as a mean of others would mislead."""
    known = [value for value in values if value is not None]
    return estimate(known) if known and len(known) == len(values) else None


def _improvement(results: Sequence[Result], metric: str) -> float | None:
    """Returns the gain of the better of ERL and PRL over base, by the seeds shared with base."""
    values = {(r.method, r.seed): _number(r.summary["test"], metric) for r in results}
    gains = [_gain(values, method) for method in in_paper() if method != BASELINE]
    return max((gain for gain in gains if gain is not None), default=None)


def _gain(values: Mapping[tuple[str, int], float | None], method: str) -> float | None:
    seeds = [seed for name, seed in values if name == method and (BASELINE, seed) in values]
    base = _mean([values[BASELINE, seed] for seed in seeds])
    reached = _mean([values[method, seed] for seed in seeds])
    return reached / base - 1 if base and reached is not None else None
