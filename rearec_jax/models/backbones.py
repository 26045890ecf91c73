"""Backbone = item encoder x sequence encoder."""

from typing import Any, cast

from flax import linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rearec_jax.config import Config
from rearec_jax.models.items import ItemIds
from rearec_jax.models.transformer import Encoder
from rearec_jax.types import Caches, PRNGKey

Variables = dict[str, Any]


class Backbone(nn.Module):
    """The methods that the rest of the package calls through `apply`."""

    items: nn.Module
    encoder: Encoder

    def item_table(self) -> Float[Array, "N D"]:
        """Vectors of the whole catalogue: looked up for the histories, scored against."""
        return self.items()

    def prefill(
        self,
        vectors: Float[Array, "B T D"],
        positions: Int[Array, "B T"],
        segments: Int[Array, "B T"],
        train: bool,
    ) -> tuple[Float[Array, "B T D"], Caches]:
        """See `Encoder.prefill`."""
        return self.encoder.prefill(vectors, positions, segments, train)

    def step(
        self,
        inputs: Float[Array, "V B Q D"],
        items: Caches,
        own: Caches,
        index: Int[Array, ""],
        visible: Bool[Array, "B Q T"],
        train: bool,
    ) -> tuple[Float[Array, "V B Q D"], Caches]:
        """See `Encoder.step`."""
        return self.encoder.step(inputs, items, own, index, visible, train)

    def step_embeddings(self) -> Float[Array, "K D"]:
        """See `Encoder.step_embeddings`."""
        return self.encoder.step_embeddings()

    def __call__(self) -> None:
        """Touch every parameter once: what `init` runs. A step has none that `prefill` lacks."""
        zeros = jnp.zeros((1, 1), jnp.int32)
        self.prefill(self.item_table()[zeros], zeros, zeros, train=False)


def build(config: Config, num_items: int) -> Backbone:
    """The backbone that the configuration names."""
    return Backbone(
        items=ItemIds(config.model, num_items),
        encoder=Encoder(
            config.model,
            steps=config.method.steps,
            step_positions=config.method.name != "naive",
        ),
    )


def initialise(model: Backbone, key: PRNGKey) -> Variables:
    """Fresh parameters."""
    return cast(Variables, model.init(key))


def item_table(model: Backbone, variables: Variables) -> Float[Array, "N D"]:
    """The catalogue's vectors: once an update, once an evaluation, not once a batch of users."""
    return cast(Array, model.apply(variables, method="item_table"))
