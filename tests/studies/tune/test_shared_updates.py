"""A candidate trained with a shared update is the same as one trained on its own."""

import functools

import chex
import jax
import numpy as np
import pytest

from rearec_jax.config import Config
from rearec_jax.studies.tune.shared_updates import make_shared_updates, open_numbers, stack, take
from rearec_jax.studies.tune.space import group_of
from rearec_jax.training.setup import make_setup
from tests import tiny

ITEMS, UPDATES = 20, 3
COMMON = {
    "mesh__data": 1,
    "model__layers": 1,
    "model__dropout": 0.3,
    "model__embedding_dropout": 0.2,
    "model__dtype": "float64",
    "train__batch_size": 24,
}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """SharedUpdates that run three times: compiled in half the time."""
    options = {"xla_backend_optimization_level": 0}
    monkeypatch.setattr(jax, "jit", functools.partial(jax.jit, compiler_options=options))


def pair(method: str, **changes) -> tuple[Config, Config]:
    first = tiny.config(method, 1, **COMMON, **changes)
    other = {
        "train__learning_rate": 0.02,
        "method__temperature": 0.5,
        "method__temperature_decay": 1.5,
        "method__kl_weight": 0.3,
        "method__contrastive_weight": 0.25,
        "method__noise": 0.2,
    }
    return first, tiny.config(method, 1, **COMMON, **changes, **other)


def data():
    return tiny.interactions(tiny.sequences([5, 7, 6, 9, 8, 5, 6], ITEMS), ITEMS)


def trained(setup, update, state):
    for batch in setup.first_batches(UPDATES):
        state, parts = update(state, batch)
    return state, parts


def ordinary(config: Config):
    setup = make_setup(config, data())
    return trained(setup, setup.update_function(setup.contrast(0)), setup.initial_state())


SCHEDULED = {
    "train__schedule": "cosine",
    "train__warmup_steps": 1,
    "train__clip_norm": 0.1,
    "train__weight_decay": 0.1,
}


@pytest.mark.parametrize(
    ("method", "lanes", "changes"),
    [
        ("base", (1,), SCHEDULED),
        ("erl", (0, 1), {}),
        ("prl", (1,), {}),
        ("rpe", (1,), {"train__loss": "sampled", "train__sampled_items": 8}),
    ],
)
def test_two_at_once_equal_two_alone(method, lanes, changes):
    with tiny.float64():
        configs = pair(method, **changes)
        assert group_of(configs[0]) == group_of(configs[1])
        shared = make_shared_updates(configs[0], data())
        setup = shared.setup_of(configs[1])
        update = shared.update_together(configs, setup.contrast(0))
        together, parts = trained(setup, update, stack([setup.initial_state()] * 2))
        assert int(together.step) == UPDATES
        precision = 1e-6 if "train__schedule" in changes else 1e-9  # Optax: schedules in float32
        for lane in lanes:
            state, own_parts = ordinary(configs[lane])
            chex.assert_trees_all_close(take(together, lane), state, rtol=precision, atol=1e-9)
            for name, value in own_parts.items():
                np.testing.assert_allclose(parts[name][lane], value, rtol=precision)
        tables = [jax.tree.leaves(take(together, i).variables)[0] for i in (0, 1)]
        assert not np.allclose(*tables, rtol=1e-3), "the two candidates must differ"


def test_one_with_a_shared_update_equals_one_alone():
    with tiny.float64():
        first, second = pair("base")
        shared = make_shared_updates(first, data())
        shared.setup_of(first).update_function(False)
        setup = shared.setup_of(second)
        state, _ = trained(setup, setup.update_function(False), setup.initial_state())
        chex.assert_trees_all_close(state, ordinary(second)[0], rtol=1e-9, atol=1e-12)
        assert len(shared.alone) == 1, "one compiled update serves both"


def test_open_numbers_are_those_of_the_configurations():
    with tiny.float64():
        values = open_numbers(pair("prl"))
    np.testing.assert_allclose(values.learning_rate, [1e-3, 0.02])
    np.testing.assert_allclose(values.numbers.temperature_decay, [1.0, 1.5])
