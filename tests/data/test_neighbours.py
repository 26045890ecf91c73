"""Near items are those of the training part alone, found as by counting by hand, and kept."""

import dataclasses
import itertools
import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import sparse

from rearec_jax.data import neighbours
from rearec_jax.data.neighbours import Recipe
from rearec_jax.losses.teacher import teacher
from tests import tiny

ITEMS = 9


@pytest.fixture(scope="module")
def data():
    return tiny.interactions(tiny.sequences([6, 9, 12, 4, 7, 10, 11, 8], ITEMS), ITEMS)


def training(data):
    """The training part of each user: all but the last two items."""
    return [data.items[a : b - 2] for a, b in itertools.pairwise(data.offsets)]


@pytest.mark.parametrize("window", [1, 3, 100])
def test_pairs_are_counted_forwards_within_the_window(data, window):
    want = np.zeros((ITEMS, ITEMS), int)
    for user in training(data):
        for s, t in itertools.combinations(range(len(user)), 2):
            want[user[s], user[t]] += t - s <= window
    np.testing.assert_array_equal(neighbours.pairs(data, window).toarray(), want)


def swing_by_hand(users):
    taken = [set(user.tolist()) for user in users]
    owners = [sum(item in items for items in taken) for item in range(ITEMS)]
    want = np.zeros((ITEMS, ITEMS))
    for u, v in itertools.permutations(taken, 2):
        weight = ((len(u) + 5) * (len(v) + 5)) ** -0.3 / (1 + len(u & v))
        for i, j in itertools.permutations(u & v, 2):
            want[i, j] += weight * owners[j] ** -0.5
    return want


def off_diagonal(matrix):
    return matrix * (1 - np.eye(len(matrix)))


@pytest.mark.parametrize("block", [10, 2**21])
def test_swing_is_its_formula_whatever_the_blocks(data, block, monkeypatch):
    monkeypatch.setattr(neighbours, "BLOCK", block)
    got = off_diagonal(neighbours.swing(data).toarray())
    np.testing.assert_allclose(got, swing_by_hand(training(data)), rtol=1e-12)


def test_of_an_item_with_many_users_those_with_the_fewest_items_count(monkeypatch):
    monkeypatch.setattr(neighbours, "MOST_USERS", 3)
    few = [np.array([0, 1, item, 8, 8]) for item in (2, 3, 4)]
    many = np.array([5, 0, 6, 1, 7, 8, 8])
    got = neighbours.swing(tiny.interactions([many, *few], ITEMS)).toarray()
    want = neighbours.swing(tiny.interactions(few, ITEMS)).toarray()
    assert got[0, 1] > 0
    np.testing.assert_allclose(got[0, 1], want[0, 1] * (3 / 4) ** 0.5)  # item 1 has four users


def test_two_users_make_a_pair_of_swing():
    one = tiny.interactions([np.array([0, 1, 2, 3, 4]), np.array([5, 6, 7, 8, 8])], ITEMS)
    assert neighbours.swing(one).nnz == 0
    two = tiny.interactions([np.array([0, 1, 2, 3, 4]), np.array([1, 0, 7, 8, 8])], ITEMS)
    assert set(zip(*np.nonzero(neighbours.swing(two).toarray()), strict=True)) >= {(0, 1), (1, 0)}


def test_the_nearest_come_first_and_of_equal_ones_the_lower_id(data):
    graph = neighbours.pairs(data, 3)
    counts = off_diagonal(graph.toarray())
    got = neighbours.nearest(graph, ITEMS)
    for item, row in enumerate(got):
        order = [j for j in np.lexsort((np.arange(ITEMS), -counts[item])) if counts[item, j]]
        assert row.tolist() == order + [ITEMS] * (ITEMS - len(order))
    np.testing.assert_array_equal(neighbours.nearest(graph, 2), got[:, :2])


