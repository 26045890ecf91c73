"""Untied targets are those whose time no other interaction of their user has."""

import dataclasses

import numpy as np
import pytest

from rearec_jax.data.interactions import TEST
from rearec_jax.evaluation import summary_table
from rearec_jax.evaluation.metrics import MetricSums
from rearec_jax.evaluation.ties import metrics_of_untied, untied
from tests import tiny


@pytest.fixture
def data():
    users = tiny.sequences([4, 3, 5], 9)
    times = [[1, 2, 2, 3], [3, 4, 4], [4, 5, 6, 6, 6]]  # neighbours of other users are no ties
    return dataclasses.replace(
        tiny.interactions(users, 9), timestamps=np.concatenate(times).astype(np.int64)
    )


def test_of_every_interaction(data):
    alone = untied(data, np.arange(12))
    assert alone.tolist() == [
        *[True, False, False, True],
        *[True, False, False],
        *[True, True, False, False, False],
    ]


def test_metrics_are_those_of_the_untied_alone(data):
    examples = np.flatnonzero(data.split == TEST)
    ranks = np.array([3, 1, 2], np.int32)
    found = metrics_of_untied(data, examples, ranks, (10,))["test_untied"]
    assert found == {"examples": 1, **MetricSums.empty((10,)).add(ranks[:1]).means()}
    assert metrics_of_untied(data, examples[1:], ranks[1:], (10,)) == {
        "test_untied": {"examples": 0}
    }


def test_without_times_nothing_is_said(data):
    bare = dataclasses.replace(data, timestamps=None)
    assert untied(bare, np.arange(3)) is None
    assert metrics_of_untied(bare, np.arange(3), np.ones(3, np.int32), (10,)) == {}


def test_the_table_has_a_row_where_it_says_something_else():
    metrics = {"ndcg@10": 0.25}
    summary = {"test": metrics, "test_untied": {"examples": 3, **metrics}}

    def names(summary):
        return [name for name, _, _ in summary_table.rows(summary)]

    assert names(summary) == ["final representation"]
    summary["test_untied"]["ndcg@10"] = 0.5
    assert names(summary) == ["final representation", "untied targets"]
    assert names(summary | {"test_untied": {"examples": 0}}) == ["final representation"]
