"""The diversity term of ensemble reasoning learning (ERL; arXiv 2503.22675, section 3.3).

ERL represents a user by the mean of r_0 .. r_K and minimises CE(mean) - lambda * KL diversity.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rearec_jax.devices.mesh import ONE, Devices
from rearec_jax.losses import sharded
from rearec_jax.types import Scalar


def kl_diversity(
    states: Float[Array, "M S D"],
    table: Float[Array, "N D"],
    temperature: Scalar,
    block: int,
    kind: str,
    devices: Devices = ONE,
) -> Float[Array, " M"]:
    """Computes how far apart the steps' distributions over the catalogue are, for each example.

    KL(p_i || p_j) = A_j - A_i - <grad A_i, h_j - h_i>, so that no array of pairs times the
    catalogue is needed.

    Args:
        block: The number of items in a block; with N or more the logits are kept (see `partition`).
        kind: "paper" is the sum over i < j of KL(p_i || p_j), "both" the mean over ordered pairs
            i != j, and "released" that of KL(p_i || stop_gradient p_j).
        devices: The devices that share the catalogue (see `sharded`).
    """
    count, steps, width = states.shape
    scaled = states / jnp.asarray(temperature, states.dtype)
    released = kind == "released"
    parts = sharded.log_partition_and_expected(
        scaled.reshape(-1, width), table, block, released, devices
    )
    log_sum = parts.log_sum.reshape(count, steps)
    expected = parts.expected.reshape(count, steps, width)
    scaled = scaled.astype(expected.dtype)
    if released:
        # d KL(p_i || p_j) = sum_n dp_i[n] * (log p_i[n] - log p_j[n]): with p_j held, everything
        # but the probabilities p_i inside the expectation is a constant.
        log_sum, scaled = jax.lax.stop_gradient((log_sum, scaled))

    def divergence(i: int, j: int) -> Float[Array, " M"]:
        gap = jnp.sum(expected[:, i] * (scaled[:, j] - scaled[:, i]), axis=-1)
        return log_sum[:, j] - log_sum[:, i] - gap

    if kind == "paper":
        pairs = [divergence(i, j) for j in range(steps) for i in range(j)]
        return jnp.sum(jnp.stack(pairs), axis=0)
    pairs = [divergence(i, j) for j in range(steps) for i in range(steps) if i != j]
    return jnp.mean(jnp.stack(pairs), axis=0)
