"""Methods beyond those of ReaRec: packed rows equal a NumPy double, on every kind of layer."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

from rearec_jax.methods import METHODS
from rearec_jax.models import backbones
from rearec_jax.models.encoder import LAYERS
from rearec_jax.models.reasoning import encode_and_reason
from tests import oracle, tiny

ITEMS, TOKENS, STEPS, HEADS = 13, 7, 2, 2
LEARNED = ("plr", "recrec", "router")


@pytest.fixture(scope="module", autouse=True)
def float64():
    with tiny.float64():
        yield


@pytest.fixture(scope="module")
def rows():
    drawn = tiny.sequences([3, 4, 5], ITEMS)
    return [drawn[:2], drawn[2:]]


@functools.cache
def made(method, layer):
    config = tiny.config(method, STEPS, model__dtype="float64", model__layers=1, model__layer=layer)
    model, variables = tiny.build(config, ITEMS)

    def states(variables, batch):
        table = backbones.item_table(model, variables)
        found = encode_and_reason(model, variables, table, batch, STEPS)
        return found.states, METHODS[method].by_depth(found.states, found.weights)

    return variables, tiny.jit(states)


def double(method, variables, history, layer):
    """What the double says of a history: the states, and what represents the user."""
    if method == "plr":
        states, _, user = oracle.plr(variables, history, HEADS, STEPS, layer)
        return states, user
    if method == "recrec":
        states = oracle.recrec(variables, history, HEADS, STEPS, layer)
        return states, states[-1]
    return oracle.router(variables, history, HEADS, STEPS, layer)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("method", LEARNED)
def test_packed_equals_one_user_at_a_time(method, layer, rows):
    variables, program = made(method, layer)
    found, users = program(variables, tiny.pack(rows, TOKENS, ITEMS, every_position=True))
    for b, row in enumerate(rows):
        prefixes = [user[: n + 1] for user in row for n in range(len(user))]
        for q, history in enumerate(prefixes):
            states, user = double(method, variables, history, layer)
            np.testing.assert_allclose(found[b, q], states, rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(users[b, q, -1], user, rtol=1e-9, atol=1e-9)
    assert abs(np.diff(found, axis=2)).max(axis=-1).min() > 1e-3  # steps do something


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("method", LEARNED)
def test_later_items_and_other_users_change_nothing(method, layer, rows):
    variables, program = made(method, layer)
    batch = tiny.pack(rows, TOKENS, ITEMS, every_position=True)
    # Changed are the third item of one user, and all items of the other.
    later = batch.tokens.at[0, 2:].add(1) % ITEMS
    found, changed = (program(variables, batch._replace(tokens=t)) for t in (batch.tokens, later))
    for one, other in zip(found, changed, strict=True):
        np.testing.assert_array_equal(one[0, :2], other[0, :2])
        assert abs(one[0, 2:] - other[0, 2:]).max(axis=(1, 2)).min() > 1e-3


@pytest.mark.parametrize("method", LEARNED)
def test_without_steps_the_last_item_represents_the_user(method):
    config = tiny.config(method, STEPS)
    own = METHODS[method].weights(config.method, config.model.width)
    _, variables = tiny.build(config, ITEMS)
    weights = {name: variables["params"]["encoder"][name] for name in own}
    states = jnp.asarray(np.random.default_rng(0).normal(size=(3, 1, 8)), jnp.float32)
    np.testing.assert_allclose(METHODS[method].user(states, weights), states[:, 0], rtol=1e-6)
