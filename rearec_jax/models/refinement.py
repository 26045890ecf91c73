"""Depth-recurrent reasoning: each step refines the states of all tokens by the same layers."""

from typing import cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rearec_jax.models.backbones import Backbone, Variables
from rearec_jax.models.scan import applied, scan, with_first
from rearec_jax.ops import random_arrays
from rearec_jax.types import Batch, PRNGKey, Reasoning


def refine(
    model: Backbone,
    variables: Variables,
    encoded: Float[Array, "B T D"],
    batch: Batch,
    steps: int,
    dropout_key: PRNGKey | None = None,
    weights: Float[Array, "B T T"] | None = None,
) -> Reasoning:
    """Refines the states of all tokens K times (LARES, arXiv 2505.16865).

    T_i = core(LN((T_{i-1} + H) / 2)), from a random T_0 in training and T_0 = 0 otherwise. The
    states of a query are H, T_1 .. T_K of its token.

    Args:
        model: The backbone, whose encoder has a core.
        variables: Its parameters.
        encoded: H, the states of all tokens after the layers before the core.
        batch: The rows and their queries.
        steps: K >= 0.
        dropout_key: The key of T_0 and of the dropout; None leaves both out.
        weights: The attention of H; where it is given, that of all steps is returned.
    """
    core = model.encoder.core
    assert core is not None
    apply = applied(model, variables, weights is not None)

    def at_queries(x: Float[Array, "B T n"]) -> Float[Array, "B Q n"]:
        return jnp.take_along_axis(x, batch.queries[..., None], axis=1)

    def body(states: Array, index: Int[Array, ""]) -> tuple[Array, tuple[Array, Array | None]]:
        rngs = None
        if dropout_key is not None:
            rngs = {"dropout": jax.random.fold_in(dropout_key, index + 1)}
        refined, given = apply(
            states,
            encoded,
            batch.positions,
            batch.segments,
            train=dropout_key is not None,
            rngs=rngs,
            method="refine",
        )
        states = cast(Array, refined)
        return states, (at_queries(states), None if given is None else at_queries(given))

    states = jnp.zeros_like(encoded)
    if dropout_key is not None and core.noise:
        key = jax.random.fold_in(dropout_key, steps + 1)
        drawn = random_arrays.normal(key, encoded.shape, encoded.dtype)
        states = drawn * jnp.asarray(core.noise, encoded.dtype)
    of_steps = scan(body, states, jnp.arange(steps), steps)
    first = at_queries(encoded), None if weights is None else at_queries(weights)
    every = jax.tree.map(with_first, first, of_steps)
    return Reasoning(states=every[0], noisy=None, attention=every[1])
