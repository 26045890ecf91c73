"""Lists hold the targets of good rank, and their figures are those of the definitions."""

import dataclasses

import numpy as np
import pytest

from rearec_jax.data.interactions import TEST
from rearec_jax.evaluation import evaluator, lists
from tests import tiny

ITEMS, K = 23, 5


@pytest.fixture(scope="module")
def data():
    return tiny.interactions(tiny.sequences([4, 5, 9, 12, 3, 8], ITEMS, seed=5), ITEMS)


@pytest.mark.parametrize("exclude_seen", [False, True])
def test_a_target_is_listed_where_its_rank_says_so(data, exclude_seen):
    options = {"eval__list_length": K, "eval__exclude_seen": exclude_seen, "eval__batch_size": 4}
    config = tiny.config("erl", 2, model__layers=1, **options)
    model, variables = tiny.build(config, ITEMS, seed=2)
    test = evaluator.make_evaluator(model, config, data, TEST)
    best, examples = lists.best_items(test, variables)
    assert best.shape == (6, K) and all(len(set(one)) == K for one in best.tolist())
    ranks = dict(zip(*test(variables)[::2], strict=True))
    for one, example in zip(best, examples, strict=True):
        assert (data.items[example] in one) == (ranks[example] <= K)
        start = data.offsets[np.searchsorted(data.offsets, example, "right") - 1]
        before = set(data.items[start:example]) - {data.items[example]}
        assert not (exclude_seen and before & set(one.tolist()))


def test_tied_targets_have_one_list_each(data):
    data = dataclasses.replace(data, timestamps=np.zeros(len(data.items), np.int64))
    config = tiny.config("base", model__layers=1, eval__list_length=K, data__ties="expected")
    model, variables = tiny.build(config, ITEMS, seed=2)
    test = evaluator.make_evaluator(model, config, data, TEST)
    assert len(test(variables).examples) > 6
    best, examples = lists.best_items(test, variables)
    assert best.shape == (6, K)
    assert sorted(examples) == np.flatnonzero(data.split == TEST).tolist()


def test_figures_by_hand():
    """Training has item 0 three times and item 1 once; items 2 and 3 are cold."""
    users = [np.array(user) for user in ([0, 0, 2, 3], [0, 1, 2, 3])]
    data = tiny.interactions(users, 4)
    assert data.training_counts().tolist() == [3, 1, 0, 0]
    best, targets = np.array([[0, 1], [0, 4]]), np.array([1, 0])
    found = lists.beyond_accuracy(best, targets, data)
    shares = np.log2(np.array([4, 2, 1, 1]) / 8)
    assert found["coverage"] == 2 / 4
    assert found["novelty"] == pytest.approx(-(2 * shares[0] + shares[1]) / 3)
    assert found["popularity"] == pytest.approx((3 + 1 + 3) / 3 / 2)
    assert "diversity" not in found
    vectors = np.array([[3, 0], [1, 1], [0, 0], [0, 1]], np.float32)
    data = dataclasses.replace(data, item_vectors=vectors)
    found = lists.beyond_accuracy(best, targets, data)
    assert found["diversity"] == pytest.approx(1 - np.sqrt(0.5), abs=1e-6)
    same = lists.beyond_accuracy(np.array([[3, 3]]), targets[:1], data)
    assert same["diversity"] == pytest.approx(0, abs=1e-6)
    assert "popularity" not in lists.beyond_accuracy(best, np.array([2, 3]), data)
