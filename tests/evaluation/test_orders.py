"""Expected metrics equal those of plain loops that rank every order on its own."""

import dataclasses
import itertools

import numpy as np
import polars as pl
import pytest

from rearec_jax.data import ties
from rearec_jax.data.interactions import CONTEXT, TEST, VALIDATION
from rearec_jax.evaluation import evaluator, popularity, rank_file
from rearec_jax.evaluation.metrics import METRICS, MetricSums, metric
from rearec_jax.evaluation.orders import orders
from rearec_jax.training import loop
from tests import oracle, tiny

ITEMS, LENGTH = 17, 6
TIMES = ([1, 2, 3, 4], [3, 4, 5, 5], [4, 5, 6, 6, 6], [1, 1, 2, 3, 3, 4], [7, 7, 8, 8, 8, 8, 8])


def made(times):
    users = tiny.sequences([len(own) for own in times], ITEMS, seed=3)
    stamps = np.concatenate(times).astype(np.int64)
    return dataclasses.replace(tiny.interactions(users, ITEMS), timestamps=stamps)


@pytest.fixture(scope="module")
def data():
    config = tiny.config(data__ties="expected").data
    return ties.decided(made(TIMES), config)


def sequences(data, example):
    """All items of the example's user, its place among them, and the places that share its time."""
    user = np.searchsorted(data.offsets, example, "right") - 1
    start, end = data.offsets[user : user + 2]
    times, place = data.timestamps[start:end], int(example - start)
    return data.items[start:end].tolist(), place, np.flatnonzero(times == times[place]).tolist()


def rotations(data, example):
    """Each order of the example's group that rotates it: (history, target)."""
    items, place, group = sequences(data, example)
    for shift in range(len(group)):
        turned = list(items)
        for at, source in zip(group, group[shift:] + group[:shift], strict=True):
            turned[at] = items[source]
        yield turned[:place], turned[place]


def permutations(data, example):
    """Each order of the example's group: (history, target)."""
    items, place, group = sequences(data, example)
    for order in itertools.permutations(group):
        turned = list(items)
        for at, source in zip(group, order, strict=True):
            turned[at] = items[source]
        yield turned[:place], turned[place]


def rank_of(variables, history, target):
    vector = oracle.reason(variables, np.array(history[-LENGTH:]), heads=2, steps=2)[0][-1]
    scores = np.asarray(variables["params"]["items"]["table"], np.float64) @ vector
    return 1 + int((np.delete(scores, target) >= scores[target]).sum())


@pytest.mark.parametrize("which", [VALIDATION, TEST])
def test_metrics_are_the_mean_over_the_rotations_of_the_group(data, which):
    config = tiny.config("rpe", model__layers=1, eval__batch_size=4, data__ties="expected")
    model, variables = tiny.build(config, ITEMS, seed=2)
    evaluate = evaluator.make_evaluator(model, config, data, which)
    ranks = evaluate(variables)
    examples = np.flatnonzero(data.split == which)
    by_hand = [
        [rank_of(variables, *order) for order in rotations(data, example)] for example in examples
    ]
    assert max(map(len, by_hand)) > 2  # or nothing is tried
    for name, values in evaluate.orders.expected(ranks).items():
        expected = [metric(name, np.array(found)).mean() for found in by_hand]
        np.testing.assert_allclose(values, expected)
    weights = evaluate.orders.weights_of(ranks)
    found = evaluator.report(ranks, (10, 20), "x", weights)["x"]
    for name in METRICS:
        assert found[name] == pytest.approx(evaluate.orders.expected(ranks)[name].mean())
    in_file = evaluate.orders.in_file(ranks)
    np.testing.assert_array_equal(in_file.examples, examples)
    np.testing.assert_array_equal(in_file.final, [found[0] for found in by_hand])


def test_early_stopping_reads_the_same_mean(data):
    config = tiny.config("erl", model__layers=1, data__ties="expected")
    model, variables = tiny.build(config, ITEMS, seed=2)
    validate = evaluator.make_evaluator(model, config, data, VALIDATION)
    ranks = validate(variables)
    event = loop.validation_event(validate, variables)
    expected = validate.orders.expected(ranks)["ndcg@20"].mean()
    assert event["valid"]["ndcg@20"] == pytest.approx(expected)
    in_file = metric("ndcg@20", validate.orders.in_file(ranks).final).mean()
    assert event["valid"]["ndcg@20"] != pytest.approx(in_file)


def test_rotations_of_two_are_all_orders(data):
    for example in np.flatnonzero((data.split == VALIDATION) | (data.split == TEST)):
        if len(sequences(data, example)[2]) == 2:
            assert sorted(rotations(data, example)) == sorted(permutations(data, example))


@pytest.mark.parametrize("exclude_seen", [False, True])
def test_where_the_order_of_a_history_does_not_matter_all_orders_count_alike(data, exclude_seen):
    """Popularity without the items seen knows a history as a set: rotations are enough for it."""
    found = orders(data, tiny.config(data__ties="expected").data)
    examples = np.flatnonzero(found.data.split == TEST)
    ranks = popularity.popularity_ranks(found.data, examples, exclude_seen)
    got = MetricSums.empty((2, 5)).add(ranks, found.weights[examples]).means()
    counts = data.training_counts()

    def ranked(history, target):
        hidden = set(history) - {target} if exclude_seen else set()
        others = [n for n in range(ITEMS) if n not in hidden and n != target]
        return 1 + sum(counts[n] >= counts[target] for n in others)

    by_user = [
        np.array([ranked(*order) for order in permutations(data, example)])
        for example in np.flatnonzero(data.split == TEST)
    ]
    for name, value in got.items():
        assert value == pytest.approx(np.mean([metric(name, own).mean() for own in by_user]))


def test_each_target_counts_once_and_no_order_trains(data):
    found = orders(data, tiny.config(data__ties="expected").data)
    for which in (VALIDATION, TEST):
        own = found.data.split == which
        np.testing.assert_allclose(
            np.bincount(found.file[own], found.weights[own], len(data.items)), data.split == which
        )
    assert not found.data.split[found.own :].tolist().count(1)  # TRAIN
    assert (found.data.split[found.own :] == CONTEXT).any()
    np.testing.assert_array_equal(found.data.training_counts(), data.training_counts())


@pytest.mark.parametrize("choice", ["file", "untied"])
def test_other_choices_have_the_order_of_the_file_alone(data, choice):
    found = orders(data, tiny.config(data__ties=choice).data)
    assert found.data is data and found.weights is None


def test_the_file_of_ranks_keeps_expected_metrics(data, tmp_path):
    config = tiny.config("base", model__layers=1, data__ties="expected")
    model, variables = tiny.build(config, ITEMS, seed=2)
    evaluate = evaluator.make_evaluator(model, config, data, TEST)
    ranks = evaluate(variables)
    expected = evaluate.orders.expected(ranks)
    path = tmp_path / "ranks.parquet"
    rank_file.write(path, data, evaluate.orders.in_file(ranks), expected)
    read = rank_file.read(path)
    assert len(pl.read_parquet(path)) == len(TIMES)
    for name in METRICS:
        np.testing.assert_array_equal(read.values(name), expected[name])
    rank_file.write(path, data, evaluate.orders.in_file(ranks))
    plain = rank_file.read(path)
    np.testing.assert_array_equal(plain.values("mrr"), 1 / plain.final)
