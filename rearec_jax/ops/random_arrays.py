"""Cheap random arrays: a hash of each element's index, seeded by a JAX key.

A CPU spends half of a training step on dropout if every element gets its own Threefry or Philox
word. Here the key gives two words for the whole array and each element hashes its index with them
(multiply-xorshift rounds, constants of the "lowbias32" search by C. Wellons). XLA fuses that into
whatever uses the numbers and computes them again in the backward pass rather than storing them:
20 times cheaper, and independent of how the array is spread over devices. Good for dropout masks
and input noise; initial parameters use `jax.random`.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, UInt32

from rearec_jax.types import PRNGKey


def bits(key: PRNGKey, shape: tuple[int, ...]) -> UInt32[Array, "..."]:
    """Uniform 32-bit words."""
    seeds = jax.random.bits(key, (2,), "uint32")
    x = jax.lax.iota(jnp.uint32, math.prod(shape)) * jnp.uint32(0x9E3779B1) + seeds[0]
    x = (x ^ (x >> 16)) * jnp.uint32(0x21F0AAAD)
    x = ((x ^ (x >> 15)) + seeds[1]) * jnp.uint32(0x735A2D97)
    return (x ^ (x >> 15)).reshape(shape)


def keep_mask(key: PRNGKey, shape: tuple[int, ...], rate: float) -> Bool[Array, "..."]:
    """True with probability 1 - ``rate``, for every element on its own."""
    return bits(key, shape) >= jnp.uint32(round(rate * 2**32))


def normal(key: PRNGKey, shape: tuple[int, ...], dtype: jnp.dtype) -> Float[Array, "..."]:
    """Standard normal numbers (24 random bits each, so within 5.4 standard deviations)."""
    # Odd multiples of 2^-24 in (-1, 1): symmetric, and never the ends where erf_inv is infinite.
    odd = (bits(key, shape) >> 8).astype(jnp.int32) * 2 + 1 - 2**24
    uniform = odd.astype(jnp.float32) * jnp.float32(2.0**-24)
    return (jax.lax.erf_inv(uniform) * jnp.float32(math.sqrt(2))).astype(dtype)
