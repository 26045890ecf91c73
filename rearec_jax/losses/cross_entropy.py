"""Cross-entropy of the next item over the whole catalogue."""

import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from rearec_jax.losses import parallel
from rearec_jax.types import Scalar


def cross_entropy(
    states: Float[Array, "M D"],
    targets: Int[Array, " M"],
    table: Float[Array, "N D"],
    temperature: Scalar,
    block: int,
    mesh: Mesh | None = None,
) -> Float[Array, " M"]:
    """-log softmax(h . e / tau)[target] = A(h / tau) - h . e_target / tau, for every state.

    Args:
        block: items a block; >= N keeps the logits (see `partition`).
        mesh: devices that share the work (see `parallel`).
    """
    scaled = states / jnp.asarray(temperature, states.dtype)
    target_score = jnp.sum(
        scaled * parallel.rows(table, targets, mesh).astype(scaled.dtype),
        axis=-1,
        dtype=jnp.promote_types(scaled.dtype, jnp.float32),
    )
    return parallel.log_partition(scaled, table, block, mesh=mesh) - target_score
