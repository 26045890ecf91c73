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

    Tables of items and of their features' values may differ in their number of rows.
    """
    there, here = _shapes(old), _shapes(new)
    return [
        f"{name}: {there.get(name, 'absent')} -> {here.get(name, 'absent')}"
        for name in sorted(there | here)
        if there.get(name) != here.get(name)
    ]


def carried(
    state: TrainState,
    old: Variables,
    rows: Int64[np.ndarray, " N"],
    values: Int64[np.ndarray, " V"] | None = None,
) -> TrainState:
    """Returns a new state with the weights of a trained model in it; the moments stay zero.

    The vector of a new item, or of a new value of a feature, is the mean of the vectors that are
    carried over, plus the random one that it would have begun with.

    Args:
        state: a new training's.
        old: the trained parameters, without ``mismatches``.
        rows: the row of each of the N items in the old table; -1: it is new there.
        values: the same of the V values of features, where there are any.
    """

    def merge(path: tuple[Any, ...], fresh: jax.Array, trained: np.ndarray) -> jax.Array:
        found = values if _is_feature_table(path) else rows if is_item_table(path) else None
        is_old = np.zeros(0, bool) if found is None else found >= 0
        if found is not None:
            mean = trained[found[is_old]].mean(axis=0) if is_old.any() else 0.0
            trained = np.where(is_old[:, None], trained[found], mean)
        trained = trained.astype(fresh.dtype)
        # Each device gets its part: a host does not hold another's.
        placed = jax.make_array_from_callback(
            trained.shape, fresh.sharding, lambda index: trained[index]
        )
        return placed if found is None else _with_noise(placed, fresh, is_old)

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
    """Returns the shape of each array by its name; of tables without the rows."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): leaf.shape[
            is_item_table(path) or _is_feature_table(path) :
        ]
        for path, leaf in jax.tree_util.tree_leaves_with_path(variables)
    }


def _is_feature_table(path: tuple[Any, ...]) -> bool:
    """Says whether the array at this path of a state has a row for each value of a feature."""
    return bool(path) and getattr(path[-1], "key", None) == "features"
