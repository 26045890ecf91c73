"""Measures lists of recommended items: overlap of steps, coverage, popularity, novelty.

A list is a row of dense item ids, best first; N stands where there were fewer than k items.
"""

from collections.abc import Sequence

from jaxtyping import Float, Int
import numpy as np
import polars as pl

from rearec_jax.evaluation.popularity import quarters

BLOCK = 4096  # examples compared at once: an array of shape [BLOCK, k, k]


def overlap(lists: Int[np.ndarray, "M R k"], num_items: int) -> Float[np.ndarray, "R R"]:
    """Returns the mean share of items that the lists of two representations have in common."""
    count, kinds = lists.shape[:2]
    result = np.eye(kinds)
    for one in range(kinds):
        for other in range(one):
            common = 0
            for start in range(0, count, BLOCK):
                a = lists[start : start + BLOCK, one, :, None]
                b = lists[start : start + BLOCK, other, None, :]
                common += int(((a == b) & (a < num_items)).sum())
            listed = int((lists[:, one] < num_items).sum())
            result[one, other] = result[other, one] = common / max(1, listed)
    return result


def statistics(
    lists: Int[np.ndarray, "M R k"], counts: Int[np.ndarray, " N"], names: Sequence[str]
) -> pl.DataFrame:
    """Returns a table of statistics with a row for each representation.

    coverage:            the share of the catalogue that is in any list.
    mean_popularity:     the mean training count of a listed item.
    popularity_bias:     that mean, divided by the mean training count of the catalogue.
    popular_quarter:     the share of the list entries that are of the most popular quarter of the
                         items.
    novelty:             the mean of -log2 of the listed items' share in training, in bits; a count
                         is increased by one, so that an item nobody had has a share too.
    same_first_as_last:  the share of the examples whose first item is that of the last
                         representation.
    """
    num_items = len(counts)
    share = (counts + 1) / (counts.sum() + num_items)
    quarter = quarters(counts)
    rows = []
    for number, name in enumerate(names):
        listed = lists[:, number].ravel()
        listed = listed[listed < num_items]
        popularity = float(counts[listed].mean())
        rows.append(
            {
                "representation": name,
                "coverage": len(np.unique(listed)) / num_items,
                "mean_popularity": popularity,
                "popularity_bias": popularity / max(float(counts.mean()), 1e-12),
                "popular_quarter": float((quarter[listed] == 3).mean()),
                "novelty": float(-np.log2(share[listed]).mean()),
                "same_first_as_last": float((lists[:, number, 0] == lists[:, -1, 0]).mean()),
            }
        )
    return pl.DataFrame(rows)
