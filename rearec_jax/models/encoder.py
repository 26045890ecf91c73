"""The sequence encoder: a stack of layers that takes and returns their caches."""

from collections.abc import Callable
from typing import NamedTuple

from flax import linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rearec_jax.config import ModelConfig
from rearec_jax.methods.unroll import PLAIN, Unroll, Weights
from rearec_jax.models import layers, prefixes
from rearec_jax.models.filtered import FilteredLayer
from rearec_jax.models.hstu import HSTULayer
from rearec_jax.models.ligr import LiGRLayer
from rearec_jax.models.prefixes import Past, Prefixes
from rearec_jax.models.transformer import TransformerLayer
from rearec_jax.types import Caches, ReasoningCaches

LAYERS: dict[str, type[TransformerLayer]] = {
    "transformer": TransformerLayer,
    "filtered": FilteredLayer,
    "ligr": LiGRLayer,
    "hstu": HSTULayer,
}


def rows_of(table: Float[Array, "N D"], ids: Int[Array, "*shape"]) -> Float[Array, "*shape D"]:
    """Looks up the vectors of the items ``ids``."""
    return table[ids]


class Core(NamedTuple):
    """The layers that refine the states of all tokens, again and again (LARES).

    layers: Their number.
    noise:  The standard deviation of the state before the first step in training.
    """

    layers: int
    noise: float


class Encoder(nn.Module):
    """A stack of layers that encodes rows of items and then takes reasoning steps from queries."""

    config: ModelConfig
    steps: int  # K, the number of step embeddings to learn; 0 is the plain backbone
    step_positions: bool = True  # whether steps have embeddings; those of `naive` have none
    causal: bool = True  # whether attention is causal; otherwise it is bidirectional in a segment
    cloze: bool = False  # whether token N is the mask, which has a vector that is learned
    rows: Callable[[Array, Array], Array] = rows_of  # the function that looks items up
    core: Core | None = None  # what a step applies to all tokens; None: it adds a reasoning token
    learned: tuple[tuple[str, tuple[int, ...]], ...] = ()  # names and shapes of a method's weights
    unroll: Unroll = PLAIN  # the rule by which a step follows the one before

    def setup(self) -> None:
        config = self.config
        init = nn.initializers.normal(config.init_stddev)
        dtype = layers.parameter_dtype(config)
        self.position = self.param("position", init, (config.max_length, config.width), dtype)
        if self.steps and self.step_positions:
            self.reasoning_position = self.param(
                "reasoning_position", init, (self.steps, config.width), dtype
            )
        if self.cloze:
            self.mask = self.param("mask", init, (config.width,), dtype)
        self.weights = {name: self.param(name, init, shape, dtype) for name, shape in self.learned}
        self.input_norm = layers.layer_norm(config)
        self.input_dropout = layers.Dropout(config.embedding_dropout)
        same = config.step_dropout == -1
        self.step_dropout = self.input_dropout if same else layers.Dropout(config.step_dropout)
        self.layers = [LAYERS[config.layer](config) for _ in range(config.layers)]
        if self.core:
            self.core_norm = layers.layer_norm(config)
            self.core_layers = [LAYERS[config.layer](config) for _ in range(self.core.layers)]

    def lookup(
        self, table: Float[Array, "N D"], tokens: Int[Array, "B T"]
    ) -> Float[Array, "B T D"]:
        """Looks up the vectors of the tokens."""
        if not self.cloze:
            return self.rows(table, tokens)
        items = self.rows(table, jnp.minimum(tokens, table.shape[0] - 1))
        masked = (tokens == table.shape[0])[..., None]
        return jnp.where(masked, self.mask.astype(items.dtype)[None, None], items)

    def prefill(
        self,
        vectors: Float[Array, "B T D"],
        positions: Int[Array, "B T"],
        segments: Int[Array, "B T"],
        train: bool,
        queries: Int[Array, "B Q"] | None = None,
    ) -> tuple[Float[Array, "B P D"], Caches]:
        """Encodes every token of every row.

        Args:
            vectors: The vectors of the items. Those of padding (segment 0) reach no other segment.
            queries: The positions in the rows whose states are returned, P = Q; None returns all,
                P = T. Of other tokens the last layer then computes only keys and values.

        Returns:
            The hidden states of the last layer, and the keys and values of every layer.
        """
        everywhere = prefixes.of_all_tokens(positions, segments, self.causal)
        x = self.input_dropout(self.input_norm(vectors + self.position[positions]), train)
        caches = []
        for layer in self.layers[:-1]:
            x, cache = layer.prefill(x, everywhere, train)
            caches.append(cache)
        last = everywhere if queries is None else everywhere.only(queries)
        x, cache = self.layers[-1].prefill(x, last, train)
        return x, (*caches, cache)

    def step(
        self,
        inputs: Float[Array, "B V Q D"],
        items: Caches,
        reasoning: ReasoningCaches,
        index: Int[Array, ""],
        read: Prefixes,
        train: bool,
    ) -> tuple[Float[Array, "B V Q D"], ReasoningCaches]:
        """Takes reasoning step k = index + 1 of every query and view.

        Args:
            inputs: r_{k-1} + p_k, with noise in the noisy view, before the LayerNorm of inputs.
            items: The caches of the rows from `prefill`, which the views share.
            reasoning: The caches of the earlier steps, newest first; then those of the steps that
                are still to come.
            read: The prefixes that the queries read.

        Returns:
            r_k of every view, and `reasoning` with the cache of this step as the newest.
        """
        x = self.step_dropout(self.input_norm(inputs), train)
        caches = []
        for layer, layer_items, layer_reasoning in zip(self.layers, items, reasoning, strict=True):
            x, cache = layer.step(x, Past(layer_items, layer_reasoning, index, read), train)
            caches.append(cache)
        return x, tuple(caches)

    def refine(
        self,
        states: Float[Array, "B T D"],
        encoded: Float[Array, "B T D"],
        positions: Int[Array, "B T"],
        segments: Int[Array, "B T"],
        train: bool,
    ) -> Float[Array, "B T D"]:
        """Computes T_i = core(LN((T_{i-1} + H) / 2)) of every token, from T_{i-1} and H."""
        read = prefixes.of_all_tokens(positions, segments, self.causal)
        x = self.core_norm((states + encoded) / 2)
        for layer in self.core_layers:
            x, _ = layer.prefill(x, read, train)
        return x

    def last_layer(self, method: str) -> str:
        """Returns the name of the last layer that a method of this class runs."""
        if method == "refine" and self.core:
            return f"core_layers_{self.core.layers - 1}"
        return f"layers_{self.config.layers - 1}"

    def step_embeddings(self, steps: int) -> Float[Array, "K D"]:
        """Returns p_1 .. p_K of so many steps, which are zeros where the method has none."""
        if self.steps and self.step_positions:
            return self.reasoning_position[:steps]
        return jnp.zeros((steps, self.config.width), layers.parameter_dtype(self.config))

    def method_weights(self) -> Weights:
        """Returns what the method learns beside the encoder."""
        return self.weights
