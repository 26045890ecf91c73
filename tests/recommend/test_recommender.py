"""Recommendations from raw ids equal a direct computation, with any options."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

import rearec_jax
from rearec_jax.data.item_vectors import tfidf
from rearec_jax.data.item_vectors.new_items import TextEncoder
from rearec_jax.data.item_vectors.vectors import unit_scale
from rearec_jax.errors import UserError
from rearec_jax.losses.similarity import comparable
from rearec_jax.models.backbones import item_table
from rearec_jax.models.reasoning import encode_and_reason
from rearec_jax.recommend import engine, trained
from rearec_jax.recommend.histories import of_ids
from rearec_jax.recommend.items import Items
from rearec_jax.recommend.recommender import Recommender
from rearec_jax.recommend.rows import batches, rounded
from tests import tiny

ITEMS = 30
HISTORIES = [["i3", "i4"], ["i7"], [f"i{n}" for n in range(9)], ["i5", "i29", "i5"]]


def catalogue(items=ITEMS):
    ids = pl.Series([f"i{n}" for n in range(items)])
    titles = pl.Series([f"{['red', 'wool', 'oak'][n % 3]} thing{n}" for n in range(items)])
    return Items(ids, titles, np.arange(items)[::-1] % 7)


def recommender(method="rpe", **changes):
    config = tiny.config(method, **({"model__layers": 1} | changes))
    model, variables = tiny.build(config, ITEMS)
    text = tiny.text_of(config, ITEMS)
    engine = trained.engine_of_model(
        config, variables, ITEMS, None if text is None else np.asarray(text)
    )
    return Recommender(engine, catalogue()), config, model, variables


def direct(config, model, variables, history, steps):
    """Returns the scores [N] of one user alone, in a row as long as its history."""
    text = tiny.text_of(config, ITEMS)
    scaled = None if text is None else text * unit_scale(np.asarray(text))
    table = item_table(model, variables, scaled)
    items = np.array([int(raw[1:]) for raw in history])[-config.model.max_length :]
    if config.train.objective == "cloze":
        items = np.append(items, ITEMS)[-config.model.max_length :]
    batch = tiny.pack([[items]], len(items), ITEMS)
    states = encode_and_reason(model, variables, table, batch, steps).states[0, 0]
    state = states.mean(axis=0) if config.method.name == "erl" else states[-1]
    similarity = config.model.similarity
    return np.array(comparable(state[None], similarity) @ comparable(table, similarity).T)[0]


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("base", {}),
        ("rpe", {}),
        ("erl", {}),
        ("prl", {"model__backbone": "bert4rec", "train__objective": "cloze"}),
        ("rpe", {"model__backbone": "unisrec"}),
        ("rpe", {"model__backbone": "morec", "model__item_ids": True}),
    ],
)
def test_lists_equal_a_direct_computation(method, changes):
    rec, config, model, variables = recommender(method, **changes)
    found = rec.recommend(HISTORIES, k=5)
    for history, one in zip(HISTORIES, found, strict=True):
        scores = direct(config, model, variables, history, config.method.steps)
        scores[[int(raw[1:]) for raw in history]] = -np.inf
        best = np.argsort(-scores, kind="stable")[:5]
        assert one.ids == tuple(f"i{n}" for n in best)
        np.testing.assert_allclose(one.scores, scores[best], rtol=1e-4, atol=1e-5)
        assert one.by == "model" and one.titles[0] == rec.items.titles[int(best[0])]


@pytest.fixture(scope="module")
def rec():
    return recommender()[0]


class TestOptions:
    def test_users_together_or_alone(self, rec):
        many = HISTORIES * 3
        together = rec.recommend(many, k=4)
        for history, one in zip(many, together, strict=True):
            (alone,) = rec.recommend([history], k=4)
            assert alone.ids == one.ids
            np.testing.assert_allclose(alone.scores, one.scores, rtol=1e-4, atol=1e-5)

    def test_seen_items_are_left_out_unless_wanted(self, rec):
        for history, one in zip(HISTORIES, rec.recommend(HISTORIES, k=ITEMS), strict=True):
            assert set(one.ids) == set(rec.items.ids) - set(history)
        for one in rec.recommend(HISTORIES, k=ITEMS, exclude_seen=False):
            assert set(one.ids) == set(rec.items.ids)

    def test_excluded_and_candidates(self, rec):
        (full,) = rec.recommend([["i7"]], k=ITEMS)
        (some,) = rec.recommend([["i7"]], k=ITEMS, exclude=[full.ids[0], "i2"])
        assert some.ids == tuple(raw for raw in full.ids[1:] if raw != "i2")
        wanted = ["i7", "i20", "i3", "i11", "i29"]
        (few,) = rec.recommend([["i7"]], k=10, candidates=wanted, exclude=["i3"])
        assert few.ids == tuple(raw for raw in full.ids if raw in ("i20", "i11", "i29"))

    def test_fewer_steps(self, rec):
        _, config, model, variables = recommender()
        scores = direct(config, model, variables, ["i7"], 1)
        (one,) = rec.recommend([["i7"]], k=3, steps=1, exclude_seen=False)
        assert one.ids == tuple(f"i{n}" for n in np.argsort(-scores)[:3])

    def test_unknown_ids_are_left_out_and_said(self, rec, caplog):
        with caplog.at_level(logging.WARNING):
            with_unknown, plain = rec.recommend([["?", "i7", "x"], ["i7"]])
        assert with_unknown.ids == plain.ids
        assert with_unknown.unknown == ("?", "x") and plain.unknown == ()
        assert "2 unknown item ids are left out, such as '?'" in caplog.text
        with pytest.raises(UserError, match=r"history 1: no item has the id 'x' \(2 such ids\)"):
            rec.recommend([["i7"], ["x", "?"]], unknown="error")

    def test_without_a_known_item_the_popular_ones(self, rec, caplog):
        empty, lost, known = rec.recommend([[], ["?"], ["i7"]], k=4, exclude=["i29"])
        assert (empty.by, lost.by, known.by) == ("popularity", "popularity", "model")
        order = [n for n in np.argsort(-rec.items.counts, kind="stable") if n != 29][:4]
        assert empty.ids == lost.ids == tuple(f"i{n}" for n in order)
        assert empty.scores == tuple(rec.items.counts[order])
        (few,) = rec.recommend([[]], k=4, candidates=["i3", "i4"], explain=True)
        assert set(few.ids) == {"i3", "i4"} and few.steps == ()

    def test_no_user_no_list(self, rec):
        assert list(rec.recommend([])) == []

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"k": 0}, r"k=0 must be at least 1"),
            ({"steps": 3}, r"steps=3 must lie between 0 and the 2"),
            ({"unknown": "drop"}, r"unknown='drop' must be one of skip, error"),
            ({"exclude": ["x"]}, r"exclude: no item has the id 'x'"),
            ({"candidates": []}, r"candidates is empty"),
            ({"candidates": "i1"}, r"candidates is 'i1'; it is a list"),
        ],
    )
    def test_mistakes(self, rec, options, words):
        with pytest.raises(UserError, match=words):
            rec.recommend([["i7"]], **options)

    def test_a_history_that_is_no_list(self, rec):
        with pytest.raises(UserError, match=r"history 0 is 'i7'; a history is a list"):
            rec.recommend(["i7"])


@pytest.mark.parametrize("method", ["rpe", "erl"])
def test_explanation_is_the_list_at_every_depth(method):
    rec, *_ = recommender(method)
    found = rec.recommend(HISTORIES, k=6, explain=True)
    by_depth = [rec.recommend(HISTORIES, k=ITEMS, steps=steps) for steps in range(3)]
    for user, one in enumerate(found):
        assert one.ids == one.steps[-1].ids and len(one.steps) == 3
        for step in one.steps:
            assert step.ids == by_depth[step.step][user].ids[:6]
        for raw, ranks in one.ranks.items():
            assert ranks == tuple(1 + lists[user].ids.index(raw) for lists in by_depth)
        first, second = one.steps[:2]
        assert set(second.entered) == set(second.ids) - set(first.ids)
        assert set(second.left) == set(first.ids) - set(second.ids)
        assert first.entered == first.left == ()


@pytest.fixture(scope="module", params=["unisrec", "morec"])
def reader(request):
    config = tiny.config("rpe", model__layers=1, model__backbone=request.param, text__width=4)
    items = catalogue()
    vectors = tfidf.encode(items.titles.to_list(), 4)
    model, _ = tiny.build(config, ITEMS)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.asarray(vectors))
    variables = tiny.random_like(shapes)
    engine = trained.engine_of_model(config, variables, ITEMS, vectors)
    return Recommender(engine, items, TextEncoder(config, items.titles, vectors))


class TestNewItems:
    def test_the_text_of_an_old_item_gives_its_row(self, reader):
        more = reader.add_items(["new"], [reader.items.titles[4]])
        np.testing.assert_allclose(more.engine.table[-1], reader.engine.table[4], rtol=1e-5)
        assert len(reader.items) == ITEMS  # the recommender itself stays as it was

    def test_a_new_item_can_be_recommended_and_had(self, reader):
        more = reader.add_items(["new", "none"], [reader.items.titles[4], None])
        (before,) = more.recommend([["i7"]], k=ITEMS + 2)
        scores = dict(zip(before.ids, before.scores, strict=True))
        assert scores["new"] == pytest.approx(scores["i4"], rel=1e-5)
        had, same = more.recommend([["new"], ["i4"]], k=5, exclude=["new", "i4"])
        assert had.ids == same.ids

    def test_mistakes(self, reader):
        with pytest.raises(UserError, match=r"'i4' is in the catalogue already"):
            reader.add_items(["i4"], ["red"])
        with pytest.raises(UserError, match=r"need vectors of shape \(1, 4\), got \(1, 3\)"):
            reader.add_items(["new"], vectors=np.zeros((1, 3)))
        with pytest.raises(UserError, match=r"not a finite number"):
            reader.add_items(["new"], vectors=np.full((1, 4), np.nan))
        with pytest.raises(UserError, match=r"need texts"):
            reader.add_items(["new"])
        for vectors in (None, np.zeros((2, 4))):
            with pytest.raises(UserError, match=r"2 new items need as many texts, got 1"):
                reader.add_items(["new", "newer"], ["red"], vectors=vectors)

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ({"ids": "new", "texts": ["red"]}, r"ids is 'new'; it is a list of item ids"),
            ({"ids": {"new"}, "texts": ["red"]}, r"ids is a set; it is a list"),
            ({"ids": [1e17], "texts": ["red"]}, r"ids: the item id 1e\+17 is neither"),
            ({"ids": ["a", "b", "c"], "texts": "red"}, r"texts is 'red'; it is a list of titles"),
            ({"ids": ["new"], "texts": [3]}, r"texts\[0\] is 3; a title is text or None"),
            ({"ids": ["new"], "vectors": [["a"] * 4]}, r"vectors is no array of numbers"),
            ({"ids": ["a", "b"], "vectors": [[1] * 4, [1]]}, r"vectors is no array of numbers"),
            ({"ids": [4, 4.0], "texts": ["red", "red"]}, r"item '4' is in the catalogue already"),
        ],
    )
    def test_what_is_no_new_item(self, reader, arguments, said):
        with pytest.raises(UserError, match=said):
            reader.add_items(**arguments)

    def test_ids_and_texts_of_any_kind(self, reader):
        titles = pl.Series([reader.items.titles[4], None])
        more = reader.add_items(np.array([101.0, 102.0]), (title for title in titles))
        assert more.items.ids.to_list()[-2:] == ["101", "102"]
        assert more.items.titles.to_list()[-2:] == titles.to_list()
        again = reader.add_items(iter([101, b"102"]), [titles[0], float("nan")])
        np.testing.assert_array_equal(more.engine.table, again.engine.table)

    def test_vectors_that_changed_are_noticed(self, reader):
        other = TextEncoder(reader.text.config, reader.items.titles, reader.text.trained + 1)
        with pytest.raises(UserError, match=r"no longer gives the vectors"):
            other(["red"])

    def test_a_model_of_ids_takes_none(self):
        with pytest.raises(UserError, match=r"model.backbone=unisrec or morec"):
            recommender()[0].add_items(["new"], ["red"])


@pytest.mark.parametrize("excluded", [[], [4]])
def test_zeros_of_either_sign_are_equal(excluded):
    """Equal scores are in the order of the items, whatever the sign of a zero."""

    @jax.jit
    def order(scores):
        allowed = engine._allowed(scores, 5, jnp.array([excluded], jnp.int32))
        return jax.lax.top_k(allowed, 4)[1]

    assert order(jnp.array([[-0.0, 0.0, -0.0, 1.0, -1.0, 2.0]])).tolist() == [[3, 0, 1, 2]]


class TestBatches:
    def test_sizes_are_few(self):
        assert [rounded(n) for n in (1, 2, 3, 4, 5, 6, 7, 9, 13, 17)] == [
            1, 2, 3, 4, 6, 6, 8, 12, 16, 24,
        ]  # fmt: skip

    def test_every_user_once(self):
        histories = of_ids([[f"i{n}"] * (1 + n % 5) for n in range(30)], catalogue())
        rows = list(batches(histories, 6, 8, None))
        users = np.concatenate([one.users[one.users >= 0] for one in rows])
        assert sorted(users) == list(range(30))
        assert len({one.tokens.shape + one.queries.shape for one in rows}) == 1

    def test_one_user_has_a_short_row(self):
        histories = of_ids([["i1", "i2"]], catalogue())
        (rows,) = batches(histories, 50, 128, None)
        assert rows.tokens.shape == (1, 8) and rows.queries.shape == (1, 1)


def test_importing_the_package_is_cheap():
    import subprocess
    import sys

    code = "import rearec_jax, sys; assert not {'jax', 'numpy', 'polars'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert rearec_jax.load.__doc__
