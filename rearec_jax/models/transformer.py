"""The post-LayerNorm Transformer layer, of which the other kinds of layers are made."""

from flax import linen as nn
from jaxtyping import Array, Float

from rearec_jax.config import ModelConfig
from rearec_jax.models import attention, layers
from rearec_jax.models.prefixes import Past, Prefixes
from rearec_jax.types import KVCache


class FeedForward(nn.Module):
    """Two linear layers with a GELU between them."""

    config: ModelConfig

    def setup(self) -> None:
        self.expand = layers.dense(self.config, self.config.hidden)
        self.contract = layers.dense(self.config, self.config.width)

    def __call__(self, x: Float[Array, "*tokens D"]) -> Float[Array, "*tokens D"]:
        return self.contract(layers.gelu(self.expand(x)))


class TransformerLayer(nn.Module):
    """A layer: x -> LN(x + dropout(attention(x))) -> LN(x + dropout(feed_forward(x))).

    A layer of another kind overrides `enter`, what attention reads; `attend` and `attend_step`, how
    tokens read others; or `finish`, what is made of that.
    """

    config: ModelConfig

    def setup(self) -> None:
        self.attention = attention.Attention(self.config)
        self.attention_norm = layers.layer_norm(self.config)
        self.feed_forward = FeedForward(self.config)
        self.feed_forward_norm = layers.layer_norm(self.config)
        self.dropout = layers.Dropout(self.config.dropout)

    def prefill(
        self, x: Float[Array, "B T D"], read: Prefixes, train: bool
    ) -> tuple[Float[Array, "B Q D"], KVCache]:
        """Encodes the queries of the rows and returns their states, and the cache of all tokens."""
        attended, cache = self.attend(x, read, train)
        return self.finish(read.take(x), attended, train), cache

    def step(
        self, x: Float[Array, "B V Q D"], past: Past, train: bool
    ) -> tuple[Float[Array, "B V Q D"], tuple[KVCache, ...]]:
        """Encodes a reasoning token of every query and view; returns caches with its own first."""
        attended, past = self.attend_step(x, past, train)
        return self.finish(x, attended, train), past.reasoning

    def attend(
        self, x: Float[Array, "B T D"], read: Prefixes, train: bool
    ) -> tuple[Float[Array, "B Q D"], KVCache]:
        """Computes what the queries take from the tokens that they read."""
        entered = self.enter(x)
        if read.queries is None:
            q, k, v = self.attention.project(entered)
        else:
            k, v = self.attention.keys_and_values(entered)
            q = self.attention.queries(read.take(entered))
        return self.attention.over_items(q, k, v, read, train), KVCache(k, v)

    def attend_step(
        self, x: Float[Array, "B V Q D"], past: Past, train: bool
    ) -> tuple[Float[Array, "B V Q D"], Past]:
        """Computes what reasoning tokens take from items, from earlier ones and from themselves.

        Returns:
            That, and the past with their cache.
        """
        q, k, v = self.attention.project(self.enter(x))
        past = past.with_newest(KVCache(k, v))
        return self.attention.over_items_and_reasoning(q, past, train), past

    def enter(self, x: Float[Array, "*tokens D"]) -> Float[Array, "*tokens D"]:
        """Returns what attention reads of the inputs."""
        return x

    def finish(
        self, x: Float[Array, "*tokens D"], attended: Float[Array, "*tokens D"], train: bool
    ) -> Float[Array, "*tokens D"]:
        """Computes the states of tokens from what they attended to."""
        x = self.attention_norm(x + self.dropout(attended, train))
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x), train))
