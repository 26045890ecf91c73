"""The devices that share the work, as a mesh data x model, and how arrays are split over them.

The rows of a batch are split over `data`. What grows with the catalogue is split over `model`: its
table, the moments of the table, and the text vectors. All other arrays are whole on every device.
"""

from collections.abc import Callable, Sequence
import dataclasses
import re
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int
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
DATA, MODEL = "data", "model"
COMPUTED = (PartitionSpec("model", None), PartitionSpec(None, "model"), PartitionSpec())


@dataclasses.dataclass(frozen=True)
class Devices:
    """The devices that share the work.

    mesh: Their mesh data x model; None is one device, where every method does the plain operation.
    """

    mesh: Mesh | None = None

    @property
    def data(self) -> int:
        """The number of parts that the rows of a batch are split into."""
        return 1 if self.mesh is None else self.mesh.shape[DATA]

    @property
    def model(self) -> int:
        """The number of parts that the catalogue is split into."""
        return 1 if self.mesh is None else self.mesh.shape[MODEL]

    @property
    def count(self) -> int:
        """The number of devices."""
        return self.data * self.model

    @property
    def rows(self) -> NamedSharding | None:
        """The sharding of every array of a batch, whose rows are split over `data`."""
        return None if self.mesh is None else NamedSharding(self.mesh, PartitionSpec(DATA))

    @property
    def whole(self) -> NamedSharding | None:
        """The sharding of arrays of which every device has a copy."""
        return None if self.mesh is None else NamedSharding(self.mesh, PartitionSpec())

    def table(self, shape: tuple[int, ...]) -> NamedSharding | None:
        """Returns the sharding of vectors that are no parameter; whole if nothing divides."""
        if self.mesh is None:
            return None
        return NamedSharding(self.mesh, self._first_that_divides(COMPUTED, shape, "vectors"))

    def state(self, tree: Tree) -> Tree:
        """Returns a sharding for each array of a state, by `RULES`; only on a mesh.

        Raises:
            UserError: The axis `model` divides neither the rows nor the columns of the item table.
        """
        mesh = self.mesh
        assert mesh is not None

        def of(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
            name = jax.tree_util.keystr(path, simple=True, separator=".")
            for pattern, specs in RULES:
                if re.search(pattern, name):
                    return NamedSharding(mesh, self._first_that_divides(specs, leaf.shape, name))
            return NamedSharding(mesh, PartitionSpec())

        return jax.tree_util.tree_map_with_path(of, tree)

    def constrained(self, tree: Tree) -> Tree:
        """Returns a traced state, each of whose arrays is split by `RULES`."""
        if self.mesh is None:
            return tree
        return jax.lax.with_sharding_constraint(tree, self.state(tree))

    def abstract(self, tree: Tree) -> Tree:
        """Returns an abstract state with the shardings that a checkpoint is restored to."""
        if self.mesh is None:
            return tree

        def with_sharding(leaf: Any, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

        return jax.tree.map(with_sharding, tree, self.state(tree))

    def check_catalogue(self, num_items: int) -> None:
        """Raises UserError if a device of `model` would hold no item."""
        parts = self.model
        if (parts - 1) * -(-num_items // parts) >= num_items:
            raise UserError(
                f"mesh.model={parts} leaves devices without any of the {num_items:,} items; choose"
                " a smaller one"
            )

    def share_of_rows(self, rows: int) -> tuple[int, int, int]:
        """Returns the rows of a batch that this host packs: (start, stop, total).

        These are the fields of a `data.batches.packing.Share`; ``total`` is ``rows`` rounded up to
        a multiple of the data axis.
        """
        total = -(-rows // self.data) * self.data
        if self.rows is None:
            return 0, total, total
        indices = self.rows.addressable_devices_indices_map((total,)).values()
        ranges = [index[0].indices(total) for index in indices if index is not None]
        return min(r[0] for r in ranges), max(r[1] for r in ranges), total

    def look_up(
        self, table: Float[Array, "N D"], ids: Int[Array, "*shape"]
    ) -> Float[Array, "*shape D"]:
        """Computes ``table[ids]``: each device of `model` looks up its rows, others add zeros."""
        if self.model == 1:
            return table[ids]

        def local(ids: Array, table: Array) -> Array:
            index = ids - jax.lax.axis_index(MODEL) * table.shape[0]
            here = (index >= 0) & (index < table.shape[0])
            found = table[jnp.clip(index, 0, table.shape[0] - 1)]
            return jnp.where(here[..., None], found, jnp.zeros((), table.dtype))[None]

        specs = PartitionSpec(DATA), PartitionSpec(MODEL)
        parts = self.shared(local, specs, PartitionSpec(MODEL, DATA))(
            filled(ids, self.data), filled(table, self.model)
        )
        return parts[:, : ids.shape[0]].sum(axis=0)

    def by_rows(self, tables: Tree) -> Tree:
        """Returns tables [N, ...] with their rows split over `model`, however they are stored."""
        if self.mesh is None:
            return tables
        split = NamedSharding(self.mesh, PartitionSpec(MODEL, None))
        return jax.tree.map(lambda table: jax.lax.with_sharding_constraint(table, split), tables)

    def shared(
        self, function: Callable[..., Any], in_specs: Any, out_specs: PartitionSpec
    ) -> Callable[..., Any]:
        """Returns the function that every device applies to its parts of the arguments."""
        # The outputs are not checked for axes over which they are replicated, because the scans of
        # `partition` do not say over which axes their values vary.
        return jax.shard_map(
            function, mesh=self.mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False
        )

    def _first_that_divides(
        self, specs: tuple[PartitionSpec, ...], shape: tuple[int, ...], name: str
    ) -> PartitionSpec:
        parts = {DATA: self.data, MODEL: self.model, None: 1}
        for spec in specs:
            sizes = (parts[axis] for axis in spec)
            if all(length % size == 0 for length, size in zip(shape, sizes, strict=False)):
                return spec
        raise UserError(
            f"mesh.model={self.model} divides neither the {shape[0]:,} items nor"
            f" model.width={shape[1]} ({name}); choose a width that it divides"
        )


ONE = Devices()


def make_devices(data: int, model: int, given: Sequence[jax.Device] = ()) -> Devices:
    """Makes the mesh data x model of the devices that there are.

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
        return ONE
    # With Auto XLA chooses the splits of arrays that have no sharding.
    kinds = (jax.sharding.AxisType.Auto,) * 2
    return Devices(jax.make_mesh((rows, model), (DATA, MODEL), kinds, devices=available[:used]))


def placed(array: Array | np.ndarray, sharding: NamedSharding | None) -> Array:
    """Puts an array that every host has as a whole on the devices, each of which gets its part."""
    if sharding is None:
        return jax.numpy.asarray(array)
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


def filled(array: Array, parts: int, value: float = 0) -> Array:
    """Pads an array with rows of ``value``, up to a multiple of ``parts``."""
    missing = -array.shape[0] % parts
    if not missing:
        return array
    ends = [(0, missing)] + [(0, 0)] * (array.ndim - 1)
    return jnp.pad(array, ends, constant_values=value)
