"""Every place that drops draws its own mask: steps, views, queries, layers, tokens."""

import functools
import itertools

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rearec_jax.models import backbones, reasoning
from rearec_jax.models.layers import Dropout
from tests import tiny

ITEMS, TOKENS, STEPS, WIDTH = 13, 5, 2, 8
RATES = {"model__dropout": 0.5, "model__embedding_dropout": 0.25}


@pytest.fixture(scope="module")
def batch():
    # The same user everywhere: what differs does so because of dropout.
    same = tiny.sequences([TOKENS], ITEMS)[0]
    return tiny.pack([[same]] * 40, TOKENS, ITEMS, every_position=True)


@pytest.fixture(scope="module")
def unroll(batch):
    model, variables = tiny.build(tiny.config("prl", STEPS, **RATES), ITEMS)
    noise = jnp.zeros((STEPS, *batch.queries.shape, WIDTH))

    def unroll(key):
        table = backbones.item_table(model, variables)
        return reasoning.encode_and_reason(model, variables, table, batch, STEPS, noise, key)

    return unroll


@pytest.fixture(scope="module")
def recorded():
    """What every Dropout of the compiled unroll was given and gave back, in order."""
    return []


@pytest.fixture(scope="module")
def compiled(unroll, recorded):
    def record(call, arguments, options, context):
        output = call(*arguments, **options)
        if isinstance(context.module, Dropout):
            path = "/".join(context.module.path)
            found = functools.partial(lambda path, *arrays: recorded.append((path, *arrays)), path)
            jax.debug.callback(found, arguments[0], output, ordered=True)
        return output

    def recording(key):
        with nn.intercept_methods(record):
            return unroll(key)

    return tiny.jit(recording)


@pytest.fixture(scope="module")
def masks(compiled, recorded):
    """For the prefill and each step: (module path, what was kept, what was 0 by itself)."""
    recorded.clear()
    jax.block_until_ready(compiled(jax.random.key(0)))
    jax.effects_barrier()
    calls = []
    for path, x, y in recorded:
        if "input_dropout" in path:  # the first of each
            calls.append([])
        x, y = np.asarray(x), np.asarray(y)
        calls[-1].append((path, (y != 0) | (x == 0), x == 0))
    return calls


def agreement(one, other):
    return float(np.mean(one == other))


def test_every_call_and_every_layer_drops(masks):
    assert len(masks) == 1 + STEPS  # prefill, then the steps
    for call in masks:
        paths = [path for path, *_ in call]
        assert sum("input_dropout" in path for path in paths) == 1
        for layer in ("layers_0", "layers_1"):
            assert sum(layer in path for path in paths) == 3  # attention weights, two sublayers


def test_rates_are_those_of_the_configuration(masks):
    for call in masks:
        for path, kept, zero in call:
            rate = 0.25 if "input_dropout" in path else 0.5
            share = kept[~zero].mean()
            bound = 5 * np.sqrt(rate * (1 - rate) / (~zero).sum())
            assert abs(share - (1 - rate)) < bound, path


def differ(one, other, rate):
    """Masks of the same shape agree as often as chance says, within five standard deviations."""
    chance = rate**2 + (1 - rate) ** 2
    bound = 5 * np.sqrt(chance * (1 - chance) / one.size)
    return abs(agreement(one, other) - chance) < bound


def test_steps_layers_and_sublayers_have_their_own_masks(masks):
    steps = [masks[1], masks[2]]
    hidden = [kept for call in steps for path, kept, _ in call if kept.shape[-1] == WIDTH]
    entering = [kept for kept in hidden if abs(kept.mean() - 0.75) < 0.05]
    leaving = [kept for kept in hidden if abs(kept.mean() - 0.5) < 0.05]
    assert (len(entering), len(leaving)) == (2, 8)
    assert differ(*entering, rate=0.25)
    for one, other in itertools.combinations(leaving, 2):
        assert differ(one, other, rate=0.5)


