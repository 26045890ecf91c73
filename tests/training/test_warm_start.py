"""The first state of a training that carries another model's weights over."""

import jax
import jax.numpy as jnp
import numpy as np

from rearec_jax.training.step import TrainState
from rearec_jax.training.warm_start import carried, mismatches


def variables(items: int, width: int = 3, start: float = 0.0) -> dict:
    table = start + jnp.arange(items * width, dtype=jnp.float32).reshape(items, width)
    return {"params": {"items": {"table": table}, "encoder": {"bias": start + jnp.ones(width)}}}


def test_each_item_has_its_row_and_a_new_one_the_mean_with_noise():
    old, fresh = variables(4), variables(3, start=0.5)
    moments = jax.tree.map(jnp.zeros_like, fresh)
    state = TrainState(jnp.int32(0), fresh, moments)
    new = carried(state, old, np.array([2, -1, 0]))
    table, before = (tree["params"]["items"]["table"] for tree in (new.variables, old))
    np.testing.assert_array_equal(table[0], before[2])
    np.testing.assert_array_equal(table[2], before[0])
    noise = fresh["params"]["items"]["table"][1]
    np.testing.assert_allclose(table[1], (before[0] + before[2]) / 2 + noise)
    assert (new.variables["params"]["encoder"]["bias"] == 1).all()
    assert new.step == 0 and new.optimizer is moments


def test_mismatches_are_shapes_and_names_but_not_the_number_of_items():
    assert mismatches(variables(4), variables(7)) == []
    wider, more = variables(4, width=5), variables(4)
    assert len(mismatches(variables(4), wider)) == 2
    more["params"]["steps"] = jnp.ones((2, 3))
    assert mismatches(variables(4), more) == ["params.steps: absent -> (2, 3)"]
