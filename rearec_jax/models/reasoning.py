"""Latent reasoning: K steps refine the hidden state of a query before items are scored."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import chex
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rearec_jax.models import prefixes, refinement
from rearec_jax.models.applied import applied
from rearec_jax.models.backbones import Backbone, Variables
from rearec_jax.models.prefixes import Prefixes
from rearec_jax.types import Batch, Caches, KVCache, PRNGKey, Reasoning, ReasoningCaches

# The most steps that are compiled as straight-line code. XLA then need not copy what the backward
# pass keeps of each step in and out of a stacked buffer, and knows which reasoning tokens are still
# to come. More steps would take longer to compile.
UNROLLED = 10


def encode_and_reason(
    model: Backbone,
    variables: Variables,
    table: Float[Array, "N D"],
    batch: Batch,
    steps: int,
    noise: Float[Array, "K B Q D"] | None = None,
    dropout_key: PRNGKey | None = None,
    with_attention: bool = False,
) -> Reasoning:
    """Encodes the items of the rows once, then reasons from all queries at the same time.

    Training, evaluation and recommendation all compute states by this function.

    Args:
        table: The vectors of the catalogue, of the same variables (see `backbones.item_table`).
        steps: K >= 0; 0 is the plain backbone.
        noise: The noise that is added to the clean inputs in the noisy view; None leaves this view
            out.
        dropout_key: The key of the dropout; None leaves dropout out.
        with_attention: Whether to return `Reasoning.attention` as well.

    Raises:
        ValueError: both attention and dropout are requested.
    """
    if with_attention and dropout_key is not None:
        raise ValueError("attention is returned only without dropout")
    apply = applied(model, variables, with_attention)
    core = model.encoder.core is not None
    encoded, weights = apply(
        table,
        batch.tokens,
        batch.positions,
        batch.segments,
        train=dropout_key is not None,
        # In training nearly every token is a query; otherwise only the last of each history is.
        queries=batch.queries if dropout_key is None and not core else None,
        rngs=None if dropout_key is None else {"dropout": jax.random.fold_in(dropout_key, 0)},
        method="prefill",
    )
    first, caches = cast(tuple[Array, Caches], encoded)
    if core:
        return refinement.refine(model, variables, first, batch, steps, dropout_key, weights)
    if dropout_key is not None:
        first = jnp.take_along_axis(first, batch.queries[..., None], axis=1)
    read = prefixes.of_queries(batch.positions, batch.segments, batch.queries, model.encoder.causal)
    finish = _finisher(model, variables, table)
    return reason(model, variables, first, caches, read, steps, noise, dropout_key, weights, finish)


def reason(
    model: Backbone,
    variables: Variables,
    first: Float[Array, "B Q D"],
    caches: Caches,
    read: Prefixes,
    steps: int,
    noise: Float[Array, "K B Q D"] | None = None,
    dropout_key: PRNGKey | None = None,
    weights: Float[Array, "B Q T"] | None = None,
    finish: Callable[[Array], Array] | None = None,
) -> Reasoning:
    """Takes K reasoning steps from r_0 = `first` (arXiv 2503.22675, section 3.2).

    The input of step k is r_{k-1} + p_k, plus noise[k-1] in the noisy view, where r_{k-1} is of the
    clean view in both. Each view has its reasoning tokens, and both share the caches of the items.

    Args:
        weights: The attention of r_0; where it is given, that of all steps is returned.
        finish: The function that the states of all steps, also r_0, pass through; None: they stay.
    """
    finish = finish or (lambda states: states)
    first = finish(first)
    # The scan stands outside of every module: inside of a Linen module a scan of JAX would use one
    # dropout mask for all steps.
    if steps == 0:
        return Reasoning(first[:, :, None], None, None if weights is None else weights[:, :, None])
    apply = applied(model, variables, weights is not None)
    train = dropout_key is not None
    views = 1 if noise is None else 2
    embeddings = cast(Array, model.apply(variables, method="step_embeddings"))
    embeddings = embeddings[:steps].astype(first.dtype)
    reasoning = _unwritten(caches, (first.shape[0], views, first.shape[1]), steps)

    def body(
        carry: tuple[Array, ReasoningCaches], x: tuple[Array, Array, Array | None]
    ) -> tuple[tuple[Array, ReasoningCaches], tuple[Array, Array | None]]:
        state, reasoning = carry
        index, embedding, step_noise = x
        clean = state + embedding[None, None]
        inputs = jnp.stack([clean] if step_noise is None else [clean, clean + step_noise], 1)
        rngs = {"dropout": jax.random.fold_in(dropout_key, index + 1)} if train else None
        stepped, given = apply(
            inputs, caches, reasoning, index, read, train=train, rngs=rngs, method="step"
        )
        outputs, reasoning = cast(tuple[Array, ReasoningCaches], stepped)
        outputs = finish(outputs)
        # Only the attention of the clean view to the items is kept.
        items = None if given is None else given[:, : first.shape[1], : read.visible.shape[2]]
        return (outputs[:, 0], reasoning), (outputs, items)

    xs = (jnp.arange(steps), embeddings, noise)
    _, (outputs, given) = jax.lax.scan(body, (first, reasoning), xs, unroll=min(steps, UNROLLED))
    chex.assert_shape(outputs, (steps, first.shape[0], views, *first.shape[1:]))
    states = jnp.concatenate([first[None], outputs[:, :, 0]])
    noisy = None if noise is None else jnp.moveaxis(outputs[:, :, 1], 0, 2)
    attention = None
    if weights is not None and given is not None:
        attention = jnp.moveaxis(jnp.concatenate([weights[None], given]), 0, 2)
    return Reasoning(jnp.moveaxis(states, 0, 2), noisy, attention)


def _finisher(
    model: Backbone, variables: Variables, table: Float[Array, "N D"]
) -> Callable[[Array], Array] | None:
    """Returns what the model does to every state before anybody reads it; None for nothing."""
    if not model.encoder.rescales:
        return None
    return lambda states: cast(Array, model.apply(variables, states, table, method="rescale"))


def _unwritten(items: Caches, tokens: Sequence[Any], steps: int) -> ReasoningCaches:
    """Returns zeros for the reasoning tokens of all steps; sizes may be symbols of an export."""

    def one(cache: KVCache) -> tuple[KVCache, ...]:
        zeros = jax.tree.map(lambda x: jnp.zeros((*tokens, *x.shape[2:]), x.dtype), cache)
        return (zeros,) * steps

    return tuple(one(cache) for cache in items)
