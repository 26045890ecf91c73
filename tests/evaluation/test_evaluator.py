"""Ranks equal sorting the whole catalogue for each user alone, for every method and step."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rearec_jax.data.interactions import TEST, VALIDATION
from rearec_jax.evaluation import evaluator, metrics, popularity, ranking, seen
from rearec_jax.evaluation.ranks import Ranks
from tests import oracle, tiny

ITEMS, STEPS, LENGTH = 23, 2, 6
LENGTHS = [3, 4, 5, 7, 9, 12, 3, 8, 14, 6, 3]  # also longer than the model sees


@pytest.fixture(scope="module")
def data():
    users = tiny.sequences(LENGTHS, ITEMS, seed=5)
    users[3][-1] = users[3][0]  # a target that the user has had before
    users[5][3] = users[5][2]  # an item that a user has had twice
    return tiny.interactions(users, ITEMS)


@functools.cache
def built(method):
    return tiny.build(tiny.config(method, STEPS, model__layers=1), ITEMS, seed=2)


def config(method, **changes):
    return tiny.config(method, STEPS, model__layers=1, eval__batch_size=4, **changes)


@pytest.fixture(scope="module")
def rank(data):
    @functools.cache
    def rank(method, which=TEST, **changes):
        model, variables = built(method)
        return evaluator.make_evaluator(model, config(method, **changes), data, which)(variables)

    return rank


def history(data, example):
    start = data.offsets[np.searchsorted(data.offsets, example, "right") - 1]
    return data.items[start:example]


def brute_force(data, method, example, exclude_seen, steps=STEPS):
    """Ranks by r_0 .. r_K and by the method's representation: [K + 2]."""
    variables = built(method)[1]
    seen = history(data, example)
    states, _ = oracle.reason(variables, seen[-LENGTH:], heads=2, steps=steps)
    final = states.mean(0) if method == "erl" else states[-1]
    target = data.items[example]
    ranks = []
    for vector in [*states, final]:
        scores = np.asarray(variables["params"]["items"]["table"], np.float64) @ vector
        allowed = [
            item
            for item in range(ITEMS)
            if item == target or not (exclude_seen and item in set(seen.tolist()))
        ]
        gaps = np.abs(np.delete(scores, target) - scores[target])
        assert gaps.min() > 1e-5  # so float32 cannot turn a pair round
        order = sorted(allowed, key=lambda item: -scores[item])
        ranks.append(order.index(target) + 1)
    return ranks


def assert_equals_brute_force(data, method, got, exclude_seen, steps=STEPS):
    want = np.array([brute_force(data, method, e, exclude_seen, steps) for e in got.examples])
    np.testing.assert_array_equal(got.by_step, want[:, :-1])
    np.testing.assert_array_equal(got.final, want[:, -1])


@pytest.mark.parametrize("method", tiny.METHODS)
def test_ranks_equal_brute_force(data, rank, method):
    got = rank(method)
    steps = 0 if method == "base" else STEPS
    assert got.by_step.shape == (len(LENGTHS), steps + 1)
    np.testing.assert_array_equal(got.examples, data.offsets[1:] - 1)
    assert_equals_brute_force(data, method, got, False, steps)


@pytest.mark.parametrize("method", ["erl", "prl"])
def test_ranks_without_the_items_seen_equal_brute_force(data, rank, method):
    got = rank(method, eval__exclude_seen=True)
    assert_equals_brute_force(data, method, got, True)
    everything = rank(method)
    assert (got.final <= everything.final).all()
    assert (got.final < everything.final).any()
    # The history of user 3 contains the target: it is ranked nevertheless.
    assert data.items[got.examples[3]] in history(data, got.examples[3])
    assert 1 <= got.final[3] <= ITEMS - len(set(history(data, got.examples[3]).tolist())) + 1


def test_validation_targets_are_their_own_examples(data, rank):
    got = rank("prl", VALIDATION)
    np.testing.assert_array_equal(got.examples, data.offsets[1:] - 2)
    assert_equals_brute_force(data, "prl", got, False)


@pytest.mark.parametrize("cut", ["_in_blocks_of_users", "_in_blocks_of_items"])
def test_blocks_change_nothing(data, rank, monkeypatch, cold, cut):
    def in_blocks(examples, table, *_):
        part = ranking._Slice(table, 0, ITEMS, lambda x: x)
        return 1 + getattr(ranking, cut)(examples, part, 3)

    monkeypatch.setattr(evaluator, "target_ranks", in_blocks)
    model, variables = built("erl")
    chosen = config("erl", eval__exclude_seen=True)
    got = evaluator.make_evaluator(model, chosen, data, TEST)(variables)
    monkeypatch.undo()
    evaluator.programs.cache_clear()
    jax.tree.map(np.testing.assert_array_equal, got, rank("erl", eval__exclude_seen=True))


@pytest.mark.parametrize("method", ["erl", "prl"])
def test_fewer_steps_than_trained(data, rank, method):
    got, whole = rank(method, eval__steps=1), rank(method)
    np.testing.assert_array_equal(got.by_step, whole.by_step[:, :2])
    assert_equals_brute_force(data, method, got, False, steps=1)


@pytest.mark.parametrize("method", tiny.METHODS)
def test_the_final_representation_alone_has_the_same_ranks(rank, method):
    got, whole = rank(method, eval__by_step=False), rank(method)
    np.testing.assert_array_equal(got.final, whole.final)
    assert got.by_step.shape == (len(LENGTHS), 0)


