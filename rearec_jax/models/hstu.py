"""The layer `hstu`: pointwise attention without softmax, gated, and no feed-forward layer.

Zhai et al. 2024, https://arxiv.org/abs/2402.17152.
"""

from flax import linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from rearec_jax.models import attention, layers
from rearec_jax.models.transformer import TransformerLayer


class PointwiseAttention(attention.Attention):
    """Attention whose weights are silu(q . k) / T, with queries, keys and values through a SiLU.

    T is ``max_length``, whatever the row holds, so that packing changes nothing.
    """

    def _by_head(self, x: Float[Array, "*tokens n D"]) -> list[Float[Array, "*tokens H Dh"]]:
        return super()._by_head(nn.silu(x))

    def _scaled(self, q: Float[Array, "*tokens H Dh"]) -> Float[Array, "*tokens H Dh"]:
        return q

    def _normalised(self, scores: Float[Array, "B H Q T"]) -> Float[Array, "B H Q T"]:
        # The score of a hidden token is so low that its SiLU is 0.
        return nn.silu(scores) / self.config.max_length

    def _shares(self, weights: Float[Array, "B H Q T"]) -> Float[Array, "B H Q T"]:
        size = jnp.abs(weights)
        return size / jnp.maximum(size.sum(axis=-1, keepdims=True), jnp.finfo(size.dtype).tiny)


class HSTULayer(TransformerLayer):
    """A layer: x -> x + O dropout(LN(attention(LN(x))) * silu(U LN(x)))."""

    def setup(self) -> None:
        self.norm = layers.layer_norm(self.config)
        self.attention = PointwiseAttention(self.config, has_output=False)
        self.gate = layers.dense(self.config, self.config.width)
        self.attended_norm = layers.layer_norm(self.config)
        self.output = layers.dense(self.config, self.config.width)
        self.dropout = layers.Dropout(self.config.dropout)

    def enter(self, x: Float[Array, "*tokens D"]) -> Float[Array, "*tokens D"]:
        """Returns the normalised inputs."""
        return self.norm(x)

    def finish(
        self, x: Float[Array, "*tokens D"], attended: Float[Array, "*tokens D"], train: bool
    ) -> Float[Array, "*tokens D"]:
        """Computes the states of tokens from what they attended to."""
        gated = self.attended_norm(attended) * nn.silu(self.gate(self.norm(x)))
        return x + self.output(self.dropout(gated, train))
