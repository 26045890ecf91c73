"""Puts the weights of a trained model into the first state of another training."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int64
import numpy as np

from rearec_jax.models.backbones import Variables
from rearec_jax.training.catalogue_sample import is_item_table
from rearec_jax.training.step import TrainState


def mismatches(old: Variables, new: Variables) -> list[str]:
    """Returns a line for each array that only one model has, or whose shapes do not agree.

    Item tables may differ in their number of rows.
    """
    there, here = _shapes(old), _shapes(new)
    return [
        f"{name}: {there.get(name, 'absent')} -> {here.get(name, 'absent')}"
        for name in sorted(there | here)
        if there.get(name) != here.get(name)
    ]


def carried(state: TrainState, old: Variables, rows: Int64[np.ndarray, " N"]) -> TrainState:
    """Returns a new state with the weights of a trained model in it; the moments stay zero.

    The vector of a new item is the mean of the vectors that are carried over, plus the random one
    that it would have begun with.

    Args:
        state: a new training's.
        old: the trained parameters, without ``mismatches``.
        rows: the row of each of the N items in the old table; -1: it is new there.
    """
    is_old = rows >= 0

    def merge(path: tuple[Any, ...], fresh: jax.Array, trained: np.ndarray) -> jax.Array:
        if is_item_table(path):
            mean = trained[rows[is_old]].mean(axis=0)
            trained = np.where(is_old[:, None], trained[rows], mean)
        trained = trained.astype(fresh.dtype)
        # Each device gets its part: a host does not hold another's.
        placed = jax.make_array_from_callback(
            trained.shape, fresh.sharding, lambda index: trained[index]
        )
        return _with_noise(placed, fresh, is_old) if is_item_table(path) else placed

    trained = jax.tree.map(np.asarray, old)
    return state._replace(
        variables=jax.tree_util.tree_map_with_path(merge, state.variables, trained)
    )


@jax.jit
def _with_noise(
    table: Float[Array, "N D"], noise: Float[Array, "N D"], is_old: Bool[Array, " N"]
) -> Float[Array, "N D"]:
    return jnp.where(is_old[:, None], table, table + noise)


def _shapes(variables: Variables) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each array by its name; of item tables without the rows."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): leaf.shape[is_item_table(path) :]
        for path, leaf in jax.tree_util.tree_leaves_with_path(variables)
    }
