"""Explanations equal the model's own attention and the softmax over all items."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

import rearec_jax
from rearec_jax.models.backbones import item_table
from rearec_jax.models.reasoning import encode_and_reason
from rearec_jax.recommend import export, trained
from rearec_jax.recommend.recommender import Recommender
from tests import oracle, tiny
from tests.recommend.test_recommender import HISTORIES, ITEMS, catalogue, direct, recommender

CLOZE = {"model__backbone": "bert4rec", "train__objective": "cloze"}
TEMPERATURE = 0.5


class TestAttention:
    @pytest.mark.parametrize(
        ("method", "changes"), [("rpe", {}), ("erl", {}), ("prl", {"model__backbone": "bert4rec"})]
    )
    def test_equals_encoding_one_user_in_full(self, method, changes):
        rec, config, _, variables = recommender(method, **(changes | {"model__layers": 2}))
        for history, one in zip(HISTORIES, rec.recommend(HISTORIES, explain=True), strict=True):
            assert one.history == tuple(history[-config.model.max_length :])
            items = np.array([int(raw[1:]) for raw in one.history])
            want: list[np.ndarray] = []
            both_ways = config.model.attention == "bidirectional"
            oracle.reason(variables, items, 2, 2, bidirectional=both_ways, attention=want)
            assert len(one.steps) == len(want) == 3
            for step, weights in zip(one.steps, want, strict=True):
                own = weights[: len(items)] / weights[: len(items)].sum()
                np.testing.assert_allclose(step.attention, own, rtol=1e-4, atol=1e-6)
                assert sum(step.attention) == pytest.approx(1, abs=1e-5)

    def test_the_mask_is_no_item(self):
        rec, config, model, variables = recommender("prl", **CLOZE)
        table = item_table(model, variables)
        some = HISTORIES[:3]
        for history, one in zip(some, rec.recommend(some, explain=True), strict=True):
            seen = history[-(config.model.max_length - 1) :]
            assert one.history == tuple(seen)
            items = np.array([*(int(raw[1:]) for raw in seen), ITEMS])
            batch = tiny.pack([[items]], len(items), ITEMS)
            found = tiny.jit(
                lambda batch: encode_and_reason(
                    model, variables, table, batch, 2, with_attention=True
                )
            )(batch)
            for step, weights in zip(one.steps, found.attention[0, 0], strict=True):
                own = weights[:-1] / weights[:-1].sum()
                np.testing.assert_allclose(step.attention, own, rtol=1e-4, atol=1e-6)

    def test_without_an_explanation_nothing_is_told(self):
        (one,) = recommender()[0].recommend([["i7"]])
        assert one.history == () and one.steps == ()


@pytest.mark.parametrize("method", ["rpe", "erl"])
def test_hesitation_equals_the_whole_softmax(method):
    rec, *model = recommender(method, method__temperature=TEMPERATURE)
    options = {"exclude": ["i2"], "candidates": [f"i{n}" for n in range(20)]}
    found = rec.recommend(HISTORIES, k=4, explain=True, **options)
    for history, one in zip(HISTORIES, found, strict=True):
        allowed = [n for n in range(20) if n != 2 and f"i{n}" not in history]
        for step in one.steps:
            logits = direct(*model, history, step.step)[allowed] / TEMPERATURE
            shares = oracle.softmax(np.float64(logits))
            entropy = -np.sum(shares * np.log(shares))
            assert step.effective_items == pytest.approx(np.exp(entropy), rel=1e-4)
            assert step.top_share == pytest.approx(np.sort(shares)[-4:].sum(), rel=1e-4)


def test_where_one_item_is_allowed():
    (one,) = recommender()[0].recommend([["i7"]], candidates=["i3"], explain=True)
    assert all(step.effective_items == step.top_share == 1 for step in one.steps)


def test_where_none_is_allowed():
    (one,) = recommender()[0].recommend([["i7"]], candidates=["i7"], explain=True)
    assert all(step.ids == () for step in one.steps)
    assert all(step.effective_items is step.top_share is None for step in one.steps)


@pytest.fixture(scope="module", params=[("erl", {}), ("prl", CLOZE)])
def both(request, tmp_path_factory):
    """A recommender and the directory of its export."""
    method, changes = request.param
    config = tiny.config(method, **changes)
    _, variables = tiny.build(config, ITEMS)
    rec = Recommender(trained.engine_of_model(config, variables, ITEMS), catalogue())
    path = tmp_path_factory.mktemp("exported") / "model"
    export.write(path, config, variables, rec)
    return rec, path


class TestExport:
    @pytest.mark.parametrize("steps", [None, 0])
    def test_explains_as_the_run_does(self, both, steps):
        rec, path = both
        ours = rec.recommend(HISTORIES, k=4, steps=steps, explain=True)
        theirs = rearec_jax.load(path).recommend(HISTORIES, k=4, steps=steps, explain=True)
        for one, other in zip(ours, theirs, strict=True):
            assert one.history == other.history and one.ranks == other.ranks
            for step, again in zip(one.steps, other.steps, strict=True):
                assert step.ids == again.ids
                np.testing.assert_allclose(step.attention, again.attention, rtol=1e-5, atol=1e-6)
                assert again.effective_items == pytest.approx(step.effective_items, rel=1e-5)
                assert again.top_share == pytest.approx(step.top_share, rel=1e-5)

    def test_an_older_one_says_less(self, both, tmp_path):
        rec, path = both
        old = shutil.copytree(path, tmp_path / "old")
        manifest = json.loads((old / "manifest.json").read_text())
        del manifest["files"]["attend.stablehlo"], manifest["model"]["temperature"]
        (old / "manifest.json").write_text(json.dumps(manifest))
        (old / "attend.stablehlo").unlink()
        (one,) = rearec_jax.load(old).recommend(HISTORIES[:1], k=4, explain=True)
        (whole,) = rec.recommend(HISTORIES[:1], k=4, explain=True)
        unknown = {"effective_items": None, "top_share": None, "attention": None}
        assert one.history == whole.history
        assert [step.ids for step in one.steps] == [step.ids for step in whole.steps]
        for step in one.steps:
            assert dataclasses.asdict(step).items() >= unknown.items()
