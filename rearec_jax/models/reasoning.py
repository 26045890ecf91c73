"""Latent reasoning: K steps refine the hidden state of a query before items are scored."""

from collections.abc import Callable, Sequence
import dataclasses
from typing import Any, NamedTuple, cast

import chex
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rearec_jax.methods.unroll import PLAIN, Carried, Unroll, Weights
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
    encoded, attention = apply(
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
        return refinement.refine(model, variables, first, batch, steps, dropout_key, attention)
    if dropout_key is not None:
        first = jnp.take_along_axis(first, batch.queries[..., None], axis=1)
    read = prefixes.of_queries(batch.positions, batch.segments, batch.queries, model.encoder.causal)
    unroll = model.encoder.unroll
    learned = cast(Weights, model.apply(variables, method="method_weights"))
    learned = {name: array.astype(first.dtype) for name, array in learned.items()}
    first = unroll.output(first, table, learned)
    if steps == 0:
        attention = None if attention is None else attention[:, :, None]
        return Reasoning(first[:, :, None], None, attention, learned or None)
    embeddings = cast(Array, model.apply(variables, steps, method="step_embeddings"))
    inputs = Inputs(jnp.arange(steps), embeddings.astype(first.dtype), noise)
    common = _Steps(apply, unroll, learned, table, first, caches, read, dropout_key)
    return common.take(inputs, attention)


class Inputs(NamedTuple):
    """The inputs of a step that do not depend on the steps before it; of all steps, one axis more.

    index:     k - 1 for step k.
    embedding: p_k, which is added to what enters the encoder.
    noise:     The noise that the noisy view adds to that; None where there is no such view.
    """

    index: Int[Array, "*K"]
    embedding: Float[Array, "*K D"]
    noise: Float[Array, "*K B Q D"] | None


class Outputs(NamedTuple):
    """The outputs of a step; of all steps, with one axis more before the others.

    state:     r_k.
    noisy:     r~_k of the noisy view; None where there is no such view.
    attention: The attention of the clean view to the items; None unless it is requested.
    carried:   What the method's rule carries on to the next step.
    """

    state: Float[Array, "*K B Q D"]
    noisy: Float[Array, "*K B Q D"] | None
    attention: Float[Array, "*K B Q T"] | None
    carried: Carried


@dataclasses.dataclass(frozen=True)
class _Steps:
    """The part that all reasoning steps of a batch have in common.

    Each view has its reasoning tokens, and all views share the caches of the items.

    apply:       Applies the model and returns attention as well (`scan.applied`).
    unroll:      The rule by which a step follows the one before.
    learned:     The arrays that the method learned beside the encoder.
    table:       The vectors of the catalogue.
    first:       r_0.
    items:       The caches of the items.
    read:        The prefixes that the queries read.
    dropout_key: The key of the dropout; None leaves dropout out.
    """

    apply: Callable[..., tuple[Any, Array | None]]
    unroll: Unroll
    learned: Weights
    table: Float[Array, "N D"]
    first: Float[Array, "B Q D"]
    items: Caches
    read: Prefixes
    dropout_key: PRNGKey | None

    def take(self, inputs: Inputs, attention: Float[Array, "B Q T"] | None) -> Reasoning:
        """Takes K reasoning steps from r_0 (arXiv 2503.22675, section 3.2).

        Args:
            inputs: The inputs of all steps.
            attention: The attention of r_0; where it is given, that of all steps is returned.

        Raises:
            ValueError: there is noise, and the method's step is not the plain one.
        """
        is_plain = self.unroll.step == PLAIN.step  # then the states are all that is carried
        if inputs.noise is not None and not is_plain:
            raise ValueError("the noisy view is that of a plain step")
        start = self.unroll.start(self.first[:, None], self.learned)
        views = jax.tree.leaves(start)[0].shape[1] * (1 if inputs.noise is None else 2)
        steps, (rows, queries, _) = inputs.index.shape[0], self.first.shape
        kept = steps if self.unroll.remembers else 1
        reasoning = _unwritten(self.items, (rows, views, queries), kept)
        found: Outputs = scan(self._one, (start, reasoning), inputs, steps)
        chex.assert_shape(found.state, (steps, *self.first.shape))
        if attention is not None and found.attention is not None:
            attention = with_first(attention, found.attention)
        return Reasoning(
            states=with_first(self.first, found.state),
            noisy=None if found.noisy is None else jnp.moveaxis(found.noisy, 0, 2),
            attention=attention,
            weights=self.learned or None,
            carried=None if is_plain else found.carried,
        )

    def _one(
        self, carry: tuple[Carried, ReasoningCaches], inputs: Inputs
    ) -> tuple[tuple[Carried, ReasoningCaches], Outputs]:
        """Takes one step: the body of the scan."""
        carried, before = carry
        calls: list[tuple[ReasoningCaches, Array | None]] = []

        def encode(tokens: Float[Array, "B V Q D"]) -> Float[Array, "B _ Q D"]:
            outputs, *kept = self._encode(tokens, before, inputs, call=len(calls))
            calls.append(cast(tuple[ReasoningCaches, Array | None], tuple(kept)))
            return self.unroll.output(outputs, self.table, self.learned)

        carried = self.unroll.step(encode, carried, self.learned)
        written, attention = calls[-1]
        noisy = None
        if inputs.noise is not None:  # the second half of the views
            carried, second = jnp.split(carried, 2, axis=1)
            noisy = self.unroll.state(second, self.first, self.learned)
        state = self.unroll.state(carried, self.first, self.learned)
        if attention is not None:
            attention = self._of_clean_views(attention, jax.tree.leaves(carried)[0].shape[1])
        after = written if self.unroll.remembers else before
        return (carried, after), Outputs(state, noisy, attention, carried)

    def _encode(
        self, tokens: Float[Array, "B V Q D"], before: ReasoningCaches, inputs: Inputs, call: int
    ) -> tuple[Float[Array, "B _ Q D"], ReasoningCaches, Array | None]:
        """Sends tokens through the encoder, and in the noisy view a noisy copy of them.

        Args:
            tokens: The inputs before p_k is added.
            before: The caches of the reasoning tokens so far.
            inputs: The inputs of this step.
            call: The number of calls of the encoder before this one in the step.
        """
        tokens += inputs.embedding[None, None, None]
        if inputs.noise is not None:
            tokens = jnp.concatenate([tokens, tokens + inputs.noise[:, None]], axis=1)
        index, rngs = inputs.index, None
        if self.dropout_key is not None:
            key = jax.random.fold_in(self.dropout_key, index + 1)
            rngs = {"dropout": jax.random.fold_in(key, call) if call else key}
        stepped, attention = self.apply(
            tokens,
            self.items,
            before,
            index if self.unroll.remembers else jnp.zeros_like(index),
            self.read,
            train=rngs is not None,
            rngs=rngs,
            method="step",
        )
        outputs, written = cast(tuple[Array, ReasoningCaches], stepped)
        return outputs, written, attention

    def _of_clean_views(
        self, attention: Float[Array, "B VQ L"], count: int
    ) -> Float[Array, "B Q T"]:
        """Averages the attention to the items over the first ``count`` views, the clean ones."""
        rows, queries, items = self.read.visible.shape
        by_view = attention.reshape(rows, -1, queries, attention.shape[-1])
        return by_view[:, :count, :, :items].mean(axis=1)


def _unwritten(items: Caches, tokens: Sequence[Any], steps: int) -> ReasoningCaches:
    """Returns zeros for the reasoning tokens of all steps; sizes may be symbols of an export."""

    def one(cache: KVCache) -> tuple[KVCache, ...]:
        zeros = jax.tree.map(lambda x: jnp.zeros((*tokens, *x.shape[2:]), x.dtype), cache)
        return (zeros,) * steps

    return tuple(one(cache) for cache in items)
