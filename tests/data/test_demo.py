"""The generated data follow the process whose best possible metrics are printed."""

import numpy as np
import pytest

from rearec_jax.config import DataConfig
from rearec_jax.data import demo
from rearec_jax.data.interactions import TEST
from rearec_jax.errors import UserError

CONFIG = DataConfig(demo_users=1500, demo_items=110)


@pytest.fixture(scope="module")
def data():
    return demo.generate(CONFIG)


def gains(scores, targets, k=10):
    """NDCG@k of each row, ties against us."""
    own = scores[np.arange(len(targets)), targets][:, None]
    rank = (scores >= own).sum(axis=1)
    return np.where(rank <= k, 1 / np.log2(1 + rank), 0.0)


def true_scores(data, places):
    process = demo.process(CONFIG)
    users = np.searchsorted(data.offsets, places, side="right") - 1
    return np.stack(
        [
            process.next_item_distribution(data.items[data.offsets[user] : place])
            for user, place in zip(users, places, strict=True)
        ]
    )


def test_the_same_seed_gives_the_same_data(data):
    again, other = demo.generate(CONFIG), demo.generate(DataConfig(demo_seed=1))
    assert np.array_equal(data.items, again.items)
    assert np.array_equal(data.timestamps, again.timestamps)
    assert not np.array_equal(data.items[:100], other.items[:100])


def test_a_distribution_sums_to_one_and_follows_the_history():
    process = demo.process(CONFIG)
    p = process.next_item_distribution(np.array([3, 50, 3]))
    assert p.sum() == pytest.approx(1)
    assert p.min() > 0
    # Of items in no way related to the last one, those of the taste gain with each repetition.
    taste = process.next_item_distribution(np.array([50, 50, 50, 50, 3]))
    assert taste[process.category == 2].sum() > p[process.category == 2].sum() + 0.1


def parts(process, category, history):
    """The four distributions that the module's docstring mixes, from their definitions."""
    successor, follow = np.zeros((2, len(category)))
    successor[process.successors[history[-1]]] = 0.6, 0.3, 0.1
    for number, share in zip(
        process.followers[category[history[-1]]], (0.7, 0.2, 0.1), strict=True
    ):
        follow += share * process.weight * (category == number)
    same = category[history][:, None] == category
    taste = process.weight * same.mean(axis=0)
    return np.stack([successor, follow, taste, np.full_like(taste, 1 / len(taste))])


def test_next_items_are_drawn_from_the_distribution(data):
    """The score of each weight of the mixture, sum(q_part / p - 1), vanishes within 4 sigma."""
    process = demo.process(CONFIG)
    category = process.category
    score, variance = np.zeros((2, 4))
    for user in range(150):
        sequence = data.items[data.offsets[user] : data.offsets[user + 1]]
        for place in range(4, len(sequence)):
            q = parts(process, category, sequence[:place])
            p = process.next_item_distribution(sequence[:place])
            assert np.allclose(p, np.array([0.25, 0.10, 0.60, 0.05]) @ q)
            score += q[:, sequence[place]] / p[sequence[place]] - 1
            variance += (q * q / p).sum(axis=1) - 1
    assert (np.abs(score) < 4 * np.sqrt(variance)).all()


def test_the_best_possible_is_what_the_true_probabilities_reach(data):
    places = np.flatnonzero(data.split == TEST)
    targets = data.items[places]
    reached = gains(true_scores(data, places), targets)
    best = demo.best_possible(data, CONFIG)["ndcg@10"]
    assert abs(reached.mean() - best) < 4 * reached.std() / np.sqrt(len(places))


def test_there_is_much_to_learn():
    config = DataConfig()
    data = demo.generate(config)
    places = np.flatnonzero(data.split == TEST)
    popularity = np.tile(data.training_counts(), (len(places), 1))
    best = demo.best_possible(data, config)
    assert best["ndcg@10"] > 3 * gains(popularity, data.items[places]).mean()
    assert best["ndcg@20"] > best["ndcg@10"]


def test_cutoffs_beyond_the_catalogue_are_allowed(data):
    assert demo.best_possible(data, CONFIG, cutoffs=(500,))["ndcg@500"] < 1


@pytest.mark.parametrize("count", [60, 110, 1300])
def test_titles_are_distinct(count):
    assert len(set(demo.titles(count))) == count


@pytest.mark.parametrize("items", [60, 61, 79])
def test_every_item_can_be_reached_and_neighbours_differ(items):
    process = demo.process(DataConfig(demo_items=items))
    for table in (process.successors, process.followers):
        assert (np.diff(np.sort(table, axis=1), axis=1) > 0).all()
    assert np.bincount(process.category, weights=process.weight) == pytest.approx(1)


def test_other_splits_work_too():
    data = demo.generate(DataConfig(demo_users=300, demo_items=60, split="time_fraction"))
    assert data.timestamps is not None
    first_test = data.timestamps[data.split == TEST].min()
    assert (data.timestamps[data.split == 1] < first_test).all()


def test_impossible_sizes_are_refused():
    with pytest.raises(UserError, match=r"data\.demo_items=10"):
        demo.generate(DataConfig(demo_items=10))
    with pytest.raises(UserError, match=r"data\.demo_users=0"):
        demo.generate(DataConfig(demo_users=0))
