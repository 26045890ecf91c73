"""Measures lists beyond their accuracy: how much they cover, how popular and how alike it is."""

from jaxtyping import Float, Int
import numpy as np

from rearec_jax.data.interactions import Interactions
from rearec_jax.evaluation.evaluator import Evaluator
from rearec_jax.models.backbones import Variables

_AT_ONCE = 4096  # lists whose vectors are compared at once


def best_items(
    test: Evaluator, variables: Variables
) -> tuple[Int[np.ndarray, "M k"], Int[np.ndarray, " M"]]:
    """Returns the ``eval.list_length`` best items for each example, and the examples.

    Tied targets have one list each, in the order of the file.
    """
    table = test.table(variables)
    lists, examples = [], []
    for batch, example, seen in test.inputs():
        real = (example >= 0) & (example < test.orders.own)
        best = np.asarray(test.best(variables, table, batch, seen))
        lists.append(best.reshape(*example.shape, -1)[real])
        examples.append(example[real])
    return np.concatenate(lists), np.concatenate(examples)


def beyond_accuracy(
    lists: Int[np.ndarray, "M k"], targets: Int[np.ndarray, " M"], data: Interactions
) -> dict[str, float]:
    """Returns the figures of lists.

    coverage:   The share of the catalogue that is in a list.
    novelty:    The mean of -log2 of an item's share of the training interactions (each counts one
                more, so that items without any have a share).
    popularity: How often a listed item occurs in training, of how often a target does: above 1 the
                lists hold more popular items than users choose.
    diversity:  1 - the mean cosine of two items of a list, by the vectors of their text; only where
                there are any.

    Args:
        lists: the items of each example, N where there are fewer.
        targets: what each example's user chose.
        data: the interactions.
    """
    counts = data.training_counts()
    listed = lists[lists < data.num_items]
    shares = (counts + 1) / (counts + 1).sum()
    of_targets = counts[targets].mean()
    figures = {
        "coverage": len(np.unique(listed)) / data.num_items,
        "novelty": float(-np.log2(shares[listed]).mean()),
    }
    if of_targets:
        figures["popularity"] = float(counts[listed].mean() / of_targets)
    if data.item_vectors is not None and lists.shape[1] > 1:
        figures["diversity"] = 1 - _mean_cosine(lists, data.item_vectors)
    return figures


def _mean_cosine(lists: Int[np.ndarray, "M k"], vectors: Float[np.ndarray, "N F"]) -> float:
    """Returns the mean cosine of two different places of a list; items without a vector have 0."""
    total, pairs = 0.0, 0
    for start in range(0, len(lists), _AT_ONCE):
        block = lists[start : start + _AT_ONCE]
        there = block < len(vectors)
        found = vectors[np.where(there, block, 0)].astype(np.float64)
        norms = np.linalg.norm(found, axis=-1, keepdims=True)
        unit = np.where(there[..., None], found / np.maximum(norms, 1e-30), 0)
        # The squared length of the sum is the sum of all cosines, those with itself too.
        own = (unit**2).sum(axis=(1, 2))
        total += float(((unit.sum(axis=1) ** 2).sum(axis=-1) - own).sum())
        length = there.sum(axis=1)
        pairs += int((length * (length - 1)).sum())
    return total / max(1, pairs)
