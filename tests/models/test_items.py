"""Item encoders: the formulas of the papers, and what text does for an item nobody has bought."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rearec_jax.data.interactions import TEST
from rearec_jax.evaluation import evaluator
from rearec_jax.losses.similarity import comparable
from rearec_jax.methods.reasoned import Blocks
from rearec_jax.models import backbones
from rearec_jax.training import catalogue_sample, objective
from rearec_jax.types import Catalogue, Reasoning
from tests import tiny

ITEMS, WIDTH = 9, 8
TEXT = ("unisrec", "morec")


def table_of(config, key=None, text=None):
    model, variables = tiny.build(config, ITEMS)
    text = tiny.text_of(config, ITEMS) if text is None else text
    return backbones.item_table(model, variables, text, key), variables["params"]["items"]


class TestFeatures:
    config = tiny.config(model__backbone="sasrec")

    def made(self):
        model, features = backbones.build(self.config, ITEMS), tiny.features_of(ITEMS)
        variables = backbones.initialise(model, jax.random.key(0), features)
        return model, variables, features

    def test_an_item_is_its_vector_and_the_mean_of_its_values(self):
        model, variables, features = self.made()
        params = jax.tree.map(np.asarray, variables["params"]["items"])
        assert params["features"].shape == (5, WIDTH)
        expected = params["table"].copy()
        for item in range(ITEMS):
            for code, weight in zip(features.codes[item], features.weights[item], strict=True):
                expected[item] += weight * params["features"][code]
        table = backbones.item_table(model, variables, features)
        np.testing.assert_allclose(table, expected, rtol=1e-5, atol=1e-7)

    def test_without_features_nothing_changes(self):
        model, variables, _ = self.made()
        plain = backbones.initialise(model, jax.random.key(0))
        assert set(plain["params"]["items"]) == {"table"}
        del variables["params"]["items"]["features"]
        jax.tree.map(np.testing.assert_array_equal, plain, variables)

    def test_the_items_of_a_sample_have_the_vectors_of_the_catalogue(self):
        model, variables, features = self.made()
        whole = backbones.item_table(model, variables, features)
        touched = catalogue_sample.Touched(jnp.array([1, 4, 8]), ITEMS)
        part = touched.catalogue(Catalogue(features)).text
        small = backbones.build(self.config, 3)
        table = backbones.item_table(small, touched.take(variables), part)
        np.testing.assert_array_equal(table, whole[touched.ids])


class TestFormulas:
    def test_whitening_experts(self):
        config = tiny.config(model__backbone="unisrec", model__experts=3)
        table, params = table_of(config)
        x, params = np.asarray(tiny.text_of(config, ITEMS)), jax.tree.map(np.asarray, params)
        logits = x @ params["gate"]
        gates = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        experts = [(x - params["bias"][k]) @ params["kernel"][:, k] for k in range(3)]
        expected = sum(gates[:, [k]] * experts[k] for k in range(3))
        np.testing.assert_allclose(table, expected, rtol=1e-4, atol=1e-5)

    def test_gates_are_noisy_in_training_only(self):
        config = tiny.config(model__backbone="unisrec", model__text_dropout=0.0)
        plain, again = table_of(config)[0], table_of(config)[0]
        noisy, same, other = (table_of(config, jax.random.key(k))[0] for k in (1, 1, 2))
        np.testing.assert_array_equal(plain, again)
        np.testing.assert_array_equal(noisy, same)
        assert abs(noisy - plain).max() > 1e-2 and abs(noisy - other).max() > 1e-2

    def test_projection(self):
        config = tiny.config(model__backbone="morec")
        table, params = table_of(config)
        x = tiny.text_of(config, ITEMS)
        hidden = x @ params["expand"]["kernel"] + params["expand"]["bias"][None]
        hidden = jax.nn.gelu(hidden, approximate=False)
        expected = hidden @ params["contract"]["kernel"] + params["contract"]["bias"][None]
        np.testing.assert_allclose(table, expected, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("backbone", TEXT)
    def test_free_vectors_are_added_to_text(self, backbone):
        config = tiny.config(model__backbone=backbone, model__item_ids=True)
        table, params = table_of(config)
        alone = tiny.config(model__backbone=backbone)
        model = backbones.build(alone, ITEMS)
        of_text = backbones.item_table(
            model, {"params": {"items": params["text"]}}, tiny.text_of(config, ITEMS)
        )
        np.testing.assert_allclose(table, of_text + params["ids"]["table"], rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("backbone", TEXT)
    def test_equal_texts_are_equal_items(self, backbone):
        config = tiny.config(model__backbone=backbone)
        text = tiny.text_of(config, ITEMS).at[3].set(tiny.text_of(config, ITEMS)[5])
        table, _ = table_of(config, text=text)
        np.testing.assert_array_equal(table[3], table[5])
        assert abs(table[3] - table[4]).max() > 1e-2

    @pytest.mark.parametrize("backbone", TEXT)
    def test_training_drops_parts_of_the_text(self, backbone):
        config = tiny.config(model__backbone=backbone, model__text_dropout=0.9)
        text = jnp.ones((ITEMS, 5))
        one = table_of(config, jax.random.key(1), text)[0]
        assert len(np.unique(np.asarray(one), axis=0)) > 1  # masks differ between items


class TestSimilarity:
    def test_cosine_is_the_product_of_vectors_of_length_one(self):
        x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 5)), jnp.float32)
        want = x / np.linalg.norm(x, axis=1, keepdims=True)
        np.testing.assert_allclose(comparable(x, "cosine"), want, rtol=1e-6)
        np.testing.assert_array_equal(comparable(x, "dot"), x)

    def test_a_zero_vector_has_a_finite_gradient(self):
        gradient = jax.grad(lambda x: comparable(x, "cosine").sum())(jnp.zeros((2, 3)))
        assert np.isfinite(gradient).all()

    def test_cosine_loss_does_not_depend_on_the_length_of_the_item_vectors(self):
        config = tiny.config("prl", model__backbone="unisrec")
        batch = tiny.pack([tiny.sequences([4], ITEMS)], 6, ITEMS, every_position=True)
        rng = np.random.default_rng(1)
        states, noisy = rng.normal(size=(1, 4, 3, WIDTH)), rng.normal(size=(1, 4, 2, WIDTH))
        table = rng.normal(size=(ITEMS, WIDTH))

        def loss(scale):
            scaled = Reasoning(*(jnp.asarray(scale * x) for x in (states, noisy)))
            table_ = jnp.asarray(scale * table)
            return objective.loss_of(
                config, scaled, batch, table_, objective.Scoring(Blocks(ITEMS))
            )[0]

        assert float(loss(3.0)) == pytest.approx(float(loss(1.0)), rel=1e-5)


@pytest.mark.parametrize("backbone", tiny.BACKBONES)
@pytest.mark.parametrize("method", tiny.METHODS)
def test_every_parameter_learns(backbone, method):
    """A gradient reaches every parameter: none is left out of the loss."""
    config = tiny.config(method, 2, model__backbone=backbone, model__layers=1)
    _, variables = tiny.build(config, ITEMS)
    text = tiny.text_of(config, ITEMS)
    batch = tiny.pack([tiny.sequences([6], ITEMS)], 6, ITEMS, every_position=True)
    function = objective.build(tiny.task(config, ITEMS, batch))
    gradient = tiny.jit(jax.grad(function, has_aux=True))
    gradients, _ = gradient(variables, batch, Catalogue(text), jax.random.key(0))
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.isfinite(leaf).all() and (np.asarray(leaf) != 0).any(), jax.tree_util.keystr(path)


@pytest.mark.parametrize("backbone", tiny.BACKBONES)
def test_a_cold_item_is_ranked_by_its_text(backbone):
    """Item 8 occurs in no training target; its text is that of item 2, the users' favourite."""
    users = [np.array([2, 5, 2, 4, 8]), np.array([2, 1, 2, 3, 8])]
    data = tiny.interactions(users, ITEMS)
    config = tiny.config("prl", 1, model__backbone=backbone)
    text = tiny.text_of(config, ITEMS)
    if text is not None:
        text = text.at[8].set(text[2])
    model, variables = tiny.build(config, ITEMS)
    ranks = evaluator.make_evaluator(model, config, data, TEST, text)(variables).final
    favourite = tiny.interactions([np.array([*user[:-1], 2]) for user in users], ITEMS)
    expected = evaluator.make_evaluator(model, config, favourite, TEST, text)(variables).final
    if backbone in TEXT:
        np.testing.assert_array_equal(ranks, expected)  # equal texts tie: both count the other
    assert (ranks >= 1).all() and (ranks <= ITEMS).all()
