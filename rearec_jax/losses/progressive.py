"""Progressive reasoning learning (PRL): every step is supervised, sharper and sharper.

arXiv 2503.22675, section 3.4: temperature annealing and the noisy contrastive view.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int

from rearec_jax.losses import fused, partition, sharded
from rearec_jax.types import Scalar


class Negatives(NamedTuple):
    """Example j is a negative of example i if it is real and its key is another."""

    keys: Int[Array, " M"]
    real: Bool[Array, " M"]


def step_temperatures(temperature: Scalar, decay: Scalar, steps: int) -> tuple[Scalar, ...]:
    """tau_k = tau * alpha^(K - k) for k = 0 .. K: the last step scores at tau itself."""
    return tuple(temperature * decay ** (steps - k) for k in range(steps + 1))


def contrastive(
    noisy: Float[Array, "M D"],
    clean: Float[Array, "M D"],
    negatives: Negatives,
    temperature: Scalar,
    block: int,
    mesh: Mesh | None = None,
) -> Float[Array, " M"]:
    """InfoNCE of one step: does the noisy state find its own clean one among the batch's?

    Query: the noisy state; positive: the clean state of the same example; scores r~ . r / tau. It
    is the log-partition with the batch's clean states as the table.

    Args:
        block: candidates a block; >= M keeps the scores [M, M] (see `partition`).
        mesh: devices that share the work (see `parallel`).
    """
    scaled = noisy / jnp.asarray(temperature, noisy.dtype)
    dtype = jnp.promote_types(noisy.dtype, jnp.float32)
    positive = jnp.sum(scaled * clean, axis=-1, dtype=dtype)
    others = sharded.log_partition(scaled, clean, block, _candidates(negatives, dtype), mesh)
    return jnp.logaddexp(others, positive) - positive


def weighted_contrastive(
    noisy: Float[Array, "M D"],
    clean: Float[Array, "M D"],
    negatives: Negatives,
    temperature: Scalar,
    weights: Float[Array, " M"],
    queries: int,
) -> Float[Array, ""]:
    """The weighted sum of `contrastive`, whose scores [M, M] are never kept.

    InfoNCE is a cross-entropy over the batch's clean states, with the example's own as the target.

    Args:
        queries: a block (see `fused`).
    """
    scaled = noisy / jnp.asarray(temperature, noisy.dtype)
    dtype = jnp.promote_types(noisy.dtype, jnp.float32)
    own = jnp.arange(noisy.shape[0])
    candidates = _candidates(negatives, dtype)
    return fused.weighted_cross_entropy(scaled, own, clean, weights, queries, candidates).total


def negatives(users: Int[Array, " M"], weights: Float[Array, " M"], kind: str) -> Negatives:
    """Who is a negative of whom: real examples, of other users or (kind "batch") any but oneself.

    With packed rows a user's own prefixes are near-copies, so telling them apart is no task.
    """
    keys = users if kind == "other_users" else jnp.arange(users.shape[0], dtype=users.dtype)
    return Negatives(keys, weights > 0)


def _candidates(negatives: Negatives, dtype: jnp.dtype) -> partition.Candidates:
    log_weight = jnp.where(negatives.real, 0.0, -jnp.inf).astype(dtype)
    return partition.Candidates(negatives.keys, negatives.keys, log_weight)
