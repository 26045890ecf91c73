"""Ranks equal a brute-force sort, metrics their definitions; ties and NaN count against us."""

import math

from hypothesis import given
from hypothesis import strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rearec_jax.evaluation.metrics import MetricSums, ndcg, recall, reciprocal_rank
from rearec_jax.evaluation.ranking import count_not_lower

SCORES = st.one_of(
    st.integers(-2, 2).map(float), st.sampled_from([math.inf, -math.inf, 0.5, 1e-30])
)


def brute_force_rank(scores: np.ndarray, target: int) -> int:
    """Sorts the items, best first; of equal scores the target comes last."""
    order = sorted(range(len(scores)), key=lambda item: (-scores[item], item == target))
    return order.index(target) + 1


@jax.jit
def count(scores: jax.Array, targets: jax.Array) -> jax.Array:
    own = jnp.take_along_axis(scores, targets[:, None], axis=1)[:, 0]
    return count_not_lower(scores, own, jnp.arange(scores.shape[1])[None] != targets[:, None])


def ranks(scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return 1 + np.asarray(count(jnp.asarray(scores), jnp.asarray(targets)))


class TestRank:
    # Few shapes: each is compiled once.
    @pytest.mark.parametrize("items", [1, 2, 7])
    @given(data=st.data())
    def test_equals_brute_force_sort(self, items, data):
        """Ties and infinite scores (those of excluded items are -inf) included."""
        row = st.lists(SCORES, min_size=items, max_size=items)
        scores = np.array(data.draw(st.lists(row, min_size=3, max_size=3)), np.float32)
        targets = data.draw(st.lists(st.integers(0, items - 1), min_size=3, max_size=3))
        want = [brute_force_rank(row, target) for row, target in zip(scores, targets, strict=True)]
        np.testing.assert_array_equal(ranks(scores, np.array(targets)), want)

    @pytest.mark.parametrize("value", [0.0, np.nan, np.inf, -np.inf])
    def test_constant_score_earns_the_last_rank(self, value):
        scores = np.full((4, 9), value, np.float32)
        np.testing.assert_array_equal(ranks(scores, np.arange(4)), [9] * 4)

    def test_not_a_number_counts_against_the_target(self):
        scores = np.array([[np.nan, 3.0, 2.0, 1.0]], np.float32)
        assert ranks(scores, np.array([0])) == [4]
        assert ranks(scores, np.array([1])) == [2]


class TestPerExample:
    def test_known_values(self):
        r = np.array([1, 2, 3, 10, 11])
        np.testing.assert_allclose(
            ndcg(r, 10), [1, 1 / np.log2(3), 0.5, 1 / np.log2(11), 0], rtol=1e-15
        )
        np.testing.assert_array_equal(recall(r, 10), [1, 1, 1, 1, 0])
        np.testing.assert_allclose(reciprocal_rank(r), [1, 1 / 2, 1 / 3, 1 / 10, 1 / 11])

    def test_jax_equals_numpy(self):
        r = np.arange(1, 60, dtype=np.int32)
        for metric in (lambda x: ndcg(x, 20), lambda x: recall(x, 20), reciprocal_rank):
            got = jax.jit(metric)(jnp.asarray(r))
            assert isinstance(got, jax.Array)
            np.testing.assert_allclose(got, metric(r), rtol=1e-6)


class TestSums:
    def test_means_of_known_ranks(self):
        means = MetricSums.empty([5, 10]).add(np.array([1, 3, 7, 100])).means()
        assert list(means) == ["ndcg@5", "ndcg@10", "recall@5", "recall@10", "mrr"]
        assert means["recall@5"] == 0.5
        assert means["recall@10"] == 0.75
        assert means["ndcg@5"] == pytest.approx((1 + 0.5) / 4, rel=1e-15)
        assert means["ndcg@10"] == pytest.approx((1 + 0.5 + 1 / 3) / 4, rel=1e-15)
        assert means["mrr"] == pytest.approx((1 + 1 / 3 + 1 / 7 + 1 / 100) / 4, rel=1e-15)

    def test_merged_parts_equal_the_whole(self):
        rng = np.random.default_rng(1)
        r, w = rng.integers(1, 200, size=1000), rng.random(1000)
        whole = MetricSums.empty([5, 20]).add(r, w)
        merged = MetricSums.empty([5, 20])
        for part in np.split(np.arange(1000), [10, 11, 600]):
            merged = merged.merge(MetricSums.empty([5, 20]).add(r[part], w[part]))
        assert merged.count == pytest.approx(whole.count, rel=1e-12)
        assert merged.means() == pytest.approx(whole.means(), rel=1e-12)

    @given(
        ranks=st.lists(st.integers(1, 40), min_size=1, max_size=30),
        cut=st.integers(0, 30),
        k=st.integers(1, 45),
    )
    def test_means_equal_the_definitions(self, ranks, cut, k):
        """Against the definitions, over a data set that comes in two parts, with padding."""
        parts = [[*ranks[:cut], 0], [*ranks[cut:], 0, 7]]
        weights = [
            [1] * (len(part) - number - 1) + [0] * (number + 1) for number, part in enumerate(parts)
        ]
        sums = MetricSums.empty([k])
        for part, weight in zip(parts, weights, strict=True):
            sums = sums.add(np.array(part), np.array(weight))
        got = sums.means()
        relevant = [[1 if place == rank else 0 for place in range(1, k + 1)] for rank in ranks]
        gains = [
            sum(hit / math.log2(place + 2) for place, hit in enumerate(row)) for row in relevant
        ]
        assert got[f"ndcg@{k}"] == pytest.approx(np.mean(gains))  # the best list has a gain of 1
        assert got[f"recall@{k}"] == pytest.approx(np.mean([sum(row) for row in relevant]))
        assert got["mrr"] == pytest.approx(np.mean([1 / rank for rank in ranks]))

    @given(ranks=st.lists(st.integers(1, 100), min_size=1, max_size=20), k=st.integers(1, 50))
    def test_bounds_and_order(self, ranks, k):
        """0 <= NDCG@k <= Recall@k <= 1, and a larger k never lowers either."""
        sums = MetricSums.empty([k, k + 5]).add(np.array(ranks)).means()
        assert 0 <= sums[f"ndcg@{k}"] <= sums[f"recall@{k}"] <= 1
        for name in ("ndcg", "recall"):
            assert sums[f"{name}@{k}"] <= sums[f"{name}@{k + 5}"] + 1e-12

    def test_float32_weights_are_summed_in_float64(self):
        ones = np.ones(2**12, np.float32)
        sums = MetricSums(2.0**24, {"mrr": 2.0**24}).add(np.ones(2**12, np.int32), ones)
        assert sums.sums["mrr"] == 2**24 + 2**12

    def test_refuses_what_has_no_meaning(self):
        with pytest.raises(ValueError, match="cannot merge"):
            MetricSums.empty([5]).merge(MetricSums.empty([10]))
        with pytest.raises(ValueError, match="no examples"):
            MetricSums.empty([5]).means()
        with pytest.raises(ValueError, match="start at 1"):
            MetricSums.empty([5]).add(np.array([0]))
