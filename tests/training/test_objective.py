"""The loss of each method is the formula, and what counts for nothing changes nothing."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rearec_jax.devices.mesh import ONE, make_devices
from rearec_jax.losses import ensemble, progressive
from rearec_jax.methods import METHODS
from rearec_jax.methods.reasoned import Blocks
from rearec_jax.models.backbones import item_table
from rearec_jax.training import objective
from rearec_jax.training.objective import Scoring
from rearec_jax.training.task import Task
from rearec_jax.types import Batch, Catalogue, Reasoning
from tests import tiny

ITEMS, STEPS, WIDTH, TOKENS = 11, 2, 8, 6
PARTS = {
    "base": {"cross_entropy"},
    "naive": {"cross_entropy"},
    "rpe": {"cross_entropy"},
    "erl": {"cross_entropy", "kl_diversity"},
    "prl": {"cross_entropy", "shallow_cross_entropy", "contrastive"},
}


@pytest.fixture(scope="module")
def batch():
    sequences = tiny.sequences([2, 3, 6], ITEMS)
    return tiny.pack([sequences[:2], sequences[2:], []], TOKENS, ITEMS, every_position=True)


class TestLossOf:
    """Against the formulas, on states drawn at random."""

    WEIGHTS = np.array([[1.0, 1.0, 0.0], [1.0, 0.0, 1.0]], np.float32)
    TARGETS = np.array([[0, 10, 3], [4, 4, 7]])
    USERS = np.array([[0, 0, 1], [2, -1, 3]])

    @pytest.fixture
    def drawn(self):
        rng = np.random.default_rng(0)
        shapes = (2, 3, STEPS + 1, WIDTH), (2, 3, STEPS, WIDTH), (ITEMS, WIDTH)
        return tuple(rng.normal(size=shape) for shape in shapes)

    def loss(self, drawn, method, **changes):
        states, noisy, table = (jnp.asarray(x, jnp.float32) for x in drawn)
        zeros = jnp.zeros((2, TOKENS), int)
        batch = Batch(
            zeros,
            zeros,
            zeros,
            jnp.zeros((2, 3), int),
            *map(jnp.asarray, (self.TARGETS, self.WEIGHTS, self.USERS)),
        )
        config = tiny.config(method, STEPS, **changes)
        unrolled = Reasoning(states, noisy if method == "prl" else None)
        whole, some = Blocks(ITEMS), Blocks(ITEMS, queries=4, pairs=4)
        loss, parts = objective.loss_of(config, unrolled, batch, table, Scoring(whole))
        assert set(parts) == PARTS[method] | {"loss"}
        assert float(parts["loss"]) == float(loss)
        found = {name: float(value) for name, value in parts.items()}
        _, in_blocks = objective.loss_of(config, unrolled, batch, table, Scoring(some))
        assert {name: float(value) for name, value in in_blocks.items()} == pytest.approx(
            found, rel=1e-5
        )
        return found

    def mean(self, values):
        return float(np.sum(values * self.WEIGHTS) / self.WEIGHTS.sum())

    def cross_entropy(self, vectors, table, temperature):
        scores = vectors @ table.T / temperature
        log_p = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
        return -np.take_along_axis(log_p, self.TARGETS[..., None], -1)[..., 0]

    @pytest.mark.parametrize("method", ["naive", "rpe", "base"])
    def test_last_step_only(self, drawn, method):
        states, _, table = drawn
        got = self.loss(drawn, method, method__temperature=0.5)
        want = self.mean(self.cross_entropy(states[:, :, -1], table, 0.5))
        assert got["loss"] == pytest.approx(want, rel=1e-5)

    @pytest.mark.parametrize("kind", ["released", "paper"])
    def test_ensemble(self, drawn, kind):
        states, _, table = drawn
        got = self.loss(
            drawn, "erl", method__kl=kind, method__kl_weight=0.3, method__temperature=0.5
        )
        flat = jnp.asarray(states.reshape(-1, STEPS + 1, WIDTH), jnp.float32)
        diversity = ensemble.kl_diversity(flat, jnp.asarray(table, jnp.float32), 0.5, ITEMS, kind)
        diversity = self.mean(np.asarray(diversity).reshape(2, 3))
        cross = self.mean(self.cross_entropy(states.mean(2), table, 0.5))
        assert diversity > 0.1
        assert got["kl_diversity"] == pytest.approx(diversity, rel=1e-5)
        assert got["cross_entropy"] == pytest.approx(cross, rel=1e-5)
        assert got["loss"] == pytest.approx(cross - 0.3 * diversity, rel=1e-5)

    @pytest.mark.parametrize("negatives", ["other_users", "batch"])
    @pytest.mark.parametrize("kind", ["released", "paper"])
    def test_progressive(self, drawn, kind, negatives):
        states, noisy, table = drawn
        got = self.loss(
            drawn,
            "prl",
            method__progressive_sum=kind,
            method__negatives=negatives,
            method__temperature=0.5,
            method__temperature_decay=3.0,
            method__contrastive_weight=0.2,
        )
        cross = [
            self.mean(self.cross_entropy(states[:, :, k], table, 0.5 * 3.0 ** (STEPS - k)))
            for k in range(STEPS + 1)
        ]
        others = progressive.negatives(
            jnp.asarray(self.USERS.ravel()), jnp.asarray(self.WEIGHTS.ravel()), negatives
        )
        contrast = []
        for k in range(STEPS):
            views = noisy[:, :, k], states[:, :, k + 1]
            flat = (jnp.asarray(x.reshape(-1, WIDTH), jnp.float32) for x in views)
            values = progressive.contrastive(*flat, others, 0.5, 6)
            contrast.append(self.mean(np.asarray(values).reshape(2, 3)))
        over = np.mean if kind == "released" else np.sum
        assert got["cross_entropy"] == pytest.approx(cross[-1], rel=1e-5)
        assert got["shallow_cross_entropy"] == pytest.approx(over(cross[:-1]), rel=1e-5)
        assert got["contrastive"] == pytest.approx(over(contrast), rel=1e-5)
        want = cross[-1] + over(cross[:-1]) + 0.2 * over(contrast)
        assert got["loss"] == pytest.approx(want, rel=1e-5)

    def test_no_diversity_where_it_weighs_nothing(self, drawn, monkeypatch):
        monkeypatch.setitem(PARTS, "erl", {"cross_entropy"})
        got = self.loss(drawn, "erl", method__kl_weight=0.0)
        assert got["loss"] == got["cross_entropy"]

    def test_no_weight_no_loss(self, drawn, monkeypatch):
        """A batch of padding only, the last of an epoch may have one on some device: 0, not NaN."""
        monkeypatch.setattr(type(self), "WEIGHTS", 0 * self.WEIGHTS)
        for method in tiny.METHODS:
            assert self.loss(drawn, method)["loss"] == 0.0


def objective_of(config, batch, contrast=True):
    _, variables = tiny.build(config, ITEMS)
    return objective.build(tiny.task(config, ITEMS, batch), contrast), variables


@functools.cache
def _program(config, batch_shape):
    batch = Batch(*(jax.ShapeDtypeStruct(shape, int) for shape in batch_shape))
    function, variables = objective_of(config, batch)
    return tiny.jit(jax.value_and_grad(function, has_aux=True)), variables


def run(batch, key=0, **changes):
    """Loss, parts and gradients of PRL; one layer, for the compiler's sake."""
    config = tiny.config("prl", STEPS, model__layers=1, **changes)
    program, variables = _program(config, tuple(array.shape for array in batch))
    (loss, parts), gradients = program(variables, batch, Catalogue(), jax.random.key(key))
    return loss, parts, gradients


