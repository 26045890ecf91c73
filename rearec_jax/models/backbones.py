"""Backbone = item encoder x sequence encoder."""

from collections.abc import Callable
from typing import Any, cast

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rearec_jax.config import Config
from rearec_jax.methods import METHODS
from rearec_jax.models.items import Text, item_encoder
from rearec_jax.models.transformer import Encoder, rows_of
from rearec_jax.types import Caches, OwnCaches, PRNGKey

Variables = dict[str, Any]


class Backbone(nn.Module):
    """The methods that the rest of the package calls through `apply`."""

    items: nn.Module
    encoder: Encoder

    def item_table(self, text: Text, train: bool) -> Float[Array, "N D"]:
        """Vectors of the whole catalogue: looked up for the histories, scored against."""
        return self.items(text, train)

    def prefill(
        self,
        table: Float[Array, "N D"],
        tokens: Int[Array, "B T"],
        positions: Int[Array, "B T"],
        segments: Int[Array, "B T"],
        train: bool,
        asked: Int[Array, "B Q"] | None = None,
    ) -> tuple[Float[Array, "B P D"], Caches]:
        """See `Encoder.prefill`, of the tokens' vectors."""
        vectors = self.encoder.lookup(table, tokens)
        return self.encoder.prefill(vectors, positions, segments, train, asked)

    def step(
        self,
        inputs: Float[Array, "B V Q D"],
        items: Caches,
        own: OwnCaches,
        index: Int[Array, ""],
        visible: Bool[Array, "B Q T"],
        train: bool,
    ) -> tuple[Float[Array, "B V Q D"], OwnCaches]:
        """See `Encoder.step`."""
        return self.encoder.step(inputs, items, own, index, visible, train)

    def step_embeddings(self) -> Float[Array, "K D"]:
        """See `Encoder.step_embeddings`."""
        return self.encoder.step_embeddings()

    def __call__(self, text: Text = None) -> None:
        """Touch every parameter once: what `init` runs. A step has none that `prefill` lacks."""
        zeros = jnp.zeros((1, 1), jnp.int32)
        self.prefill(self.item_table(text, train=False), zeros, zeros, zeros, train=False)


def build(
    config: Config, num_items: int, rows: Callable[[Array, Array], Array] = rows_of
) -> Backbone:
    """The backbone that the configuration names.

    Args:
        rows: how items are looked up: (table, ids) -> table[ids].
    """
    return Backbone(
        items=item_encoder(config.model, num_items),
        encoder=Encoder(
            config.model,
            steps=config.method.steps,
            step_positions=METHODS[config.method.name].step_positions,
            causal=config.model.attention == "causal",
            cloze=config.train.objective == "cloze",
            rows=rows,
        ),
    )


def initialise(model: Backbone, key: PRNGKey, text: Text = None) -> Variables:
    """Fresh parameters."""
    return cast(Variables, model.init(key, text))


def item_table(
    model: Backbone,
    variables: Variables,
    text: Text = None,
    dropout_key: PRNGKey | None = None,
) -> Float[Array, "N D"]:
    """The catalogue's vectors: once an update, once an evaluation, not once a batch of users.

    Args:
        text: the items' text vectors, where the item encoder reads them.
        dropout_key: of the text's dropout and the experts' noisy gates; None = neither.
    """
    found = model.apply(
        variables,
        text,
        train=dropout_key is not None,
        rngs=None if dropout_key is None else {"dropout": jax.random.fold_in(dropout_key, 0)},
        method="item_table",
    )
    # Lookups are summed into its gradient, in its own type: an item that occurs a thousand times
    # would get nothing of the last hundreds in bfloat16.
    table = cast(Array, found)
    return table.astype(jnp.promote_types(table.dtype, jnp.float32))
