"""Ranks and metrics against a sorted list: ties, infinities and constant scores included."""

import math

from hypothesis import given
from hypothesis import strategies as st
import jax.numpy as jnp
import numpy as np
import pytest

from rearec_jax.evaluation import metrics, ranking

SCORES = st.one_of(
    st.integers(-2, 2).map(float), st.sampled_from([math.inf, -math.inf, 0.5, 1e-30])
)


def rank_in_a_sorted_list(scores: list[float], target: int) -> int:
    """Best first; among equals the target comes last."""
    order = sorted(range(len(scores)), key=lambda item: (-scores[item], item == target))
    return order.index(target) + 1


# Few shapes: each is compiled once.
@pytest.mark.parametrize("items", [1, 2, 7])
@given(data=st.data())
def test_rank(items, data):
    rows = data.draw(
        st.lists(st.lists(SCORES, min_size=items, max_size=items), min_size=3, max_size=3)
    )
    targets = data.draw(st.lists(st.integers(0, items - 1), min_size=3, max_size=3))
    got = ranking.rank_of_target(jnp.array(rows, jnp.float32), jnp.array(targets))
    rounded = np.array(rows, np.float32).tolist()
    assert got.tolist() == [
        rank_in_a_sorted_list(r, t) for r, t in zip(rounded, targets, strict=True)
    ]


@given(
    ranks=st.lists(st.integers(1, 40), min_size=1, max_size=30),
    cut=st.integers(0, 30),
    k=st.integers(1, 45),
)
def test_means(ranks, cut, k):
    """Against the definitions, over a data set that comes in two parts, with padding."""
    parts = [[*ranks[:cut], 0], [*ranks[cut:], 0, 7]]
    weights = [
        [1] * (len(part) - number - 1) + [0] * (number + 1) for number, part in enumerate(parts)
    ]
    sums = metrics.MetricSums.empty([k])
    for part, weight in zip(parts, weights, strict=True):
        sums = sums.add(np.array(part), np.array(weight))
    got = sums.means()
    relevant = [[1 if place == rank else 0 for place in range(1, k + 1)] for rank in ranks]
    gains = [sum(hit / math.log2(place + 2) for place, hit in enumerate(row)) for row in relevant]
    assert got[f"ndcg@{k}"] == pytest.approx(np.mean(gains))  # the best list has a gain of 1
    assert got[f"recall@{k}"] == pytest.approx(np.mean([sum(row) for row in relevant]))
    assert got["mrr"] == pytest.approx(np.mean([1 / rank for rank in ranks]))


@given(ranks=st.lists(st.integers(1, 100), min_size=1, max_size=20), k=st.integers(1, 50))
def test_bounds_and_order(ranks, k):
    """0 <= NDCG@k <= Recall@k <= 1, and a larger k never lowers either."""
    sums = metrics.MetricSums.empty([k, k + 5]).add(np.array(ranks)).means()
    assert 0 <= sums[f"ndcg@{k}"] <= sums[f"recall@{k}"] <= 1
    for name in ("ndcg", "recall"):
        assert sums[f"{name}@{k}"] <= sums[f"{name}@{k + 5}"] + 1e-12
