"""The backbone: an item encoder and a sequence encoder."""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rearec_jax.config import Config
from rearec_jax.methods import METHODS
from rearec_jax.methods.method import Method
from rearec_jax.methods.unroll import Weights
from rearec_jax.models.encoder import LAYERS, Core, Encoder, rows_of
from rearec_jax.models.items import Text, item_encoder
from rearec_jax.models.prefixes import Prefixes
from rearec_jax.types import Caches, PRNGKey, ReasoningCaches

Variables = dict[str, Any]


class Backbone(nn.Module):
    """The modules of a model, and the methods that the rest of the package calls by `apply`."""

    items: nn.Module
    encoder: Encoder

    def item_table(self, text: Text, train: bool) -> Float[Array, "N D"]:
        """Computes the vectors of the catalogue, which histories look up and states score."""
        return self.items(text, train)

    def prefill(
        self,
        table: Float[Array, "N D"],
        tokens: Int[Array, "B T"],
        positions: Int[Array, "B T"],
        segments: Int[Array, "B T"],
        train: bool,
        queries: Int[Array, "B Q"] | None = None,
    ) -> tuple[Float[Array, "B P D"], Caches]:
        """Looks up the vectors of the tokens and encodes them with `Encoder.prefill`."""
        vectors = self.encoder.lookup(table, tokens)
        return self.encoder.prefill(vectors, positions, segments, train, queries)

    def step(
        self,
        inputs: Float[Array, "B V Q D"],
        items: Caches,
        reasoning: ReasoningCaches,
        index: Int[Array, ""],
        read: Prefixes,
        train: bool,
    ) -> tuple[Float[Array, "B V Q D"], ReasoningCaches]:
        """Takes a reasoning step with `Encoder.step`."""
        return self.encoder.step(inputs, items, reasoning, index, read, train)

    def step_embeddings(self, steps: int) -> Float[Array, "K D"]:
        """Returns the embeddings of the reasoning steps, `Encoder.step_embeddings`."""
        return self.encoder.step_embeddings(steps)

    def method_weights(self) -> Weights:
        """Returns what the method learns beside the encoder."""
        return self.encoder.method_weights()

    def refine(
        self,
        states: Float[Array, "B T D"],
        encoded: Float[Array, "B T D"],
        positions: Int[Array, "B T"],
        segments: Int[Array, "B T"],
        train: bool,
    ) -> Float[Array, "B T D"]:
        """Refines the states of all tokens with `Encoder.refine`."""
        return self.encoder.refine(states, encoded, positions, segments, train)

    def __call__(self, text: Text = None) -> None:
        """Uses every parameter once, for `init`: a step has none that these lack."""
        zeros = jnp.zeros((1, 1), jnp.int32)
        table = self.item_table(text, train=False)
        x, _ = self.prefill(table, zeros, zeros, zeros, train=False)
        if self.encoder.core:
            self.refine(x, x, zeros, zeros, train=False)


def build(
    config: Config, num_items: int, rows: Callable[[Array, Array], Array] = rows_of
) -> Backbone:
    """Builds the backbone that the configuration names.

    Args:
        rows: The function that looks items up: (table, ids) -> table[ids].
    """
    options, method = config.method, METHODS[config.method.name]
    return Backbone(
        items=item_encoder(config.model, num_items),
        encoder=Encoder(
            config.model,
            steps=options.steps,
            step_positions=method.step_positions,
            causal=config.model.attention == "causal",
            cloze=config.train.objective == "cloze",
            rows=rows,
            core=Core(options.core_layers, options.start_noise) if method.refines else None,
            learned=tuple(method.weights(options, config.model.width).items()),
            unroll=method.unroll,
        ),
    )


class Named(NamedTuple):
    """The values that names in the options stand for.

    They are part of what a compiled program depends on: a notebook may define a method anew, under
    the same name.
    """

    method: Method
    layer: type[nn.Module]


def named(config: Config) -> Named:
    """Returns what the names of the method and of the layer stand for now."""
    return Named(METHODS[config.method.name], LAYERS[config.model.layer])


def initialise(model: Backbone, key: PRNGKey, text: Text = None) -> Variables:
    """Draws initial parameters."""
    return cast(Variables, model.init(key, text))


def item_table(
    model: Backbone,
    variables: Variables,
    text: Text = None,
    dropout_key: PRNGKey | None = None,
) -> Float[Array, "N D"]:
    """Computes the vectors of the catalogue, once for an update or for a whole evaluation.

    Args:
        text: The text vectors of the items, where the item encoder reads them.
        dropout_key: The key of the text dropout and of the noise of the experts' gates; None leaves
            both out.
    """
    found = model.apply(
        variables,
        text,
        train=dropout_key is not None,
        rngs=None if dropout_key is None else {"dropout": jax.random.fold_in(dropout_key, 0)},
        method="item_table",
    )
    # The gradients of all lookups of an item are summed in the type of the table. In bfloat16 an
    # item that occurs a thousand times would get nothing of the last hundreds.
    table = cast(Array, found)
    return table.astype(jnp.promote_types(table.dtype, jnp.float32))
