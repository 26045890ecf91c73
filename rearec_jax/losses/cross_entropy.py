"""Cross-entropy of the next item over the whole catalogue."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rearec_jax.losses import partition


def cross_entropy(
    states: Float[Array, "M D"],
    targets: Int[Array, " M"],
    table: Float[Array, "N D"],
    temperature: float,
    block: int,
) -> Float[Array, " M"]:
    """-log softmax(h . e / tau)[target] = A(h / tau) - h . e_target / tau, for every state.

    Args:
        block: items a block; >= N keeps the logits (see `partition`).
    """
    scaled = states / jnp.asarray(temperature, states.dtype)
    target_score = jnp.sum(
        scaled * table[targets].astype(scaled.dtype),
        axis=-1,
        dtype=jnp.promote_types(scaled.dtype, jnp.float32),
    )
    return partition.log_partition(scaled, table, block) - target_score
