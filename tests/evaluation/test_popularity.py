"""Groups of targets by how often the item occurs in training."""

import numpy as np
import pytest

from rearec_jax.evaluation import metrics, popularity

COUNTS = np.array([0, 5, 2, 9, 0, 7, 3, 1])  # rarest: 0, 4; then 7, 2; then 6, 1; then 5, 3


def test_quarters_of_a_worked_example():
    np.testing.assert_array_equal(popularity.quarters(COUNTS), [0, 2, 1, 3, 0, 3, 2, 1])


@pytest.mark.parametrize("items", [1, 3, 4, 10, 101, 102, 103])
def test_quarters_are_equal_in_size_and_ascend(items):
    counts = np.random.default_rng(items).integers(0, 6, items)
    quarter = popularity.quarters(counts)
    sizes = np.bincount(quarter, minlength=4)
    assert sizes.max() - sizes.min() <= 1
    found = np.unique(quarter)
    lowest = [counts[quarter == q].min() for q in found]
    highest = [counts[quarter == q].max() for q in found]
    assert all(high <= low for high, low in zip(highest, lowest[1:], strict=False))


def test_groups_have_the_metrics_of_their_own_targets():
    targets = np.array([0, 4, 3, 5, 3, 7])
    ranks = np.array([1, 4, 2, 1, 1, 30])
    entries = popularity.metrics_by_popularity(ranks, targets, COUNTS, (2, 10))
    assert [entry["group"] for entry in entries] == [
        popularity.COLD,
        popularity.GROUPS[0],
        popularity.GROUPS[1],
        popularity.GROUPS[3],  # no target is in the third quarter
    ]
    cold, rarest, second, top = entries
    assert cold["items"] == rarest["items"] == 2 and cold["examples"] == 2
    assert cold["ndcg@10"] == pytest.approx(metrics.ndcg(np.array([1, 4]), 10).mean())
    assert second["recall@10"] == 0.0
    assert top["examples"] == 3 and top["recall@2"] == 1.0
