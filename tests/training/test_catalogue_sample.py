"""Losses over a sample: right in the limit, and updates that touch only what they read."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rearec_jax.losses import cross_entropy as full
from rearec_jax.losses import sampled
from rearec_jax.losses.sampled import Sample
from rearec_jax.training import catalogue_sample, optimizer, step
from rearec_jax.training.setup import make_setup
from rearec_jax.types import Catalogue
from tests import tiny

ITEMS = 60
CLOZE = {"model__backbone": "bert4rec", "train__objective": "cloze"}
LAZY = {
    "train__loss": "sampled",
    "train__sampled_items": 7,
    "train__lazy_adam": True,
    "model__layers": 1,
}


def catalogue(items=ITEMS, text=None):
    drawn = catalogue_sample.distribution(np.arange(items), 0.75)
    return Catalogue(text, *map(jnp.asarray, drawn))


@pytest.fixture(scope="module")
def batch():
    sequences = tiny.sequences([2, 3, 5], ITEMS)
    return tiny.pack([sequences[:2], sequences[2:]], 6, ITEMS, every_position=True, queries=6)


class TestDistribution:
    @pytest.mark.parametrize("power", [0.0, 0.75, 1.0])
    def test_proportional_and_nobody_left_out(self, power):
        counts = np.array([0, 10, 1000, 3])
        drawn = catalogue_sample.distribution(counts, power)
        want = (counts + 1.0) ** power
        np.testing.assert_allclose(np.exp(drawn.log_probability), want / want.sum(), rtol=1e-6)
        assert drawn.cumulative[-1] == 2**32 - 1

    def test_edges_of_the_words(self):
        ends = catalogue_sample.distribution(np.array([1, 0, 5]), 1.0).cumulative
        starts = [0, *(ends[:-1].astype(np.int64) + 1)]
        for item, words in enumerate(zip(starts, ends, strict=True)):
            for word in words:
                assert np.searchsorted(ends, np.uint32(word)) == item

    def test_draws_follow_it(self, batch):
        config = tiny.config(train__loss="sampled", train__sampled_items=200_000).train
        sample = catalogue_sample.draw(config, catalogue(), batch, jax.random.key(0))
        shares = np.bincount(sample.items, minlength=ITEMS) / 200_000
        probability = np.exp(catalogue().log_probability)
        np.testing.assert_allclose(shares, probability, atol=5 * np.sqrt(probability.max() / 2e5))
        expected = 200_000 * probability[np.asarray(sample.items)]
        np.testing.assert_allclose(np.exp(-sample.log_weight), expected, rtol=1e-4)

    def test_in_batch_draws_the_targets_that_count(self, batch):
        config = tiny.config(train__loss="in_batch").train
        sample = catalogue_sample.draw(config, catalogue(), batch, jax.random.key(0))
        real = np.asarray(batch.weights).ravel() > 0
        assert 0 < real.sum() < len(real)
        np.testing.assert_array_equal(sample.items, np.asarray(batch.targets).ravel())
        np.testing.assert_array_equal(np.isneginf(sample.log_weight), ~real)
        expected = real.sum() * np.exp(catalogue().log_probability)[np.asarray(sample.items)]
        np.testing.assert_allclose(np.exp(-sample.log_weight)[real], expected[real], rtol=1e-5)


class TestLoss:
    @pytest.fixture
    def drawn(self):
        rng = np.random.default_rng(0)
        states, table = rng.normal(size=(3, 5)), rng.normal(size=(ITEMS, 5))
        return *(jnp.asarray(x, jnp.float32) for x in (states, table)), jnp.asarray([0, 7, 39])

    @pytest.mark.parametrize("block", [16, ITEMS])
    def test_every_item_once_is_the_full_softmax(self, drawn, block):
        states, table, targets = drawn
        whole = Sample(jnp.arange(ITEMS), jnp.zeros(ITEMS))

        def ours(states, table):
            return sampled.cross_entropy(states, targets, table, whole, 0.7, block).sum()

        def direct(states, table):
            return full.cross_entropy(states, targets, table, 0.7, ITEMS).sum()

        got, want = (
            jax.tree.leaves(jax.value_and_grad(f, argnums=(0, 1))(states, table))
            for f in (ours, direct)
        )
        for one, other in zip(got, want, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)

    def test_the_sum_over_the_sample_estimates_that_over_the_catalogue(self, drawn, batch):
        states, table, targets = drawn
        config = tiny.config(train__loss="sampled", train__sampled_items=64).train

        def estimate(key):
            sample = catalogue_sample.draw(config, catalogue(), batch, key)
            loss = sampled.cross_entropy(states, targets, table, sample, 1.0, 64)
            return jnp.exp(loss + jnp.sum(states * table[targets], axis=-1))

        keys = jax.random.split(jax.random.key(1), 3000)
        estimates = np.float64(jax.vmap(estimate)(keys))
        partition = np.exp(np.float64(states) @ np.float64(table).T).sum(axis=1)
        error = estimates.std(axis=0) / np.sqrt(len(keys))
        assert (abs(estimates.mean(axis=0) - partition) < 4 * error).all()
        assert (error < 0.02 * partition).all()


class TestInBatch:
    @pytest.fixture
    def data(self):
        return tiny.interactions(tiny.sequences([3, 4, 9, 14, 6, 5, 30, 8], ITEMS), ITEMS)

    @pytest.mark.parametrize(
        ("epochs", "error", "options"),
        [
            (1, 1e-5, {}),
            (1, 1e-5, {"train__stride": 2}),
            (1, 1e-5, {"model__backbone": "bert4rec"}),
            (60, 0.03, CLOZE),
            (60, 0.03, CLOZE | {"train__mask_last_only": 0.9}),
        ],
    )
    def test_the_sum_over_batches_is_that_over_all_targets(self, data, epochs, error, options):
        """Of an epoch's batches: exactly, where the batches hold each target once."""
        config = tiny.config(
            "base", train__loss="in_batch", train__batch_size=6, mesh__data=1, **options
        )
        setup = make_setup(config, data)
        assert setup.steps_per_epoch > 2
        exponentials = np.exp(np.random.default_rng(0).normal(size=ITEMS))
        known, key = setup.catalogue, jax.random.key(0)
        weigh = jax.jit(lambda batch: catalogue_sample.draw(config.train, known, batch, key))
        size, total, targets = 0.0, 0.0, set()
        for number in range(epochs * setup.steps_per_epoch):
            batch = setup.batches.batch(*divmod(number, setup.steps_per_epoch))
            sample = jax.device_get(weigh(batch))
            count = batch.weights.sum()
            total += count * np.exp(np.float64(sample.log_weight)) @ exponentials[sample.items]
            size += count
            targets |= set(batch.targets[batch.weights > 0].tolist())
        assert len(targets) < ITEMS
        assert total / size == pytest.approx(exponentials[sorted(targets)].sum(), rel=error)

    def test_an_item_that_is_no_target_has_no_share(self):
        shares = catalogue_sample.log_shares(np.array([3.0, 0.0, 1.0]))
        np.testing.assert_allclose(np.exp(shares), [0.75, 0.0, 0.25])