@pytest.mark.parametrize("graph", ["pairs", "swing"])
def test_held_out_items_change_nothing(data, graph):
    """Validation and test targets are not seen, also where a filter has made them context."""
    recipe = Recipe(graph, 3, 5)
    items = data.items.copy()
    held_out = np.concatenate([data.offsets[1:] - 2, data.offsets[1:] - 1])
    items[held_out] = (items[held_out] + 4) % ITEMS
    other = dataclasses.replace(data, items=items)
    np.testing.assert_array_equal(neighbours.find(recipe, other), neighbours.find(recipe, data))
    inside = data.items.copy()
    inside[data.offsets[:-1]] = (inside[data.offsets[:-1]] + 4) % ITEMS
    other = dataclasses.replace(data, items=inside)
    assert (neighbours.find(recipe, other) != neighbours.find(recipe, data)).any()


@jax.jit
def taught(targets, near):
    """The teacher's probability of every item [M, N]."""
    named = teacher(targets, near, ITEMS)
    places = jnp.arange(len(targets))[:, None], named.items
    return jnp.zeros((len(targets), ITEMS)).at[places].add(named.probabilities(2.0))


def test_a_training_example_does_not_see_its_own_pair(data):
    """Its teacher is the same whether or not the example was counted in the graph."""
    graph = neighbours.pairs(data, 3).toarray()
    pairs = [pair for user in training(data) for pair in itertools.pairwise(user)]
    examples = [(last, target) for last, target in pairs if last != target]
    near = neighbours.nearest(sparse.csr_array(graph), 4)
    unseen = []
    for last, target in examples:
        without = graph.copy()
        without[last, target] -= 1
        unseen.append(neighbours.nearest(sparse.csr_array(without), 4)[last])
    last, target = map(jnp.array, zip(*examples, strict=True))
    moved = (near[last] != np.array(unseen)).any(axis=1).mean()
    assert moved > 0.2  # the neighbours themselves do tell
    got, want = taught(target, jnp.asarray(near)[last]), taught(target, jnp.array(unseen))
    np.testing.assert_allclose(got, want, atol=1e-6)
    assert ((got > 0).sum(axis=1) == 4).mean() > 0.5  # the target and three others


class TestKept:
    @pytest.fixture
    def config(self, tmp_path):
        return tiny.config("mancar", data__cache_dir=str(tmp_path))

    def test_once_made_they_are_read(self, config, data, tmp_path, monkeypatch):
        first = neighbours.neighbours(config, data, 5)
        (path,) = tmp_path.iterdir()
        monkeypatch.setattr(neighbours, "find", None)
        np.testing.assert_array_equal(neighbours.neighbours(config, data, 5), first)
        assert path.name.startswith("neighbours-")

    def test_other_options_or_data_make_others(self, config, data, tmp_path):
        neighbours.neighbours(config, data, 5)
        neighbours.neighbours(config, data, 4)
        for changes in ({"method__graph": "swing"}, {"method__graph_window": 1}):
            other = tiny.config("mancar", data__cache_dir=str(tmp_path), **changes)
            neighbours.neighbours(other, data, 5)
        split = data.split.copy()
        split[data.offsets[1:] - 3] = split[data.offsets[1:] - 2]
        neighbours.neighbours(config, dataclasses.replace(data, split=split), 5)
        assert len(list(tmp_path.iterdir())) == 5

    @pytest.mark.parametrize("content", [b"", b"junk"])
    def test_a_damaged_file_is_made_again(self, config, data, tmp_path, caplog, content):
        first = np.array(neighbours.neighbours(config, data, 5))
        (path,) = tmp_path.iterdir()
        path.write_bytes(content)
        with caplog.at_level(logging.WARNING):
            again = neighbours.neighbours(config, data, 5)
        np.testing.assert_array_equal(again, first)
        assert "damaged" in caplog.text

    def test_a_directory_that_cannot_be_written_costs_a_warning(self, data, tmp_path, caplog):
        (tmp_path / "file").write_text("")
        config = tiny.config("mancar", data__cache_dir=str(tmp_path / "file" / "below"))
        with caplog.at_level(logging.WARNING):
            assert neighbours.neighbours(config, data, 5).shape == (ITEMS, 5)
        assert "data.cache_dir" in caplog.text


def test_no_interaction_no_neighbour():
    data = tiny.interactions([np.array([0, 1]), np.array([2, 3])], ITEMS)
    for graph in ("pairs", "swing"):
        assert (neighbours.find(Recipe(graph, 3, 2), data) == ITEMS).all()
