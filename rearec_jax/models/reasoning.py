"""Latent reasoning: K steps refine the hidden state of a query before items are scored."""

from collections.abc import Sequence
from typing import Any, cast

import chex
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rearec_jax.methods.unroll import PLAIN, Carried, Weights
from rearec_jax.models import prefixes, refinement
from rearec_jax.models.backbones import Backbone, Variables
from rearec_jax.models.prefixes import Prefixes
from rearec_jax.models.scan import applied, scan, with_first
from rearec_jax.types import Batch, Caches, KVCache, PRNGKey, Reasoning, ReasoningCaches


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
    return reason(model, variables, table, first, caches, read, steps, noise, dropout_key, weights)


def reason(
    model: Backbone,
    variables: Variables,
    table: Float[Array, "N D"],
    first: Float[Array, "B Q D"],
    caches: Caches,
    read: Prefixes,
    steps: int,
    noise: Float[Array, "K B Q D"] | None = None,
    dropout_key: PRNGKey | None = None,
    weights: Float[Array, "B Q T"] | None = None,
) -> Reasoning:
    """Takes K reasoning steps from r_0 = `first` (arXiv 2503.22675, section 3.2).

    What a step does is said by the method's `Unroll`. Each view has its reasoning tokens, and all
    share the caches of the items. In the noisy view the inputs of step k are those of the clean one
    plus noise[k-1].

    Args:
        weights: The attention of r_0; where it is given, that of all steps is returned.

    Raises:
        ValueError: there is noise, and the method's step is not the plain one.
    """
    unroll = model.encoder.unroll
    is_plain = unroll.step == PLAIN.step  # then the states are all that is carried
    if noise is not None and not is_plain:
        raise ValueError("the noisy view is that of a plain step")
    learned = cast(Weights, model.apply(variables, method="method_weights"))
    learned = {name: array.astype(first.dtype) for name, array in learned.items()}
    first = unroll.output(first, table, learned)
    if steps == 0:
        attention = None if weights is None else weights[:, :, None]
        return Reasoning(first[:, :, None], None, attention, learned or None)
    apply = applied(model, variables, weights is not None)
    embeddings = cast(Array, model.apply(variables, steps, method="step_embeddings"))
    embeddings = embeddings.astype(first.dtype)
    start = unroll.start(first[:, None], learned)
    streams = jax.tree.leaves(start)[0].shape[1]
    tokens = first.shape[0], streams if noise is None else 2 * streams, first.shape[1]
    reasoning = _unwritten(caches, tokens, steps if unroll.remembers else 1)

    def body(
        carry: tuple[Carried, ReasoningCaches], x: tuple[Array, Array, Array | None]
    ) -> tuple[tuple[Carried, ReasoningCaches], tuple[Array, Array | None, Array | None, Carried]]:
        carried, reasoning = carry
        index, embedding, step_noise = x
        key = None if dropout_key is None else jax.random.fold_in(dropout_key, index + 1)
        before = index if unroll.remembers else jnp.zeros_like(index)
        made: list[tuple[ReasoningCaches, Array | None]] = []

        def encode(inputs: Float[Array, "B V Q D"]) -> Float[Array, "B _ Q D"]:
            inputs += embedding[None, None, None]
            if step_noise is not None:
                inputs = jnp.concatenate([inputs, inputs + step_noise[:, None]], axis=1)
            stepped, given = apply(
                inputs,
                caches,
                reasoning,
                before,
                read,
                train=key is not None,
                rngs=_rngs(key, len(made)),
                method="step",
            )
            outputs, written = cast(tuple[Array, ReasoningCaches], stepped)
            made.append((written, given))
            return unroll.output(outputs, table, learned)

        carried = unroll.step(encode, carried, learned)
        written, given = made[-1]
        # Only the attention of the clean views to the items is kept.
        if given is not None:
            given = given.reshape(given.shape[0], tokens[1], first.shape[1], given.shape[2])
            given = given[:, :streams, :, : read.visible.shape[2]].mean(axis=1)
        noisy = None
        if noise is not None:
            carried, second = carried[:, :streams], carried[:, streams:]
            noisy = unroll.state(second, first, learned)
        state = unroll.state(carried, first, learned)
        return (carried, written if unroll.remembers else reasoning), (state, noisy, given, carried)

    xs = (jnp.arange(steps), embeddings, noise)
    states, noisy, given, carried = scan(body, (start, reasoning), xs, steps)
    chex.assert_shape(states, (steps, *first.shape))
    return Reasoning(
        states=with_first(first, states),
        noisy=None if noisy is None else jnp.moveaxis(noisy, 0, 2),
        attention=None if weights is None or given is None else with_first(weights, given),
        weights=learned or None,
        carried=None if is_plain else carried,
    )


def _rngs(key: PRNGKey | None, call: int) -> dict[str, PRNGKey] | None:
    """Returns the key of the dropout of each call of the encoder in a step."""
    if key is None:
        return None
    return {"dropout": jax.random.fold_in(key, call) if call else key}


def _unwritten(items: Caches, tokens: Sequence[Any], steps: int) -> ReasoningCaches:
    """Returns zeros for the reasoning tokens of all steps; sizes may be symbols of an export."""

    def one(cache: KVCache) -> tuple[KVCache, ...]:
        zeros = jax.tree.map(lambda x: jnp.zeros((*tokens, *x.shape[2:]), x.dtype), cache)
        return (zeros,) * steps

    return tuple(one(cache) for cache in items)