def test_the_sample_of_users_is_fixed_and_their_ranks_are_the_same(data, rank):
    whole, some = rank("prl"), rank("prl", eval__max_users=4)
    model, variables = built("prl")
    again = evaluator.make_evaluator(model, config("prl", eval__max_users=4), data, TEST)(variables)
    jax.tree.map(np.testing.assert_array_equal, some, again)
    assert len(some.examples) == 4
    at = np.searchsorted(whole.examples, some.examples)
    np.testing.assert_array_equal(whole.examples[at], some.examples)
    np.testing.assert_array_equal(whole.by_step[at], some.by_step)


@pytest.mark.parametrize("exclude_seen", [False, True])
def test_ties_count_against_the_target(data, exclude_seen):
    """A model that knows nothing scores every item 0 and ranks the target last."""
    model, variables = built("prl")
    params = variables["params"] | {"items": {"table": jnp.zeros((ITEMS, 8))}}
    chosen = config("prl", eval__exclude_seen=exclude_seen)
    got = evaluator.make_evaluator(model, chosen, data, TEST)({"params": params})
    for example, ranks, final in zip(*got, strict=True):
        hidden = set(history(data, example).tolist()) - {int(data.items[example])}
        last = ITEMS - len(hidden) * exclude_seen
        assert final == last and (ranks == last).all()


def test_one_evaluator_ranks_new_parameters(data):
    model, variables = built("prl")
    evaluate = evaluator.make_evaluator(model, config("prl"), data, TEST)
    first = evaluate(variables)
    other = evaluate(tiny.random_like(variables, seed=9))
    assert (first.final != other.final).any()
    assert evaluate.rank._cache_size() == 1


class TestLongHistories:
    """One user of thousands of events among users of a few."""

    ITEMS, LENGTHS = 1500, [5] * 40 + [4000] + [6] * 40

    @pytest.fixture
    def evaluate(self):
        data = tiny.interactions(tiny.sequences(self.LENGTHS, self.ITEMS, seed=1), self.ITEMS)
        model, variables = tiny.build(tiny.config("rpe", 1, model__layers=1), self.ITEMS)
        chosen = tiny.config("rpe", 1, eval__exclude_seen=True, eval__batch_size=8, model__layers=1)
        return evaluator.make_evaluator(model, chosen, data, TEST), variables

    def test_each_item_once_without_the_target(self, evaluate):
        data = evaluate[0].data
        for _, examples, hidden in evaluate[0].inputs():
            rows = hidden.reshape(examples.size, -1)
            for example, items in zip(examples.ravel(), rows, strict=True):
                had = set(history(data, example)) - {data.items[example]} if example >= 0 else set()
                assert sorted(items[items < self.ITEMS]) == sorted(had)

    def test_few_programs_and_the_ranks_of_the_widest(self, evaluate):
        evaluate, variables = evaluate
        got = evaluate(variables)
        assert evaluate.rank._cache_size() == 2
        table = evaluate.table(variables)
        for batch, examples, hidden in evaluate.inputs():
            wide = np.full((*examples.shape, self.ITEMS), self.ITEMS, np.int32)
            wide[..., : hidden.shape[2]] = hidden
            want = np.asarray(evaluate.rank(variables, table, batch, wide))[examples >= 0]
            at = np.searchsorted(got.examples, examples[examples >= 0])
            np.testing.assert_array_equal(got.final[at], want[:, -1])


@pytest.mark.parametrize("at_once", [1, 10, seen.MOST])
@pytest.mark.parametrize("exclude_seen", [False, True])
def test_popularity_equals_brute_force(data, exclude_seen, at_once, monkeypatch):
    monkeypatch.setattr(seen, "MOST", at_once)
    examples = data.offsets[1:] - 1
    got = popularity.popularity_ranks(data, examples, exclude_seen)
    training = np.concatenate(
        [data.items[a : b - 2] for a, b in zip(data.offsets[:-1], data.offsets[1:], strict=True)]
    )
    counts = np.bincount(training, minlength=ITEMS)
    for example, rank in zip(examples, got, strict=True):
        target = int(data.items[example])
        hidden = set(history(data, example).tolist()) if exclude_seen else set()
        others = [item for item in range(ITEMS) if item != target and item not in hidden]
        assert rank == 1 + sum(counts[item] >= counts[target] for item in others)


class TestReport:
    RANKS = Ranks(
        examples=np.array([4, 9, 11]),
        by_step=np.array([[1, 5], [7, 2], [3, 3]], np.int32),
        final=np.array([4, 2, 3], np.int32),
    )

    def test_hindsight_is_the_best_step_of_each_example(self):
        np.testing.assert_array_equal(evaluator.hindsight(self.RANKS), [1, 2, 3])

    def test_no_entries_of_steps_that_were_not_ranked(self):
        alone = self.RANKS._replace(by_step=np.empty((3, 0), np.int32))
        entries, whole = (evaluator.report(ranks, (1, 5), "test") for ranks in (alone, self.RANKS))
        assert entries == {"test": whole["test"]}

    def test_entries_of_the_summary(self):
        entries = evaluator.report(self.RANKS, (1, 5), "test")
        assert list(entries) == ["test", "test_by_step", "test_best_step_in_hindsight"]
        assert [step["step"] for step in entries["test_by_step"]] == [0, 1]
        assert entries["test"]["mrr"] == pytest.approx(np.mean([1 / 4, 1 / 2, 1 / 3]))
        assert entries["test_by_step"][0]["recall@1"] == pytest.approx(1 / 3)
        assert entries["test_by_step"][1]["recall@1"] == 0.0
        best = entries["test_best_step_in_hindsight"]
        want = metrics.ndcg(np.array([1, 2, 3]), 5).mean()
        assert best["ndcg@5"] == pytest.approx(want)
