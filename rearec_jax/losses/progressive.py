"""The terms of progressive reasoning learning (PRL; arXiv 2503.22675, section 3.4).

PRL trains every step, at temperatures that change from step to step, and a noisy contrastive view.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rearec_jax.devices.mesh import ONE, Devices
from rearec_jax.losses import fused, partition, sharded
from rearec_jax.types import Scalar


class Negatives(NamedTuple):
    """The keys of examples, and which are real: j is a negative of i if real and of another key."""

    keys: Int[Array, " M"]
    real: Bool[Array, " M"]


def step_temperatures(temperature: Scalar, decay: Scalar, steps: int) -> tuple[Scalar, ...]:
    """Returns tau_k = tau * alpha^(K - k) for k = 0 .. K, so that the last step has tau itself."""
    return tuple(temperature * decay ** (steps - k) for k in range(steps + 1))


def contrastive(
    noisy: Float[Array, "M D"],
    clean: Float[Array, "M D"],
    negatives: Negatives,
    temperature: Scalar,
    block: int,
    devices: Devices = ONE,
) -> Float[Array, " M"]:
    """Computes InfoNCE of one step for each example.

    The query is the noisy state and the positive the clean state of the same example; scores are
    r~ . r / tau. It is made of the log-partition whose table are the clean states of the batch.

    Args:
        block: The number of candidates in a block; with M or more the scores [M, M] are kept (see
            `partition`).
        devices: The devices that share the candidates (see `sharded`).
    """
    scaled = noisy / jnp.asarray(temperature, noisy.dtype)
    dtype = jnp.promote_types(noisy.dtype, jnp.float32)
    positive = jnp.sum(scaled * clean, axis=-1, dtype=dtype)
    others = sharded.log_partition(scaled, clean, block, _candidates(negatives, dtype), devices)
    return jnp.logaddexp(others, positive) - positive


def weighted_contrastive(
    noisy: Float[Array, "M D"],
    clean: Float[Array, "M D"],
    negatives: Negatives,
    temperature: Scalar,
    weights: Float[Array, " M"],
    queries: int,
) -> Float[Array, ""]:
    """Computes the weighted sum of `contrastive` without keeping the scores [M, M].

    InfoNCE is a cross-entropy over the clean states of the batch, whose target is that of the same
    example.

    Args:
        queries: The number of queries in a block (see `fused`).
    """
    scaled = noisy / jnp.asarray(temperature, noisy.dtype)
    dtype = jnp.promote_types(noisy.dtype, jnp.float32)
    positives = jnp.arange(noisy.shape[0])
    others = _candidates(negatives, dtype)
    return fused.weighted_cross_entropy(scaled, positives, clean, weights, queries, others).total


def negatives(users: Int[Array, " M"], weights: Float[Array, " M"], kind: str) -> Negatives:
    """Returns the negatives: real examples of other users or, of the kind "batch", all others.

    Packed rows hold several prefixes of a user, near-copies that it would teach little to tell
    apart.
    """
    keys = users if kind == "other_users" else jnp.arange(users.shape[0], dtype=users.dtype)
    return Negatives(keys, weights > 0)


def _candidates(negatives: Negatives, dtype: jnp.dtype) -> partition.Candidates:
    log_weight = jnp.where(negatives.real, 0.0, -jnp.inf).astype(dtype)
    return partition.Candidates(negatives.keys, negatives.keys, log_weight)
