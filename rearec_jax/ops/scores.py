"""Scores of states against the vectors of items, and the matrix product that they are."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def scores(
    states: Float[Array, "*batch D"], table: Float[Array, "N D"]
) -> Float[Array, "*batch N"]:
    """Computes the scores h . e_n, accumulated in float32 or better."""
    return product(states, table.T, states.dtype)


def product(a: Array, b: Array, dtype: jnp.dtype) -> Array:
    """Computes the matrix product of both in ``dtype``, accumulated in float32 or better."""
    accumulate = jnp.promote_types(dtype, jnp.float32)
    return jnp.matmul(a.astype(dtype), b.astype(dtype), preferred_element_type=accumulate)
