"""Meshes of devices with the axes data and model, and how arrays are split over them.

The rows of a batch are split over `data`. What grows with the catalogue is split over `model`: its
table, the moments of the table, and the text vectors. All other arrays are whole on every device.
"""

from collections.abc import Sequence
import re
from typing import Any, TypeVar

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array
import numpy as np

from rearec_jax.errors import UserError

Tree = TypeVar("Tree")

# The paths of arrays in a state, and how each may be split, best first: the first that divides is
# used. The paths of moments end in the path of their parameter, so that its rule is theirs too. A
# table whose rows do not divide is stored by columns and used by rows, so that its shape, and with
# it a checkpoint, is the same on every mesh.
RULES: tuple[tuple[str, tuple[PartitionSpec, ...]], ...] = (
    (r"(^|\.)items\.(ids\.)?table$", (PartitionSpec("model", None), PartitionSpec(None, "model"))),
)
COMPUTED = (PartitionSpec("model", None), PartitionSpec(None, "model"), PartitionSpec())


def make_mesh(data: int, model: int, given: Sequence[jax.Device] = ()) -> Mesh | None:
    """Makes the mesh data x model, or returns None where it would be one device.

    Args:
        data: The number of devices that share the rows of a batch; -1 is all that ``model`` leaves.
        model: The number of devices that share the catalogue.
        given: The devices to use; with none, all devices that there are.

    Raises:
        UserError: The product does not divide the number of devices, or devices of other hosts
            would be left over.
    """
    available = given or jax.devices()
    count = len(available)
    asked = f"mesh.data={data} x mesh.model={model}"
    if data < 0 and count % model:
        raise UserError(f"mesh.model={model} does not divide the {count} devices; choose a divisor")
    rows = count // model if data < 0 else data
    used = rows * model
    if count % used or (used < count and jax.process_count() > 1):
        every = " on all hosts: use them all, or" if jax.process_count() > 1 else ";"
        raise UserError(
            f"{asked} does not fit the {count} device{'s' if count > 1 else ''}{every} set"
            " mesh.data=-1 (all that mesh.model leaves), or a product that divides their number"
        )
    if used == 1:
        return None
    # With Auto XLA chooses the splits of arrays that have no sharding.
    kinds = (jax.sharding.AxisType.Auto,) * 2
    devices = available[:used]
    return jax.make_mesh((rows, model), ("data", "model"), kinds, devices=devices)


def check_catalogue(mesh: Mesh | None, num_items: int) -> None:
    """Raises UserError if a device of `model` would hold no item."""
    if mesh is None:
        return
    parts = mesh.shape["model"]
    if (parts - 1) * -(-num_items // parts) >= num_items:
        raise UserError(
            f"mesh.model={parts} leaves devices without any of the {num_items:,} items; choose a"
            " smaller one"
        )


def shardings(mesh: Mesh, tree: Tree) -> Tree:
    """Returns a sharding for each array of a state, by `RULES`.

    Raises:
        UserError: The axis `model` divides neither the rows nor the columns of the item table.
    """

    def of(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        for pattern, specs in RULES:
            if re.search(pattern, name):
                return NamedSharding(mesh, _first_that_divides(mesh, specs, leaf.shape, name))
        return NamedSharding(mesh, PartitionSpec())

    return jax.tree_util.tree_map_with_path(of, tree)


def abstract(mesh: Mesh | None, tree: Tree) -> Tree:
    """Returns an abstract state with the shardings that a checkpoint is restored to."""
    if mesh is None:
        return tree

    def with_sharding(leaf: Any, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return jax.tree.map(with_sharding, tree, shardings(mesh, tree))


def share_of_rows(mesh: Mesh, rows: int) -> tuple[int, int, int]:
    """Returns the rows of a batch that this host packs: (start, stop, total).

    These are the fields of a `data.batches.packing.Share`; ``total`` is ``rows`` rounded up to a
    multiple of the data axis.
    """
    total = -(-rows // mesh.shape["data"]) * mesh.shape["data"]
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    indices = sharding.addressable_devices_indices_map((total,)).values()
    ranges = [index[0].indices(total) for index in indices if index is not None]
    return min(r[0] for r in ranges), max(r[1] for r in ranges), total


def rows_sharding(mesh: Mesh | None) -> NamedSharding | None:
    """Returns the sharding of every array of a batch, whose rows are split over `data`."""
    return None if mesh is None else NamedSharding(mesh, PartitionSpec("data"))


def whole(mesh: Mesh | None) -> NamedSharding | None:
    """Returns the sharding of arrays of which every device has a copy."""
    return None if mesh is None else NamedSharding(mesh, PartitionSpec())


def placed(array: Array | np.ndarray, sharding: NamedSharding | None) -> Array:
    """Puts an array that every host has as a whole on the devices, each of which gets its part."""
    if sharding is None:
        return jax.numpy.asarray(array)
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


def table_sharding(mesh: Mesh | None, shape: tuple[int, ...]) -> NamedSharding | None:
    """Returns the sharding of vectors of items that are no parameter, whole if nothing divides."""
    if mesh is None:
        return None
    return NamedSharding(mesh, _first_that_divides(mesh, COMPUTED, shape, "vectors"))


def _first_that_divides(
    mesh: Mesh, specs: tuple[PartitionSpec, ...], shape: tuple[int, ...], name: str
) -> PartitionSpec:
    for spec in specs:
        sizes = (mesh.shape[axis] if axis else 1 for axis in spec)
        if all(length % size == 0 for length, size in zip(shape, sizes, strict=False)):
            return spec
    raise UserError(
        f"mesh.model={mesh.shape['model']} divides neither the {shape[0]:,} items nor"
        f" model.width={shape[1]} ({name}); choose a width that it divides"
    )
