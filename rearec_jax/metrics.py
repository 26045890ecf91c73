"""From scores to the rank of the target, and from ranks to NDCG, Recall and MRR.

Every example has one relevant item, so with r its rank (1 = best)

    NDCG@k = [r <= k] / log2(r + 1)      Recall@k = [r <= k]      MRR = 1 / r

The functions of ranks take numpy or JAX arrays and return the same kind, an example each; the sums
over a data set are kept on the host in float64.
"""

from collections.abc import Iterable
import dataclasses
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num
import numpy as np

AnyArray = Array | np.ndarray


def rank_of_target(scores: Float[Array, "M N"], targets: Int[Array, "M"]) -> Int[Array, "M"]:
    """1 + the number of items, the target aside, that score higher or equal. Best is 1, worst N.

    Ties count against us, so a constant score earns rank N. Not-a-number counts against us too: a
    target without a score gets rank N, an item without a score ranks above every target.
    """
    own = jnp.take_along_axis(scores, targets[:, None], axis=1)
    # "Not lower" rather than "higher or equal": true for ties, for NaN on either side, and for the
    # target itself, which is the 1 of the rank.
    return jnp.sum(~(scores < own), axis=1, dtype=jnp.int32)


def ndcg(ranks: Int[AnyArray, "M"], k: int) -> Float[AnyArray, "M"]:
    """Normalised discounted cumulative gain at k, an example each."""
    xp = ranks.__array_namespace__()
    return xp.where(ranks <= k, 1.0 / xp.log2(ranks + 1), 0.0)


def recall(ranks: Int[AnyArray, "M"], k: int) -> Float[AnyArray, "M"]:
    """1 where the target is among the first k, else 0."""
    xp = ranks.__array_namespace__()
    return xp.where(ranks <= k, 1.0, 0.0)


def reciprocal_rank(ranks: Int[AnyArray, "M"]) -> Float[AnyArray, "M"]:
    """1 / rank, over the whole catalogue (no cut-off)."""
    return 1 / ranks


@dataclasses.dataclass(frozen=True)
class MetricSums:
    """Weighted sums of metrics over the examples seen so far; parts of a data set merge.

    count: sum of the weights (the number of examples where weights are 0 and 1).
    sums:  metric name ("ndcg@10", "recall@10", ..., "mrr") to its weighted sum.
    """

    count: float
    sums: dict[str, float]

    @classmethod
    def empty(cls, cutoffs: Iterable[int]) -> "MetricSums":
        """No examples yet; ``cutoffs`` are the k of NDCG and Recall."""
        ks = sorted(set(cutoffs))
        names = [f"{name}@{k}" for name in ("ndcg", "recall") for k in ks] + ["mrr"]
        return cls(0.0, dict.fromkeys(names, 0.0))

    def add(
        self, ranks: Int[np.ndarray, "M"], weights: Num[np.ndarray, "M"] | None = None
    ) -> "MetricSums":
        """These sums and the examples of ``ranks``; weight 0 is padding, None is all ones."""
        ranks = np.asarray(ranks)
        w = np.ones(ranks.shape) if weights is None else np.asarray(weights, np.float64)
        # The rank of padding may be anything, also 0, which has no metric: 0 * inf is not 0.
        real = w != 0
        ranks, w = ranks[real].astype(np.int64), w[real]
        if ranks.size and ranks.min() < 1:
            raise ValueError(f"ranks start at 1, got {ranks.min()}")
        values = {name: float(np.sum(w * _metric(name, ranks))) for name in self.sums}
        return self.merge(MetricSums(float(w.sum()), values))

    def merge(self, other: "MetricSums") -> "MetricSums":
        """Sums over the examples of both. Raises ValueError if they hold different metrics."""
        if self.sums.keys() != other.sums.keys():
            raise ValueError(f"cannot merge {sorted(self.sums)} with {sorted(other.sums)}")
        sums = {name: value + other.sums[name] for name, value in self.sums.items()}
        return MetricSums(self.count + other.count, sums)

    def means(self) -> dict[str, float]:
        """Metric name to its weighted mean. Raises ValueError where there are no examples."""
        if not self.count:
            raise ValueError("no examples, so no mean")
        return {name: value / self.count for name, value in self.sums.items()}


def _metric(name: str, ranks: Any) -> Any:
    kind, _, k = name.partition("@")
    if kind == "mrr":
        return reciprocal_rank(ranks)
    return {"ndcg": ndcg, "recall": recall}[kind](ranks, int(k))
