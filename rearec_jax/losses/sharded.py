"""The log-partition of a table that is split over devices.

On a mesh (data, model) the states are split over `data` and the table's rows over `model`. Each
device computes A and X of its slice of the table (see `partition`), and what is left is small:

    A(h) = log sum_s exp(A_s(h)),    X(h) = sum_s exp(A_s(h) - A(h)) X_s(h)

where s runs over the slices. XLA makes the two reductions over s all-reduces, and no device ever
holds an array of size N. Where sizes do not divide, the arrays are padded with rows and states that
count for nothing. Without a mesh these are the functions of `partition`.
"""

from collections.abc import Callable
from typing import cast

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float

from rearec_jax.devices.mesh import DATA, MODEL, ONE, Devices, filled
from rearec_jax.losses import partition
from rearec_jax.losses.partition import Candidates, Partition


def log_partition(
    states: Float[Array, "M D"],
    table: Float[Array, "N D"],
    block: int,
    candidates: Candidates | None = None,
    devices: Devices = ONE,
) -> Float[Array, " M"]:
    """Computes `partition.log_partition` on the devices of ``devices`` together."""
    if devices.mesh is None:
        return partition.log_partition(states, table, block, candidates)

    def local(states: Array, table: Array, candidates: Candidates | None) -> Array:
        return partition.log_partition(states, table, block, candidates)[None]

    of_slices = _of_slices(devices, local, states, table, candidates)
    return _log_sum(cast(Array, of_slices))


def log_partition_and_expected(
    states: Float[Array, "M D"],
    table: Float[Array, "N D"],
    block: int,
    hold_items: bool = False,
    devices: Devices = ONE,
) -> Partition:
    """Computes `partition.log_partition_and_expected` on the devices of ``devices`` together.

    Every slice must hold an item (see `Devices.check_catalogue`).
    """
    if devices.mesh is None:
        return partition.log_partition_and_expected(states, table, block, hold_items)

    def local(states: Array, table: Array, candidates: Candidates | None) -> Partition:
        part = partition.log_partition_and_expected(states, table, block, hold_items, candidates)
        return Partition(part.log_sum[None], part.expected[None])

    of_slices = cast(Partition, _of_slices(devices, local, states, table, None))
    log_sum = _log_sum(of_slices.log_sum)
    share = jnp.exp(of_slices.log_sum - log_sum[None])
    return Partition(log_sum, jnp.sum(share[..., None] * of_slices.expected, axis=0))


def _of_slices(
    devices: Devices,
    function: Callable[[Array, Array, Candidates | None], Array | Partition],
    states: Float[Array, "M D"],
    table: Float[Array, "N D"],
    candidates: Candidates | None,
) -> Array | Partition:
    """Applies ``function`` to every slice of the table; its results are [slices, M, ...]."""
    count, (data, model) = states.shape[0], (devices.data, devices.model)
    if candidates is None and table.shape[0] % model:
        candidates = Candidates(None, None, jnp.zeros(table.shape[0], jnp.float32))
    if candidates is not None:
        of_states, of_items, log_weight = candidates
        candidates = Candidates(
            None if of_states is None else filled(of_states, data),
            None if of_items is None else filled(of_items, model),
            filled(log_weight, model, -jnp.inf),
        )
    given = jax.tree.map(lambda _: PartitionSpec(MODEL), candidates)
    if candidates is not None and candidates.of_states is not None:
        given = given._replace(of_states=PartitionSpec(DATA))
    in_specs = PartitionSpec(DATA), PartitionSpec(MODEL), given
    shared = devices.shared(function, in_specs, PartitionSpec(MODEL, DATA))
    parts = shared(filled(states, data), filled(table, model), candidates)
    return jax.tree.map(lambda part: part[:, :count], parts)


def _log_sum(of_slices: Float[Array, "slices M"]) -> Float[Array, " M"]:
    """Sums A of the slices, also where no item counts in some of them or in all (A = -inf)."""
    return jax.nn.logsumexp(of_slices, axis=0, where=~jnp.isneginf(of_slices))
