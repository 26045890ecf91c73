"""The sequence encoder: post-LayerNorm Transformer with explicit key/value caches."""

from collections.abc import Callable

from flax import linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rearec_jax.config import ModelConfig
from rearec_jax.models import attention, layers
from rearec_jax.types import Caches, KVCache, OwnCaches


def rows_of(table: Float[Array, "N D"], ids: Int[Array, "*shape"]) -> Float[Array, "*shape D"]:
    """The vectors of the items ``ids``."""
    return table[ids]


class FeedForward(nn.Module):
    """Two linear layers with GELU (erf) between."""

    config: ModelConfig

    def setup(self) -> None:
        self.expand = layers.dense(self.config, self.config.hidden)
        self.contract = layers.dense(self.config, self.config.width)

    def __call__(self, x: Float[Array, "*tokens D"]) -> Float[Array, "*tokens D"]:
        return self.contract(layers.gelu(self.expand(x)))


class Layer(nn.Module):
    """x -> LN(x + dropout(attention(x))) -> LN(x + dropout(feed_forward(x)))."""

    config: ModelConfig

    def setup(self) -> None:
        self.attention = attention.Attention(self.config)
        self.attention_norm = layers.layer_norm(self.config)
        self.feed_forward = FeedForward(self.config)
        self.feed_forward_norm = layers.layer_norm(self.config)
        self.dropout = layers.Dropout(self.config.dropout)

    def prefill(
        self,
        x: Float[Array, "B T D"],
        visible: Bool[Array, "B T T"],
        train: bool,
        asked: Int[Array, "B Q"] | None = None,
    ) -> tuple[Float[Array, "B P D"], KVCache]:
        """All tokens of the rows at once; also returns their keys and values.

        With ``asked`` (places in the rows) the states of these tokens alone; P = Q, else T.
        """
        if asked is None:
            q, k, v = self.attention.project(x)
        else:
            k, v = self.attention.keys_and_values(x)
            x, visible = _take(x, asked), _take(visible, asked)
            q = self.attention.queries(x)
        attended = self.attention.over_items(q, k, v, visible, train)
        return self._finish(x, attended, train), KVCache(k, v)

    def step(
        self,
        x: Float[Array, "B V Q D"],
        items: KVCache,
        own: tuple[KVCache, ...],
        index: Int[Array, ""],
        visible: Bool[Array, "B Q T"],
        train: bool,
    ) -> tuple[Float[Array, "B V Q D"], tuple[KVCache, ...]]:
        """One reasoning token of every query."""
        q, k, v = self.attention.project(x)
        own = (KVCache(k, v), *own[:-1])
        attended = self.attention.over_items_and_own(q, items, own, visible, index, train)
        return self._finish(x, attended, train), own

    def _finish(self, x: Array, attended: Array, train: bool) -> Array:
        x = self.attention_norm(x + self.dropout(attended, train))
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x), train))


class Encoder(nn.Module):
    """Item vectors in, hidden states and caches out; `step` advances every query by one thought."""

    config: ModelConfig
    steps: int  # K, reasoning positions to learn; 0 = plain backbone
    step_positions: bool = True  # False: no reasoning position embedding (`naive`)
    causal: bool = True  # False: bidirectional inside a segment
    cloze: bool = False  # token N is a mask, with a vector of its own
    rows: Callable[[Array, Array], Array] = rows_of  # how items are looked up

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
        self.input_norm = layers.layer_norm(config)
        self.input_dropout = layers.Dropout(config.embedding_dropout)
        self.layers = [Layer(config) for _ in range(config.layers)]

    def lookup(
        self, table: Float[Array, "N D"], tokens: Int[Array, "B T"]
    ) -> Float[Array, "B T D"]:
        """The tokens' vectors."""
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
        asked: Int[Array, "B Q"] | None = None,
    ) -> tuple[Float[Array, "B P D"], Caches]:
        """Encode every token of every row once.

        Args:
            vectors: item vectors; what stands at padding (segment 0) reaches no other segment.
            asked: places whose last states are wanted, P = Q; None = all, P = T. Of the others
                the last layer then computes keys and values only.

        Returns:
            hidden states of the last layer, and every layer's keys and values.
        """
        visible = segments[:, :, None] == segments[:, None, :]
        if self.causal:
            visible &= jnp.tri(segments.shape[1], dtype=bool)[None]
        x = self._enter(vectors + self.position[positions], train)
        caches = []
        for layer in self.layers[:-1]:
            x, cache = layer.prefill(x, visible, train)
            caches.append(cache)
        x, cache = self.layers[-1].prefill(x, visible, train, asked)
        return x, (*caches, cache)

    def step(
        self,
        inputs: Float[Array, "B V Q D"],
        items: Caches,
        own: OwnCaches,
        index: Int[Array, ""],
        visible: Bool[Array, "B Q T"],
        train: bool,
    ) -> tuple[Float[Array, "B V Q D"], OwnCaches]:
        """Reasoning step k = index + 1 of every query of every view.

        Args:
            inputs: r_{k-1} + p_k, with noise in the noisy view; not yet normalised.
            items: the rows' cache from `prefill`, shared by the views.
            own: the earlier reasoning tokens, newest first, then those not yet written.
            visible: the items that each query may attend to.

        Returns:
            r_k of every view, and `own` with its tokens as the newest.
        """
        x = self._enter(inputs, train)
        caches = []
        for layer, layer_items, layer_own in zip(self.layers, items, own, strict=True):
            x, cache = layer.step(x, layer_items, layer_own, index, visible, train)
            caches.append(cache)
        return x, tuple(caches)

    def step_embeddings(self) -> Float[Array, "K D"]:
        """p_1 .. p_K; zeros where the method has none."""
        if self.steps and self.step_positions:
            return self.reasoning_position
        return jnp.zeros((self.steps, self.config.width), layers.parameter_dtype(self.config))

    def _enter(self, x: Array, train: bool) -> Array:
        return self.input_dropout(self.input_norm(x), train)


def _take(x: Array, places: Int[Array, "B Q"]) -> Array:
    """[B, T, n] -> [B, Q, n]."""
    return jnp.take_along_axis(x, places[..., None], axis=1)