def updated(config, batch, steps=1):
    """State before, state after, loss parts."""
    transform = optimizer.build(config.train, 1)
    known = catalogue(text=tiny.text_of(config, ITEMS))
    task = tiny.task(config, ITEMS, batch)
    state = step.initial_state(task, transform, known)
    before = jax.tree.map(np.array, state)
    function = step.update_function(task, transform, known, contrast=True)
    for _ in range(steps):
        state, parts = function(state, batch)
    return before, state, parts


class TestLazyAdam:
    @pytest.mark.parametrize("loss", ["sampled", "in_batch"])
    def test_first_update_is_that_of_adam(self, batch, loss):
        options = {"train__loss": loss, "train__sampled_items": 7, "model__layers": 1}
        lazy = updated(tiny.config("prl", train__lazy_adam=True, **options), batch)
        dense = updated(tiny.config("prl", **options), batch)
        assert float(lazy[2]["loss"]) == pytest.approx(float(dense[2]["loss"]), rel=1e-6)
        for one, other in zip(jax.tree.leaves(lazy[1]), jax.tree.leaves(dense[1]), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-5)

    def test_untouched_items_and_their_moments_stay_to_the_bit(self, batch):
        before, after, _ = updated(tiny.config("prl", **LAZY), batch, steps=3)
        table = np.asarray(after.variables["params"]["items"]["table"])
        moved = np.any(table != before.variables["params"]["items"]["table"], axis=1)
        read = set(np.asarray(batch.tokens).ravel()) | set(np.asarray(batch.targets).ravel())
        assert len(read) < moved.sum() <= len(read) + 3 * 7 and not moved.all()
        for moments in (after.optimizer[0].mu, after.optimizer[0].nu):
            rows = np.any(np.asarray(moments["params"]["items"]["table"]) != 0, axis=1)
            np.testing.assert_array_equal(rows, moved)

    @pytest.mark.parametrize("loss", ["sampled", "in_batch"])
    def test_what_fills_empty_places_is_not_touched(self, batch, loss):
        """They hold item 0."""
        counts = {"tokens": batch.segments > 0, "targets": batch.weights > 0}
        assert all((~real).any() for real in counts.values())
        held = {
            n: jnp.where(real, getattr(batch, n) % (ITEMS - 1) + 1, 0) for n, real in counts.items()
        }
        shifted = batch._replace(**held)
        config = tiny.config("rpe", **LAZY | {"train__loss": loss}).train
        sample = catalogue_sample.draw(config, catalogue(), shifted, jax.random.key(0))
        sample = sample._replace(
            items=jnp.where(jnp.isfinite(sample.log_weight), sample.items % (ITEMS - 1) + 1, 0)
        )
        ids = catalogue_sample.touched(shifted, sample, ITEMS).ids
        read = {int(i) for n, real in counts.items() for i in held[n][real]}
        drawn = {int(i) for i in sample.items[jnp.isfinite(sample.log_weight)]}
        assert set(ids.tolist()) - {ITEMS} == read | drawn and 0 not in ids

    def test_free_vectors_beside_text(self, batch):
        config = tiny.config("rpe", model__backbone="unisrec", model__item_ids=True, **LAZY)
        before, after, parts = updated(config, batch)
        table = np.asarray(after.variables["params"]["items"]["ids"]["table"])
        moved = np.any(table != before.variables["params"]["items"]["ids"]["table"], axis=1)
        assert moved.any() and not moved.all() and np.isfinite(parts["loss"])


def test_cloze_mask_is_no_item_of_the_small_catalogue(batch):
    masked = batch._replace(tokens=batch.tokens.at[0, 1].set(ITEMS))
    items = catalogue_sample.touched(masked, Sample(jnp.asarray([3, 5]), jnp.zeros(2)), ITEMS)
    local = items.batch(masked)
    assert int(local.tokens[0, 1]) == items.ids.shape[0]
    back = np.append(items.ids, ITEMS)[np.asarray(local.tokens)]
    np.testing.assert_array_equal(back, masked.tokens)
