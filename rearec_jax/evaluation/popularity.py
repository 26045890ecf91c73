"""Results by how well known the target is: cold and rare items are where text has to help."""

from jaxtyping import Int, Int64
import numpy as np

from rearec_jax.data.interactions import Interactions
from rearec_jax.evaluation.metrics import MetricSums

GROUPS = ("rarest quarter", "second quarter", "third quarter", "popular quarter")
COLD = "cold"  # not in training


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
) -> list[dict[str, object]]:
    """An entry a group that has targets: its name, items, examples, and metrics of ``ranks``.

    Cold items are also part of the rarest quarter.

    Args:
        ranks: of the targets, 1 = best.
        targets: item ids.
        counts: how often each item occurs in training.
    """
    quarter = quarters(counts)
    members = [(COLD, counts == 0)]
    members += [(name, quarter == number) for number, name in enumerate(GROUPS)]
    entries: list[dict[str, object]] = []
    for name, of_group in members:
        asked = of_group[targets]
        if asked.any():
            means = MetricSums.empty(cutoffs).add(ranks[asked]).means()
            sizes = {"items": int(of_group.sum()), "examples": int(asked.sum())}
            entries.append({"group": name, **sizes, **means})
    return entries


def popularity_ranks(
    data: Interactions, examples: Int64[np.ndarray, " M"], exclude_seen: bool
) -> Int64[np.ndarray, " M"]:
    """Ranks of the targets when items are ranked by how often they occur in training."""
    counts = data.training_counts()
    ascending = np.sort(counts)
    own = counts[data.items[examples]]
    ranks = len(counts) - np.searchsorted(ascending, own, "left")
    if exclude_seen:
        starts = data.offsets[np.searchsorted(data.offsets, examples, "right") - 1]
        for row, (start, example) in enumerate(zip(starts, examples, strict=True)):
            seen = np.unique(data.items[start:example])
            above = (counts[seen] >= own[row]) & (seen != data.items[example])
            ranks[row] -= int(above.sum())
    return ranks
