"""A cached step equals encoding the lengthened sequence in full, for every method."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rearec_jax.models import backbones, reasoning, scan
from tests import oracle, tiny

ITEMS, TOKENS, STEPS, WIDTH = 13, 7, 5, 8


@pytest.fixture(scope="module", autouse=True)
def float64():
    with tiny.float64():
        yield


@pytest.fixture(scope="module")
def rows():
    sequences = tiny.sequences([2, 4, 5], ITEMS)
    return [sequences[:2], sequences[2:]]


@pytest.fixture(scope="module")
def batch(rows):
    return tiny.pack(rows, TOKENS, ITEMS)


@functools.cache
def make(method):
    return tiny.build(tiny.config(method, STEPS, model__dtype="float64"), ITEMS)


@functools.cache
def program(method, steps):
    return unrolling(method, steps)


def unrolling(method, steps):
    model, _ = make(method)

    def unroll(variables, batch, noise):
        table = backbones.item_table(model, variables)
        return reasoning.encode_and_reason(model, variables, table, batch, steps, noise)

    return tiny.jit(unroll)


def unroll(method, steps, batch, noise=None):
    return program(method, steps)(make(method)[1], batch, noise)


@pytest.fixture(scope="module")
def noise(batch):
    rng = np.random.default_rng(3)
    return jnp.asarray(0.3 * rng.normal(size=(STEPS, *batch.queries.shape, WIDTH)))


class TestAgainstFullEncoding:
    def test_clean_and_noisy_view(self, rows, batch, noise):
        states, noisy, *_ = unroll("prl", STEPS, batch, noise)
        for b, row in enumerate(rows):
            for q, history in enumerate(row):
                variables = make("prl")[1]
                want, want_noisy = oracle.reason(variables, history, 2, STEPS, noise[:, b, q])
                np.testing.assert_allclose(states[b, q], want, rtol=1e-10, atol=1e-10)
                np.testing.assert_allclose(noisy[b, q], want_noisy, rtol=1e-10, atol=1e-10)
                assert abs(noisy[b, q] - want[1:]).max() > 1e-2

    def test_without_reasoning_positions(self, rows, batch):
        states = unroll("naive", 2, batch).states
        assert "reasoning_position" not in make("naive")[1]["params"]["encoder"]
        want, _ = oracle.reason(make("naive")[1], rows[1][0], 2, 2)
        np.testing.assert_allclose(states[1, 0], want, rtol=1e-10, atol=1e-10)

    def test_noise_does_not_reach_the_clean_view(self, batch, noise):
        one, other = (unroll("prl", STEPS, batch, scale * noise) for scale in (1.0, 2.0))
        np.testing.assert_allclose(one.states, other.states, rtol=1e-12, atol=1e-12)
        assert abs(one.noisy - other.noisy).max() > 1e-2

    def test_noisy_view_without_noise_is_the_clean_one(self, batch, noise):
        states, noisy, *_ = unroll("prl", STEPS, batch, 0 * noise)
        np.testing.assert_allclose(noisy, states[:, :, 1:], rtol=1e-12, atol=1e-12)


class TestSteps:
    @pytest.mark.parametrize("steps", [0, 1])
    def test_a_step_does_not_depend_on_how_many_follow(self, batch, noise, steps):
        whole = unroll("prl", STEPS, batch, noise)
        # Also: the view without the noisy one beside it is the same.
        short = unroll("prl", steps, batch)
        np.testing.assert_allclose(
            short.states, whole.states[:, :, : steps + 1], rtol=1e-12, atol=1e-12
        )
        # And the steps do something: equal states would pass all of the above.
        assert abs(np.diff(whole.states, axis=2)).max(axis=-1).min() > 1e-3

    @pytest.mark.parametrize("unrolled", [1, 2])
    def test_a_loop_over_steps_is_the_same_as_straight_line_code(
        self, batch, noise, monkeypatch, unrolled
    ):
        assert scan.UNROLLED >= STEPS
        want = unroll("prl", STEPS, batch, noise)
        monkeypatch.setattr(scan, "UNROLLED", unrolled)
        looped = unrolling("prl", STEPS)
        given = make("prl")[1], batch, noise
        assert "while" in looped.lower(*given).as_text()
        assert "while" not in program("prl", STEPS).lower(*given).as_text()
        got = looped(*given)
        np.testing.assert_allclose(got.states, want.states, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(got.noisy, want.noisy, rtol=1e-12, atol=1e-12)

    def test_so_are_its_gradients(self, batch, noise, monkeypatch):
        def gradients():
            run = unrolling("prl", STEPS).__wrapped__  # compiled as a part

            def loss(variables):
                states, noisy, *_ = run(variables, batch, noise)
                return jnp.sin(states).sum() + jnp.cos(noisy).sum()

            return tiny.jit(jax.grad(loss))(make("prl")[1])

        want = gradients()
        monkeypatch.setattr(scan, "UNROLLED", 2)
        for one, other in zip(jax.tree.leaves(gradients()), jax.tree.leaves(want), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11)

    def test_no_steps_is_the_plain_backbone(self, rows, batch):
        states = unroll("prl", 0, batch).states
        assert states.shape == (2, 2, 1, WIDTH)
        want, _ = oracle.reason(make("prl")[1], rows[0][1], 2, 0)
        np.testing.assert_allclose(states[0, 1], want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("backbone", tiny.BACKBONES)
@pytest.mark.parametrize("method", tiny.METHODS)
def test_shapes_of_the_unroll(batch, method, backbone):
    config = tiny.config(method, 3, model__dtype="float64", model__backbone=backbone)
    model, variables = tiny.build(config, ITEMS)
    steps = 0 if method == "base" else 3
    assert config.method.steps == steps
    noise = jnp.zeros((3, *batch.queries.shape, WIDTH)) if method == "prl" else None
    table = backbones.item_table(model, variables, tiny.text_of(config, ITEMS))
    chex.assert_shape(table, (ITEMS, WIDTH))
    unrolled = jax.eval_shape(
        lambda v: reasoning.encode_and_reason(model, v, table, batch, steps, noise), variables
    )
    chex.assert_shape(unrolled.states, (*batch.queries.shape, steps + 1, WIDTH))
    if method == "prl":
        chex.assert_shape(unrolled.noisy, (*batch.queries.shape, steps, WIDTH))
    else:
        assert unrolled.noisy is None


@pytest.fixture(scope="module")
def told(batch):
    return attending(batch)


def attending(batch, noise=None):
    model, variables = make("prl")

    def unroll(variables):
        table = backbones.item_table(model, variables)
        return reasoning.encode_and_reason(
            model, variables, table, batch, STEPS, noise, with_attention=True
        )

    return tiny.jit(unroll)(variables)


class TestAttention:
    def test_equals_full_encoding(self, rows, batch, told):
        for b, row in enumerate(rows):
            at = 0
            for q, history in enumerate(row):
                want: list[np.ndarray] = []
                oracle.reason(make("prl")[1], history, 2, STEPS, attention=want)
                for step, weights in enumerate(want):
                    placed = np.zeros(TOKENS)  # nothing to anybody else's items
                    placed[at : at + len(history)] = weights[: len(history)]
                    np.testing.assert_allclose(told.attention[b, q, step], placed, atol=1e-12)
                at += len(history)

    def test_asking_changes_no_state(self, batch, told):
        np.testing.assert_array_equal(told.states, unroll("prl", STEPS, batch).states)
        assert unroll("prl", STEPS, batch).attention is None

    def test_the_items_are_shared_with_the_noisy_view(self, batch, noise, told):
        both = attending(batch, noise)
        np.testing.assert_allclose(both.attention, told.attention, atol=1e-12)
