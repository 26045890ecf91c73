"""Runs the steps of reasoning: a scan that applies a model, outside of every module.

Inside of a Linen module a scan of JAX would use one dropout mask for all steps.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rearec_jax.models.attention import WEIGHTS
from rearec_jax.models.backbones import Backbone, Variables

# The most steps that are compiled as straight-line code. XLA then need not copy what the backward
# pass keeps of each step in and out of a stacked buffer, and knows which reasoning tokens are still
# to come. More steps would take longer to compile.
UNROLLED = 10


def applied(
    model: Backbone, variables: Variables, with_attention: bool
) -> Callable[..., tuple[Any, Array | None]]:
    """Returns a function that applies the model and returns the last layer's attention as well.

    The attention [B, V * Q, ...] is the mean over heads, or None without ``with_attention``.
    """

    def apply(*arguments: Any, **named: Any) -> tuple[Any, Array | None]:
        if not with_attention:
            return model.apply(variables, *arguments, **named), None
        found, sown = model.apply(variables, *arguments, mutable=["intermediates"], **named)
        layer = sown["intermediates"]["encoder"][model.encoder.last_layer(named["method"])]
        (weights,) = layer["attention"][WEIGHTS]
        return found, weights.mean(axis=1)

    return apply


def scan(body: Callable[[Any, Any], tuple[Any, Any]], start: Any, xs: Any, steps: int) -> Any:
    """Runs ``body`` for every step, as `jax.lax.scan`, and returns what it gave, step by step."""
    return jax.lax.scan(body, start, xs, unroll=max(1, min(steps, UNROLLED)))[1]


def with_first(
    first: Float[Array, "B Q n"], later: Float[Array, "K B Q n"]
) -> Float[Array, "B Q S n"]:
    """Puts step 0 before the others, and the axis of the steps behind that of the queries."""
    return jnp.moveaxis(jnp.concatenate([first[None], later]), 0, 2)
