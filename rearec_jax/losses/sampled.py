"""Cross-entropy against a sample of the catalogue, an approximation for very large catalogues.

    -log( exp(s_y) / (exp(s_y) + sum_{n in sample, n != y} exp(s_n) / c_n) ),    s = h . e / tau

c_n is the expected number of times that item n is in the sample (the logQ correction, Yi et al.
2019, https://doi.org/10.1145/3298689.3346996). Where the sample does not depend on the state, the
sum is then an unbiased estimate of that over all items that can be drawn. Its logarithm, and so the
loss, is biased a little downwards, and gradients are noisy.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rearec_jax.devices.mesh import ONE, Devices
from rearec_jax.losses import partition, sharded
from rearec_jax.types import Scalar


class Sample(NamedTuple):
    """The items drawn as negatives, which are the same for every state of an update."""

    items: Int[Array, " S"]
    log_weight: Float[Array, " S"]  # -log c_n, or -inf for what is no item


def cross_entropy(
    states: Float[Array, "M D"],
    targets: Int[Array, " M"],
    table: Float[Array, "N D"],
    sample: Sample,
    temperature: Scalar,
    block: int,
    devices: Devices = ONE,
) -> Float[Array, " M"]:
    """Computes the loss above for each example; the target does not count among the drawn items.

    Args:
        block: The number of drawn items in a block; with S or more the logits are kept (see
            `partition`).
        devices: The devices that share the drawn items (see `sharded`).
    """
    scaled = states / jnp.asarray(temperature, states.dtype)
    dtype = jnp.promote_types(scaled.dtype, jnp.float32)
    rows = devices.look_up(table, targets).astype(scaled.dtype)
    target_score = jnp.sum(scaled * rows, axis=-1, dtype=dtype)
    candidates = partition.Candidates(targets, sample.items, sample.log_weight)
    drawn = devices.look_up(table, sample.items)
    others = sharded.log_partition(scaled, drawn, block, candidates, devices)
    return jnp.logaddexp(others, target_score) - target_score
