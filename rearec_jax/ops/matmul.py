"""Matrix products in the order of memory that CPUs multiply fast."""

from collections.abc import Callable
import functools

import jax
from jax.experimental import xla_metadata
import jax.numpy as jnp
from jaxtyping import Array, Float


def apart(function: Callable[[Array], Array], x: Array) -> Array:
    """function(x), on CPUs as an operation that is fused with none around it.

    What XLA fuses is computed once for every operation that reads it and, where that broadcasts it,
    once for every element; a transpose fused with what makes its input takes four times as long.
    """

    def call(x: Array) -> Array:
        with xla_metadata.set_xla_metadata(inlineable="false"):
            return _called(function, x)

    return jax.lax.platform_dependent(x, cpu=call, default=function)


@functools.partial(jax.jit, static_argnums=0)
def _called(function: Callable[[Array], Array], x: Array) -> Array:
    return function(x)


def transposed(x: Float[Array, "*tokens D"]) -> Float[Array, "D *tokens"]:
    """The last axis first, on CPUs as an array of its own.

    A product with the transposed view of an array on its left takes up to 1.8 times as long there
    on two cores; accelerators read either as fast, and would write the array for nothing.
    """
    return apart(_last_first, x)


def _last_first(x: Array) -> Array:
    return jnp.moveaxis(x, -1, 0)


@jax.custom_vjp
def linear(x: Float[Array, "*tokens D"], kernel: Float[Array, "D F"]) -> Float[Array, "*tokens F"]:
    """x W, whose gradient x^T dy by the kernel is a product with `transposed` x."""
    return jnp.matmul(x, kernel)


def _forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return linear(x, kernel), (x, kernel)


def _backward(kept: tuple[Array, Array], slope: Array) -> tuple[Array, Array]:
    x, kernel = kept
    return jnp.matmul(slope, kernel.T), jnp.tensordot(transposed(x), slope, axes=x.ndim - 1)


linear.defvjp(_forward, _backward)
