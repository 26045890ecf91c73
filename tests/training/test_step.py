"""Parameters and updates depend on every bit of the seed."""

import dataclasses

import numpy as np

from rearec_jax.training import optimizer, step
from rearec_jax.types import Catalogue
from tests import tiny

ITEMS = 5


def test_seeds_beyond_32_bits():
    config = tiny.config("base", model__layers=1, model__dropout=0.5)
    batch = tiny.pack([[np.array([1, 2, 3])]], 6, ITEMS)
    transform = optimizer.build(config.train, 1)
    tasks = [tiny.task(dataclasses.replace(config, seed=seed), ITEMS, batch) for seed in (0, 2**32)]
    one, other = (step.initial_state(task, transform, Catalogue()) for task in tasks)
    table, another = (state.variables["params"]["items"]["table"] for state in (one, other))
    assert not np.isclose(table, another).any()
    updates = [tiny.jit(step.one_update(task, transform, contrast=False)) for task in tasks]
    losses = [float(update(one, batch, Catalogue())[1]["loss"]) for update in updates]
    assert losses[0] != losses[1]  # other dropout masks
    assert losses[0] == float(updates[0](one, batch, Catalogue())[1]["loss"])
