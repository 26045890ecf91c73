"""Makes an engine of a trained model: its parameters with the code of training."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
import numpy as np

from rearec_jax.config import Config
from rearec_jax.data.item_vectors.vectors import unit_scale
from rearec_jax.losses.similarity import comparable
from rearec_jax.methods import METHODS
from rearec_jax.models import backbones
from rearec_jax.models.backbones import Backbone, Variables, item_table
from rearec_jax.models.reasoning import encode_and_reason
from rearec_jax.recommend.engine import Engine
from rearec_jax.recommend.rows import Rows
from rearec_jax.types import Batch, Features, Reasoning


@dataclasses.dataclass(frozen=True)
class Encoder:
    """The `engine.Encode` of a model; equal models share their compiled programs.

    model:      The backbone.
    method:     The name of the method.
    similarity: The similarity of users and items, by its name.
    """

    model: Backbone
    method: str
    similarity: str

    def __call__(
        self, weights: Variables, table: Float[Array, "N D"], rows: Rows, steps: int
    ) -> Float[Array, "B Q S D"]:
        found = encode_and_reason(self.model, weights, table, _batch(rows), steps)
        return self.representations(found)

    def representations(self, found: Reasoning) -> Float[Array, "B Q S D"]:
        """Returns the vectors whose products with the items' vectors are the scores."""
        by_depth = METHODS[self.method].by_depth(found.states, found.weights)
        return comparable(by_depth, self.similarity)


@dataclasses.dataclass(frozen=True)
class Attender:
    """The `engine.Attend` of a model: the result of ``encoder``, and the attention of each step."""

    encoder: Encoder

    def __call__(
        self, weights: Variables, table: Float[Array, "N D"], rows: Rows, steps: int
    ) -> tuple[Float[Array, "B Q S D"], Float[Array, "B Q S T"]]:
        model = self.encoder.model
        found = encode_and_reason(model, weights, table, _batch(rows), steps, with_attention=True)
        assert found.attention is not None
        return self.encoder.representations(found), found.attention


def _batch(rows: Rows) -> Batch:
    tokens, positions, segments, queries = map(jnp.asarray, rows[:4])
    nothing = jnp.zeros(queries.shape, jnp.int32)  # the future is unknown
    return Batch(tokens, positions, segments, queries, nothing, jnp.ones(nothing.shape), nothing)


def engine_of_model(
    config: Config,
    variables: Variables,
    num_items: int,
    text: np.ndarray | Features | None = None,
) -> Engine:
    """Makes the engine of a model from its parameters.

    Args:
        config: the run's options.
        variables: the parameters.
        num_items: N, the number of items.
        text: the vectors of the items' text, or their features, where the backbone reads them.
    """
    model = backbones.build(config, num_items)
    scale, width, read = np.float32(1), 0, text
    if isinstance(text, np.ndarray):
        scale, width = np.float32(unit_scale(text)), text.shape[1]
        read = jnp.asarray(text * scale)
    table = jax.jit(lambda variables, text: item_table(model, variables, text))(variables, read)
    return engine_of_table(config, variables, ItemTable(table, width, float(scale)))


class ItemTable(NamedTuple):
    """The item vectors, and the scale of the text that they were made of.

    rows:       The item vectors.
    text_width: F, the width of the text vectors; 0 where the model reads none.
    text_scale: The factor that the text vectors were multiplied by.
    """

    rows: Float[Array, "N D"]
    text_width: int
    text_scale: float


def engine_of_table(config: Config, variables: Variables, table: ItemTable) -> Engine:
    """Makes the engine of a model whose item vectors are known already.

    Args:
        config: the run's options.
        variables: the parameters; of the item encoder only those that encode text are read.
        table: the item vectors.
    """
    similarity = config.model.similarity

    def item_rows(vectors: np.ndarray) -> tuple[Array, Array]:
        scaled = jnp.asarray(vectors, jnp.float32) * np.float32(table.text_scale)
        rows = rows_of_text(config, item_encoder_weights(config, variables), scaled)
        return rows, comparable(rows, similarity)

    encode = Encoder(backbones.build(config, table.rows.shape[0]), config.method.name, similarity)
    return Engine(
        name=f"{config.model.backbone}, {config.method.name}",
        max_length=config.model.max_length,
        steps=config.method.steps,
        cloze=config.train.objective == "cloze",
        encode=encode,
        attend=Attender(encode),
        temperature=config.method.temperature,
        weights=encoder_weights(variables),
        table=table.rows,
        ranked=comparable(table.rows, similarity),
        item_rows=item_rows if table.text_width else None,
        text_width=table.text_width,
        text_scale=table.text_scale,
    )


def encoder_weights(variables: Variables) -> Variables:
    """Returns the parameters that `encode` reads: the table replaces those of the items."""
    return {"params": {"encoder": variables["params"]["encoder"]}}


def item_encoder_weights(config: Config, variables: Variables) -> Variables:
    """Returns the parameters that `rows_of_text` reads: the text encoder's, no free vectors."""
    items = variables["params"]["items"]
    return {"params": {"items": items["text"] if config.model.item_ids else items}}


def rows_of_text(
    config: Config, weights: Variables, text: Float[Array, "n F"]
) -> Float[Array, "n D"]:
    """Encodes the scaled text vectors of new items, which have no free vectors to add."""
    without_ids = dataclasses.replace(config.model, item_ids=False)
    model = backbones.build(dataclasses.replace(config, model=without_ids), num_items=0)
    return item_table(model, weights, text)
