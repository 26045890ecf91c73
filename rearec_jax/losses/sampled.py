"""Cross-entropy against a sample of the catalogue: an approximation, for catalogues too large.

    -log( exp(s_y) / (exp(s_y) + sum_{n in sample, n != y} exp(s_n) / c_n) ),    s = h . e / tau

c_n is how often item n is expected in the sample (the logQ correction, Yi et al. 2019,
https://doi.org/10.1145/3298689.3346996): the sum then estimates that over the whole catalogue
without bias. Its logarithm, and so the loss, is biased a little downwards; gradients are noisy.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from rearec_jax.devices import table_rows
from rearec_jax.losses import partition, sharded
from rearec_jax.types import Scalar


class Sample(NamedTuple):
    """Items drawn as negatives, the same for every state of an update."""

    items: Int[Array, " S"]
    log_weight: Float[Array, " S"]  # -log c_n; -inf: not an item


def cross_entropy(
    states: Float[Array, "M D"],
    targets: Int[Array, " M"],
    table: Float[Array, "N D"],
    sample: Sample,
    temperature: Scalar,
    block: int,
    mesh: Mesh | None = None,
) -> Float[Array, " M"]:
    """The loss above, an example each; a drawn item that is the target itself does not count.

    Args:
        block: items of the sample a block; >= S keeps the logits (see `partition`).
        mesh: devices that share the work (see `parallel`).
    """
    scaled = states / jnp.asarray(temperature, states.dtype)
    dtype = jnp.promote_types(scaled.dtype, jnp.float32)
    rows = table_rows.rows(table, targets, mesh).astype(scaled.dtype)
    own = jnp.sum(scaled * rows, axis=-1, dtype=dtype)
    candidates = partition.Candidates(targets, sample.items, sample.log_weight)
    drawn = table_rows.rows(table, sample.items, mesh)
    others = sharded.log_partition(scaled, drawn, block, candidates, mesh)
    return jnp.logaddexp(others, own) - own
