"""The devices as a mesh (data, model), and which array is split how over it.

Models and losses compute; this says where. Rows of a batch are split over `data`, the catalogue
over `model`: its table, the table's moments, the text vectors. All other arrays are whole on every
device.
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

# Path of an array in a state -> how it may be split, best first: as the first that divides. The
# moments have their parameter's path at the end of their own, and so its rule. A table whose rows
# do not divide is stored by columns (and used by rows): its shape, and so a checkpoint, is the same
# on every mesh.
RULES: tuple[tuple[str, tuple[PartitionSpec, ...]], ...] = (
    (r"(^|\.)items\.(ids\.)?table$", (PartitionSpec("model", None), PartitionSpec(None, "model"))),
)
COMPUTED = (PartitionSpec("model", None), PartitionSpec(None, "model"), PartitionSpec())


def make_mesh(data: int, model: int, given: Sequence[jax.Device] = ()) -> Mesh | None:
    """Makes the mesh data x model; None where it is one device: all is as if there were no mesh.

    Args:
        data: devices that share the rows of a batch; -1: all that ``model`` leaves.
        model: devices that share the catalogue.
        given: devices; none: all that there are.

    Raises:
        UserError: there are not so many devices, or some would be left over on other hosts.
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
    # Auto: XLA finds the splits of all that is not said.
    kinds = (jax.sharding.AxisType.Auto,) * 2
    devices = available[:used]
    return jax.make_mesh((rows, model), ("data", "model"), kinds, devices=devices)


def check_catalogue(mesh: Mesh | None, num_items: int) -> None:
    """Raises UserError where a device of `model` would hold no item."""
    if mesh is None:
        return
    parts = mesh.shape["model"]
    if (parts - 1) * -(-num_items // parts) >= num_items:
        raise UserError(
            f"mesh.model={parts} leaves devices without any of the {num_items:,} items; choose a"
            " smaller one"
        )


def shardings(mesh: Mesh, tree: Tree) -> Tree:
    """A sharding for each array of a state, by `RULES`.

    Raises:
        UserError: neither rows nor columns of the item table divide.
    """

    def of(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        for pattern, specs in RULES:
            if re.search(pattern, name):
                return NamedSharding(mesh, _first_that_divides(mesh, specs, leaf.shape, name))
        return NamedSharding(mesh, PartitionSpec())

    return jax.tree_util.tree_map_with_path(of, tree)


def abstract(mesh: Mesh | None, tree: Tree) -> Tree:
    """An abstract state with the shardings that a checkpoint is restored to."""
    if mesh is None:
        return tree

    def with_sharding(leaf: Any, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return jax.tree.map(with_sharding, tree, shardings(mesh, tree))


def share_of_rows(mesh: Mesh, rows: int) -> tuple[int, int, int]:
    """What this host packs of a batch, (start, stop, total): a `data.packing.Share`.

    ``rows`` are filled up to a multiple of the data axis.
    """
    total = -(-rows // mesh.shape["data"]) * mesh.shape["data"]
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    indices = sharding.addressable_devices_indices_map((total,)).values()
    ranges = [index[0].indices(total) for index in indices if index is not None]
    return min(r[0] for r in ranges), max(r[1] for r in ranges), total


def rows_sharding(mesh: Mesh | None) -> NamedSharding | None:
    """Of every array of a batch: its rows are split over `data`."""
    return None if mesh is None else NamedSharding(mesh, PartitionSpec("data"))


def whole(mesh: Mesh | None) -> NamedSharding | None:
    """A copy on every device."""
    return None if mesh is None else NamedSharding(mesh, PartitionSpec())


def placed(array: Array | np.ndarray, sharding: NamedSharding | None) -> Array:
    """The array, of which every host has the whole, on the devices; each gets its part only."""
    if sharding is None:
        return jax.numpy.asarray(array)
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


def table_sharding(mesh: Mesh | None, shape: tuple[int, ...]) -> NamedSharding | None:
    """Of items' vectors that are no parameter; whole where neither rows nor columns divide."""
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
