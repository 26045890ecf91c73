"""Applies a model outside of every module, and returns what it attended to as well."""

from collections.abc import Callable
from typing import Any

from jaxtyping import Array

from rearec_jax.models.attention import WEIGHTS
from rearec_jax.models.backbones import Backbone, Variables


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
