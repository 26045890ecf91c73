"""Metrics of ranks, their names, and their sums over examples.

Every example has one relevant item, so with r its rank (1 = best)

    NDCG@k = [r <= k] / log2(r + 1)      Recall@k = [r <= k]      MRR = 1 / r

The functions take numpy or JAX arrays of ranks and return the same kind, a value for each example;
sums over a data set are kept on the host in float64. A metric is added here and nowhere else: a
function, and its name in ``AT_CUTOFF`` or ``WITHOUT_CUTOFF``.
"""

from collections.abc import Iterable
import dataclasses

from jaxtyping import Array, Float, Int, Num
import numpy as np

AnyArray = Array | np.ndarray


def ndcg(ranks: Int[AnyArray, "*M"], k: int) -> Float[AnyArray, "*M"]:
    """Computes the normalised discounted cumulative gain at k of each rank."""
    xp = ranks.__array_namespace__()
    return xp.where(ranks <= k, 1.0 / xp.log2(ranks + 1), 0.0)


def recall(ranks: Int[AnyArray, "*M"], k: int) -> Float[AnyArray, "*M"]:
    """Computes recall at k of each rank: 1 where the target is among the first k, else 0."""
    xp = ranks.__array_namespace__()
    return xp.where(ranks <= k, 1.0, 0.0)


def reciprocal_rank(ranks: Int[AnyArray, "*M"]) -> Float[AnyArray, "*M"]:
    """Computes 1 / rank, without a cut-off."""
    return 1 / ranks


AT_CUTOFF = {"ndcg": ndcg, "recall": recall}  # name -> function of (ranks, k)
WITHOUT_CUTOFF = {"mrr": reciprocal_rank}  # name -> function of ranks


def names(cutoffs: Iterable[int]) -> tuple[str, ...]:
    """Returns the name of every metric at these cut-offs: "ndcg@10", "recall@10", ..., "mrr"."""
    ks = sorted(set(cutoffs))
    return (*(f"{name}@{k}" for name in AT_CUTOFF for k in ks), *WITHOUT_CUTOFF)


METRICS = names((10, 20))  # the metrics of tables and comparisons


def metric(name: str, ranks: Int[AnyArray, "*M"]) -> Float[AnyArray, "*M"]:
    """Computes the metric called ``name``, such as "ndcg@10" or "mrr", of each rank."""
    kind, _, k = name.partition("@")
    return AT_CUTOFF[kind](ranks, int(k)) if k else WITHOUT_CUTOFF[kind](ranks)


def means(ranks: Int[np.ndarray, " M"]) -> dict[str, float]:
    """Computes the mean of each of METRICS over the examples."""
    return {name: float(metric(name, ranks).mean()) for name in METRICS}


@dataclasses.dataclass(frozen=True)
class MetricSums:
    """Weighted sums of metrics over examples, which can be merged with those of other examples.

    count: The sum of the weights, which is the number of examples if all weights are 0 or 1.
    sums:  The weighted sum of each metric by its name ("ndcg@10", "recall@10", ..., "mrr").
    """

    count: float
    sums: dict[str, float]

    @classmethod
    def empty(cls, cutoffs: Iterable[int]) -> "MetricSums":
        """Returns the sums over no examples; ``cutoffs`` are the k of NDCG and Recall."""
        return cls(0.0, dict.fromkeys(names(cutoffs), 0.0))

    def add(
        self, ranks: Int[np.ndarray, "M"], weights: Num[np.ndarray, "M"] | None = None
    ) -> "MetricSums":
        """Returns the sums over these examples and those of ``ranks``.

        Examples of weight 0 are padding. Without ``weights`` all are 1. Raises ValueError if the
        rank of an example that is no padding is below 1.
        """
        ranks = np.asarray(ranks)
        w = np.ones(ranks.shape) if weights is None else np.asarray(weights, np.float64)
        # The rank of padding may be 0, whose metrics are infinite, and 0 * inf is not 0.
        real = w != 0
        ranks, w = ranks[real].astype(np.int64), w[real]
        if ranks.size and ranks.min() < 1:
            raise ValueError(f"ranks start at 1, got {ranks.min()}")
        values = {name: float(np.sum(w * metric(name, ranks))) for name in self.sums}
        return self.merge(MetricSums(float(w.sum()), values))

    def merge(self, other: "MetricSums") -> "MetricSums":
        """Returns the sums over the examples of both; ValueError if their metrics differ."""
        if self.sums.keys() != other.sums.keys():
            raise ValueError(f"cannot merge {sorted(self.sums)} with {sorted(other.sums)}")
        sums = {name: value + other.sums[name] for name, value in self.sums.items()}
        return MetricSums(self.count + other.count, sums)

    def means(self) -> dict[str, float]:
        """Returns the weighted mean of each metric; ValueError where there are no examples."""
        if not self.count:
            raise ValueError("no examples, so no mean")
        return {name: value / self.count for name, value in self.sums.items()}
