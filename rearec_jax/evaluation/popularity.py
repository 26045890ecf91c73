"""Metrics by the popularity of the target, and ranks by popularity alone."""

from jaxtyping import Float, Int, Int64
import numpy as np

from rearec_jax.data.interactions import Interactions
from rearec_jax.evaluation import seen
from rearec_jax.evaluation.metrics import MetricSums

GROUPS = ("rarest quarter", "second quarter", "third quarter", "popular quarter")
COLD = "cold"  # the group of the items that do not occur in training


def quarters(values: Int[np.ndarray, "N"]) -> Int64[np.ndarray, "N"]:
    """Returns the quarter that each value belongs to: 0, of the lowest values, to 3.

    The sizes of the quarters differ by 1 at most. So that they are equal, equal values may fall
    into neighbouring quarters, in the order given.
    """
    quarter = np.empty(len(values), np.int64)
    quarter[np.argsort(values, kind="stable")] = np.arange(len(values)) * 4 // max(1, len(values))
    return quarter


def metrics_by_popularity(
    ranks: Int[np.ndarray, "M"],
    targets: Int[np.ndarray, "M"],
    counts: Int[np.ndarray, "N"],
    cutoffs: tuple[int, ...],
    weights: Float[np.ndarray, "M"] | None = None,
) -> list[dict[str, object]]:
    """Computes the metrics of the targets in each quarter of the catalogue, and of cold items.

    There is an entry for each group that has targets, with its name, the numbers of its items and
    examples, and the metrics. Cold items are also part of the rarest quarter.

    Args:
        ranks: The ranks of the targets, where 1 is the best.
        targets: The ids of the targets.
        counts: The number of occurrences of each item in training.
        cutoffs: The k of NDCG and Recall.
        weights: The weight of each target in the means; None: all are 1.
    """
    quarter = quarters(counts)
    members = [(COLD, counts == 0)]
    members += [(name, quarter == number) for number, name in enumerate(GROUPS)]
    entries: list[dict[str, object]] = []
    for name, of_group in members:
        inside = of_group[targets]
        if inside.any():
            own = None if weights is None else weights[inside]
            means = MetricSums.empty(cutoffs).add(ranks[inside], own).means()
            count = inside.sum() if own is None else own.sum()
            sizes = {"items": int(of_group.sum()), "examples": round(float(count))}
            entries.append({"group": name, **sizes, **means})
    return entries


def popularity_ranks(
    data: Interactions, examples: Int64[np.ndarray, " M"], exclude_seen: bool
) -> Int64[np.ndarray, " M"]:
    """Ranks the targets by how often items occur in training; ties count against the target."""
    counts = data.training_counts()
    ascending = np.sort(counts)
    of_targets = counts[data.items[examples]]
    ranks = len(counts) - np.searchsorted(ascending, of_targets, "left")
    if exclude_seen:
        for part in seen.in_parts(data, examples):
            rows, items = seen.seen_pairs(data, examples[part])
            above = counts[items] >= of_targets[part][rows]
            ranks[part] -= np.bincount(rows[above], minlength=part.stop - part.start)
    return ranks
