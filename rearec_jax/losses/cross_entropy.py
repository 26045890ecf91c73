"""Cross-entropy of the next item over the whole catalogue."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rearec_jax.devices.mesh import ONE, Devices
from rearec_jax.losses import fused, sharded
from rearec_jax.types import Scalar


def cross_entropy(
    states: Float[Array, "M D"],
    targets: Int[Array, " M"],
    table: Float[Array, "N D"],
    temperature: Scalar,
    block: int,
    devices: Devices = ONE,
) -> Float[Array, " M"]:
    """Computes -log softmax(h . e / tau)[target] = A(h / tau) - h . e_target / tau of each state.

    Args:
        block: The number of items in a block; with N or more the logits are kept (see `partition`).
        devices: The devices that share the catalogue (see `sharded`).
    """
    scaled = states / jnp.asarray(temperature, states.dtype)
    target_score = jnp.sum(
        scaled * devices.look_up(table, targets).astype(scaled.dtype),
        axis=-1,
        dtype=jnp.promote_types(scaled.dtype, jnp.float32),
    )
    return sharded.log_partition(scaled, table, block, devices=devices) - target_score


def sum_over_steps(
    states: Float[Array, "S M D"],
    targets: Int[Array, " M"],
    table: Float[Array, "N D"],
    weights: Float[Array, " M"],
    temperatures: Sequence[Scalar],
    shares: Sequence[float],
    queries: int,
) -> tuple[Float[Array, ""], Float[Array, " S"]]:
    """Computes sum_s share_s sum_m w_m CE_sm, and the weighted sum of each step.

    The first can be differentiated, once. The sums of steps, which are for the log, cannot.

    Args:
        queries: The number of queries in a block (see `fused`).
    """
    steps, count, width = states.shape
    scaled = states / jnp.asarray(temperatures, states.dtype)[:, None, None]
    dtype = jnp.promote_types(states.dtype, jnp.float32)
    of_step = jnp.asarray(shares, dtype)[:, None] * weights.astype(dtype)[None]
    total, values = fused.weighted_cross_entropy(
        scaled.reshape(-1, width), jnp.tile(targets, steps), table, of_step.reshape(-1), queries
    )
    return total, values.reshape(steps, count) @ weights.astype(values.dtype)