def test_views_queries_and_rows_have_their_own_masks(masks):
    for call in (masks[1], masks[2]):
        for path, kept, _ in call:
            if kept.shape[-1] != WIDTH:
                continue  # attention weights: below
            rate = 0.25 if "input_dropout" in path else 0.5
            clean, noisy = kept.swapaxes(0, 1)  # of [B, V, Q, D]
            assert differ(clean, noisy, rate), path
            for one, other in itertools.combinations(range(TOKENS), 2):
                assert differ(clean[:, one], clean[:, other], rate), path
            assert differ(clean[:-1], clean[1:], rate), path


def test_attention_weights_of_views_queries_and_heads_have_their_own_masks(masks):
    for call in (masks[1], masks[2]):
        for _path, kept, zero in call:
            if kept.shape[-1] == WIDTH and kept.ndim == 4 and kept.shape[1] == 2:
                continue
            # [B, H, V*Q, T+K]: hidden keys have weight 0, compare where both are visible.
            seen = ~zero
            views = np.split(kept, 2, axis=2), np.split(seen, 2, axis=2)
            both = views[1][0] & views[1][1]
            assert differ(views[0][0][both], views[0][1][both], 0.5)
            both = seen[:, 0] & seen[:, 1]
            assert differ(kept[:, 0][both], kept[:, 1][both], 0.5)
            both = seen[:, :, 2] & seen[:, :, 3]
            assert differ(kept[:, :, 2][both], kept[:, :, 3][both], 0.5)


def test_tokens_of_the_prefill_have_their_own_masks(masks):
    entering = next(kept for path, kept, _ in masks[0] if "input_dropout" in path)
    for one, other in itertools.combinations(range(TOKENS), 2):
        assert differ(entering[:, one], entering[:, other], 0.25)


def test_same_key_same_states(compiled):
    key = jax.random.key(1)
    jax.tree.map(np.testing.assert_array_equal, compiled(key), compiled(key))


def test_other_key_other_states(compiled):
    one, other = compiled(jax.random.key(1)), compiled(jax.random.key(2))
    gaps = abs(np.asarray(one.states) - other.states).max(axis=-1)
    assert gaps.min() > 1e-3  # every query at every step


def test_same_user_gets_other_states_in_another_row_and_view(compiled):
    states, noisy, *_ = compiled(jax.random.key(1))
    assert abs(np.asarray(states[0]) - states[1]).max(axis=-1).min() > 1e-3
    # The noise is zero here, so the views differ by their masks only.
    assert abs(np.asarray(states[:, :, 1:]) - noisy).max(axis=-1).min() > 1e-3


def test_no_key_no_dropout(unroll, batch):
    states, noisy, *_ = tiny.jit(lambda: unroll(None))()
    np.testing.assert_allclose(states, np.broadcast_to(states[:1], states.shape), atol=1e-5)
    np.testing.assert_allclose(noisy, states[:, :, 1:], atol=1e-5)


def test_dropout_keeps_the_mean():
    x = jnp.ones((300, 200))
    module = Dropout(0.2)
    y = module.apply({}, x, train=True, rngs={"dropout": jax.random.key(0)})
    assert set(np.unique(y)) == {0.0, np.float32(1.25)}
    assert abs(float(y.mean()) - 1) < 5 * np.sqrt(0.25 / x.size)
    np.testing.assert_array_equal(module.apply({}, x, train=False), x)


def test_steps_may_have_a_rate_of_their_own(batch):
    """With step_dropout alone, r_0 is the same for every key, and later states are not."""
    rates = {"model__dropout": 0.0, "model__embedding_dropout": 0.0, "model__step_dropout": 0.5}
    model, variables = tiny.build(tiny.config("prl", STEPS, **rates), ITEMS)
    table = backbones.item_table(model, variables)
    one, other = (
        reasoning.encode_and_reason(
            model, variables, table, batch, STEPS, None, jax.random.key(seed)
        ).states
        for seed in (0, 1)
    )
    np.testing.assert_array_equal(one[:, :, 0], other[:, :, 0])
    assert not jnp.any(jnp.all(one[:, :, 1:] == other[:, :, 1:], axis=-1))