def assert_close(got, want, tolerance=1e-5):
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        scale = max(1.0, float(np.abs(other).max()))
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * scale)


def test_streaming_where_the_logits_do_not_fit_is_the_same(batch):
    little = {"train__logits_gib": 0.0, "train__catalogue_block": 4}
    for changes, block in (({}, ITEMS), (little, 4)):
        config = tiny.config("prl", STEPS, **changes)
        assert tiny.task(config, ITEMS, batch).catalogue_block(ITEMS) == block
    assert_close(run(batch, **little), run(batch))


def test_logits_are_kept_up_to_the_budget():
    # rpe scores one state a query, prl and erl K + 1 of them; logits and gradient, 4 bytes each.
    gib = 2 * 4 * 1000 * 4096 / 2**30
    for method, scored in (("rpe", 1), ("erl", STEPS + 1), ("prl", STEPS + 1)):
        for factor, block in ((1.01, 4096), (0.99, 512)):
            budget = {"train__logits_gib": scored * gib * factor, "train__catalogue_block": 512}
            config = tiny.config(method, STEPS, **budget)
            assert Task(config, 4096, 10, 100).catalogue_block(4096) == block


@pytest.mark.parametrize("items", [1, 7, 8000, 9000])
@pytest.mark.parametrize("mesh", [None, (4, 2)])
def test_logits_that_do_not_fit_are_never_kept_however_few_the_items(items, mesh):
    made = ONE if mesh is None else make_devices(*mesh)
    held = items if mesh is None else -(-items // mesh[1])
    config = tiny.config("prl", STEPS, train__logits_gib=0.0)
    block = Task(config, items, 10, 100, made).catalogue_block(items)
    assert 1 <= block <= config.train.catalogue_block and (block < held or held == 1)


def test_what_padding_holds_changes_nothing(batch):
    """Places without an item, queries of weight 0, and a row with neither."""
    no_item, no_query = np.asarray(batch.segments) == 0, np.asarray(batch.weights) == 0
    assert no_item.any() and no_query.any() and no_item.all(axis=1).any()

    def junk(array, where, value):
        return jnp.asarray(np.where(where, value, array).astype(array.dtype))

    other = batch._replace(
        tokens=junk(batch.tokens, no_item, 5),
        positions=junk(batch.positions, no_item, 3),
        queries=junk(batch.queries, no_query, TOKENS - 1),
        targets=junk(batch.targets, no_query, 9),
    )
    assert_close(run(other), run(batch))


def test_contrastive_warm_up_leaves_the_noisy_view_out(batch):
    _, whole, _ = run(batch)
    config = tiny.config("prl", STEPS, model__layers=1)
    function, variables = objective_of(config, batch, contrast=False)
    loss, warm = tiny.jit(function)(variables, batch, Catalogue(), jax.random.key(0))
    assert set(whole) - set(warm) == {"contrastive"}
    # There is no dropout here, so the clean view is the same in both.
    assert_close(warm, {name: whole[name] for name in warm} | {"loss": loss})
    assert_close(loss, whole["cross_entropy"] + whole["shallow_cross_entropy"])
    assert_close(whole["loss"], loss + whole["contrastive"])


def test_methods_with_a_noisy_view():
    for method in tiny.METHODS:
        assert METHODS[method].noisy_view(tiny.config(method).method) == (method == "prl")
    off = tiny.config("prl", method__contrastive_weight=0.0)
    assert not METHODS["prl"].noisy_view(off.method)


@pytest.mark.parametrize("method", tiny.METHODS)
def test_parts_of_each_method(batch, method):
    config = tiny.config(method, STEPS, model__layers=1)
    function, variables = objective_of(config, batch)
    loss, parts = jax.eval_shape(function, variables, batch, Catalogue(), jax.random.key(0))
    assert set(parts) == PARTS[method] | {"loss"}
    assert loss.shape == () and all(part.shape == () for part in parts.values())


def test_the_key_decides_the_noise(batch):
    one, again, other = (run(batch, key) for key in (1, 1, 2))
    jax.tree.map(np.testing.assert_array_equal, one, again)
    assert float(one[1]["contrastive"]) != float(other[1]["contrastive"])
    assert float(one[1]["cross_entropy"]) == pytest.approx(float(other[1]["cross_entropy"]))


def test_the_key_decides_the_dropout(batch):
    config = tiny.config("rpe", 1, model__layers=1, model__embedding_dropout=0.3)
    function, variables = objective_of(config, batch)
    program = tiny.jit(function)
    one, again, other = (
        program(variables, batch, Catalogue(), jax.random.key(n))[0] for n in (1, 1, 2)
    )
    assert float(one) == float(again) != float(other)


def test_dropout_samples_average_the_losses_of_different_masks(batch, monkeypatch):
    encode, masks = objective.encode_and_reason, []

    def loss(samples, dropout):
        options = {"model__embedding_dropout": dropout, "train__dropout_samples": samples}
        config = tiny.config("base", model__layers=1, **options)
        function, variables = objective_of(config, batch)
        return float(tiny.jit(function)(variables, batch, Catalogue(), jax.random.key(1))[0])

    def noted(*arguments):
        masks.append(arguments[-1])
        return encode(*arguments)

    monkeypatch.setattr(objective, "encode_and_reason", noted)
    assert loss(3, 0.0) == pytest.approx(loss(1, 0.0), rel=1e-6)
    assert len(masks) == 3 + 1
    # With one mask less, a sum lacks one loss: all three differ, and none is lost or counted twice.
    sums = [count * loss(count, 0.5) for count in (1, 2, 3)]
    each = np.diff([0.0, *sums])
    assert len(set(np.round(each, 5))) == 3
    assert max(each) < 2 * min(each)


def test_noise_is_new_for_every_step_query_and_key(batch):
    config = tiny.config("prl", STEPS)
    noise = objective.unit_noise(jax.random.key(0), batch, config)
    assert noise.shape == (STEPS, *batch.queries.shape, WIDTH)
    assert len(np.unique(noise.reshape(-1, WIDTH), axis=0)) == STEPS * batch.queries.size
    other = objective.unit_noise(jax.random.key(1), batch, config)
    assert not np.any(noise == other)


@pytest.mark.parametrize("backbone", ["sasrec", "morec", "unisrec"])
def test_lookups_are_summed_in_float32(backbone):
    """In bfloat16 an item that occurs often would get nothing of its last gradients."""
    config = tiny.config("base", 0, model__backbone=backbone, model__dtype="bfloat16")
    with jax.numpy_dtype_promotion("standard"):  # bfloat16 with float32 parameters
        model, variables = tiny.build(config, ITEMS)
        table = item_table(model, variables, tiny.text_of(config, ITEMS))
    assert table.dtype == jnp.float32


def test_bfloat16_is_close_to_float32(batch):
    with jax.numpy_dtype_promotion("standard"):  # Flax's LayerNorm asks for it
        rough = run(batch, model__dtype="bfloat16")
    exact = run(batch)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(rough)} == {"float32"}
    assert float(rough[0]) == pytest.approx(float(exact[0]), rel=0.02)
    for one, other in zip(jax.tree.leaves(rough[2]), jax.tree.leaves(exact[2]), strict=True):
        assert np.isfinite(one).all()
        assert np.linalg.norm(one - other) < 0.15 * max(0.1, np.linalg.norm(other))


def test_representation():
    states = jnp.arange(24.0).reshape(1, 2, 3, 4)
    np.testing.assert_array_equal(METHODS["erl"].represent(states), states.mean(2))
    for method in ("base", "naive", "rpe", "prl"):
        np.testing.assert_array_equal(METHODS[method].represent(states), states[:, :, 2])
