"""A training that starts with the weights of another run: new items, gone items, another order."""

import dataclasses
import shutil

import jax
import numpy as np
import polars as pl
import pytest

from benchmarks.final_state import differences
import rearec_jax
from rearec_jax.config import resolve
from rearec_jax.data.read import read_data
from rearec_jax.errors import UserError
from rearec_jax.fitting.warm_start import _check_items, warm_start
from rearec_jax.recommend.from_run import Kept, load_kept
from rearec_jax.recommend.items import items_of_data
from rearec_jax.run.workdir import load_config
from rearec_jax.training.setup import make_setup
from tests import tiny
from tests.fitting.frames import QUICK, interactions
from tests.training.test_runs import Boom, at_step, fail

pytestmark = pytest.mark.filterwarnings("ignore:the load_module")
NEW, GONE = "a new one", "7"  # a name among numbers: all items are in another order


@pytest.fixture(scope="module")
def frame():
    """Today's rows: one item is gone, and everybody had a new one in the middle."""
    found = interactions()
    rest = found.filter(pl.col("movieId") != GONE)
    new = rest.group_by("userId").agg(pl.col("ts").sort().get(2), pl.col("note").first())
    return pl.concat([rest, new.with_columns(movieId=pl.lit(NEW)).select(rest.columns)])


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    return QUICK | {"data.cache_dir": str(tmp_path_factory.mktemp("cache"))}


@pytest.fixture(scope="module")
def yesterday(quick, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "yesterday"
    return rearec_jax.fit(interactions(), workdir=path, **quick)


@pytest.fixture(scope="module")
def today(yesterday, frame, quick):
    path = yesterday.path.parent / "today"
    return rearec_jax.fit(frame, workdir=path, start_from=yesterday, **quick)


def begun(path):
    config = load_config(path)
    data = read_data(config)
    return warm_start(data, make_setup(config, data))


def test_it_begins_with_yesterdays_best_epoch(yesterday, today):
    before, after = load_kept(yesterday.path), load_kept(today.path)
    state, history = begun(today.path)
    old, new = (tree["params"]["items"]["table"] for tree in (before.variables, state.variables))
    ids = after.items.ids.to_list()
    both = [raw for raw in ids if raw in before.items.index]
    assert [before.items.index[raw] for raw in both] != [after.items.index[raw] for raw in both]
    for raw in both:
        np.testing.assert_array_equal(new[after.items.index[raw]], old[before.items.index[raw]])
    carried_rows = np.array([old[before.items.index[raw]] for raw in both])
    noise = np.asarray(new[after.items.index[NEW]]) - carried_rows.mean(axis=0)
    assert 0 < np.abs(noise).max() < 0.2
    encoders = (tree["params"]["encoder"] for tree in (before.variables, state.variables))
    same = [np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, encoders), strict=True)]
    assert len(same) > 5 and all(same)
    counts = {"items_carried": len(both), "items_new": 1, "items_gone": 1}
    assert history.start_from == {"path": str(yesterday.path), **counts}
    assert today.summary["start_from"] == history.start_from


def test_what_is_new_today_is_recommended_today(today):
    some = today.recommender.items.ids.to_list()[5:9]
    (found,) = today.recommender.recommend([some], k=len(today.recommender.items) - 4)
    assert NEW in found.ids and GONE not in found.ids
    assert today.similar_items([NEW], k=3)


def test_it_goes_on_like_any_run_also_where_yesterday_is_gone(
    yesterday, today, frame, quick, tmp_path, monkeypatch
):
    source = shutil.copytree(yesterday.path, tmp_path / "source")
    given = quick | {"start_from": source, "train.checkpoint_minutes": 1e-9}
    whole = rearec_jax.fit(frame, workdir=tmp_path / "whole", **given)
    for step in (1, 3):  # before the first checkpoint, and after it
        with monkeypatch.context() as patch, pytest.raises(Boom):
            at_step(patch, step, fail)
            rearec_jax.fit(frame, workdir=tmp_path / "run", **given)
    shutil.rmtree(source)
    found = rearec_jax.fit(frame, workdir=tmp_path / "run", **given)
    assert differences(whole.path, found.path) == []
    assert found.metrics == today.metrics


def test_it_is_not_the_run_that_starts_anew(today, frame, quick, tmp_path):
    anew = rearec_jax.fit(frame, workdir=tmp_path / "anew", **quick)
    assert "start_from" not in anew.summary
    assert anew.metrics != today.metrics
    with pytest.raises(UserError, match=r"train\.start_from: '?.*-> .*yesterday"):
        rearec_jax.fit(
            frame, workdir=anew.path, start_from=today.path.parent / "yesterday", **quick
        )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"width": 16}, ["model.width: 8 -> 16", "set them as they are there"]),
        ({"model.heads": 1}, ["model.heads: 2 -> 1"]),
        ({"max_length": 20}, ["model.max_length: 10 -> 20"]),
        ({"steps": 3}, ["method.steps: 1 -> 3", "(1, 8) -> (3, 8)"]),
        ({"method": "base"}, ["method.name: rpe -> base"]),
        ({"start_from": "nowhere"}, ["start_from=nowhere", "no trained run is there"]),
    ],
)
def test_a_mistake_is_a_sentence_and_leaves_nothing(
    yesterday, frame, quick, options, words, tmp_path
):
    given = quick | {"start_from": yesterday} | {"model.max_length": 10, "steps": 1} | options
    if "max_length" in options:
        del given["model.max_length"]
    with pytest.raises(UserError) as caught:
        rearec_jax.fit(frame, workdir=tmp_path / "run", **given)
    assert "train.start_from=" in str(caught.value)
    assert all(word in str(caught.value) for word in words), caught.value
    assert not (tmp_path / "run").exists()


def test_items_of_another_catalogue_are_refused(yesterday, frame, quick, tmp_path):
    other = frame.with_columns(movieId="x" + pl.col("movieId"))
    with pytest.raises(UserError, match=r"none of the \d+ items is among its \d+ \(here x.*there"):
        rearec_jax.fit(other, workdir=tmp_path / "run", start_from=yesterday, **quick)


def test_dropout_and_rate_may_be_others(yesterday, frame, quick, tmp_path):
    given = quick | {"model.dropout": 0.1, "learning_rate": 1e-4, "model.init_stddev": 0.01}
    found = rearec_jax.fit(frame, workdir=tmp_path / "run", start_from=yesterday, **given)
    assert found.summary["start_from"]["items_new"] == 1


def test_a_search_starts_anew(yesterday, frame, quick, tmp_path):
    with pytest.raises(UserError, match=r"train\.start_from.*leave it out"):
        rearec_jax.tune(frame, workdir=tmp_path / "t", minutes=1, start_from=yesterday, **quick)


def test_text_vectors_must_be_those_of_yesterday_up_to_their_scale():
    vectors = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    data = dataclasses.replace(tiny.interactions([np.arange(6)], 6), item_vectors=2 * vectors)
    rows = np.array([3, 0, -1, 2, 1, 4])
    there = np.zeros((5, 4), np.float32)
    there[rows[rows >= 0]] = vectors[rows >= 0]
    source = Kept(resolve({}), items_of_data(tiny.interactions([np.arange(5)], 5)), there, None, {})
    _check_items(source, data, rows)
    with pytest.raises(UserError, match=r"text vectors are others.*text\.vectors"):
        _check_items(source._replace(vectors=there[:, ::-1]), data, rows)
