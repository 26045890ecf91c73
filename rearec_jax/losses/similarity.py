"""The similarity of a state and an item: their product, or the cosine of their angle."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

SIMILARITIES = ("dot", "cosine")
SMALLEST = 1e-12  # added to squared lengths, so that zero vectors have a finite gradient


def comparable(x: Float[Array, "*rows D"], similarity: str) -> Float[Array, "*rows D"]:
    """Returns the vectors whose products are the scores: rows x ("dot") or x / |x| ("cosine")."""
    if similarity == "dot":
        return x
    squares = jnp.square(x.astype(jnp.promote_types(x.dtype, jnp.float32)))
    length = jax.lax.rsqrt(squares.sum(axis=-1, keepdims=True) + SMALLEST)
    return x * length.astype(x.dtype)
