"""Looks up, spreads and pads the rows of a table that is split over devices."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int

DATA, MODEL = "data", "model"


def rows(
    table: Float[Array, "N D"], ids: Int[Array, "*shape"], mesh: Mesh | None
) -> Float[Array, "*shape D"]:
    """Computes ``table[ids]``: a device of `model` looks up its rows, and the others add zeros."""
    if mesh is None or mesh.shape[MODEL] == 1:
        return table[ids]

    def local(ids: Array, table: Array) -> Array:
        index = ids - jax.lax.axis_index(MODEL) * table.shape[0]
        here = (index >= 0) & (index < table.shape[0])
        found = table[jnp.clip(index, 0, table.shape[0] - 1)]
        return jnp.where(here[..., None], found, jnp.zeros((), table.dtype))[None]

    in_specs = PartitionSpec(DATA), PartitionSpec(MODEL)
    parts = over_mesh(mesh, local, in_specs, PartitionSpec(MODEL, DATA))(
        filled(ids, mesh.shape[DATA]), filled(table, mesh.shape[MODEL])
    )
    return parts[:, : ids.shape[0]].sum(axis=0)


def by_rows(table: Float[Array, "N D"], mesh: Mesh | None) -> Float[Array, "N D"]:
    """Returns the table with its rows split over `model`, however it is stored."""
    if mesh is None:
        return table
    spec = PartitionSpec(MODEL, None)
    return jax.lax.with_sharding_constraint(table, jax.sharding.NamedSharding(mesh, spec))


def filled(array: Array, parts: int, value: float = 0) -> Array:
    """Pads an array with rows of ``value``, up to a multiple of ``parts``."""
    missing = -array.shape[0] % parts
    if not missing:
        return array
    ends = [(0, missing)] + [(0, 0)] * (array.ndim - 1)
    return jnp.pad(array, ends, constant_values=value)


def over_mesh(
    mesh: Mesh, function: Callable[..., Any], in_specs: Any, out_specs: PartitionSpec
) -> Callable[..., Any]:
    """Returns the function that every device applies to its parts of the arguments."""
    # The outputs are not checked for axes over which they are replicated, because the scans of
    # `partition` do not say over which axes their values vary.
    return jax.shard_map(
        function, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False
    )
