"""The layer `ligr`: pre-LayerNorm, with a learned gate on each residual branch.

Borisyuk et al. 2025, https://arxiv.org/abs/2502.03417; as eSASRec, Tikhonovich et al. 2025,
https://arxiv.org/abs/2508.06450, arranges it.
"""

from flax import linen as nn
from jaxtyping import Array, Float

from rearec_jax.config import ModelConfig
from rearec_jax.models import attention, layers
from rearec_jax.models.transformer import TransformerLayer


class SwiGLU(nn.Module):
    """A feed-forward layer: x -> V (dropout(silu(W x) * U x))."""

    config: ModelConfig

    def setup(self) -> None:
        self.expand = layers.dense(self.config, 2 * self.config.hidden)
        self.contract = layers.dense(self.config, self.config.width)
        self.dropout = layers.Dropout(self.config.dropout)

    def __call__(self, x: Float[Array, "*tokens D"], train: bool) -> Float[Array, "*tokens D"]:
        hidden = self.expand(x)
        gate, value = hidden[..., : self.config.hidden], hidden[..., self.config.hidden :]
        return self.contract(self.dropout(nn.silu(gate) * value, train))


class LiGRLayer(TransformerLayer):
    """A layer: x -> x + sigmoid(G x) * f(LN(x)), with attention as f and then with SwiGLU."""

    def setup(self) -> None:
        self.attention = attention.Attention(self.config)
        self.attention_norm = layers.layer_norm(self.config)
        self.attention_gate = layers.dense(self.config, self.config.width)
        self.swiglu = SwiGLU(self.config)
        self.swiglu_norm = layers.layer_norm(self.config)
        self.swiglu_gate = layers.dense(self.config, self.config.width)
        self.dropout = layers.Dropout(self.config.dropout)

    def enter(self, x: Float[Array, "*tokens D"]) -> Float[Array, "*tokens D"]:
        """Returns the normalised inputs."""
        return self.attention_norm(x)

    def finish(
        self, x: Float[Array, "*tokens D"], attended: Float[Array, "*tokens D"], train: bool
    ) -> Float[Array, "*tokens D"]:
        """Computes the states of tokens from what they attended to."""
        x += nn.sigmoid(self.attention_gate(x)) * self.dropout(attended, train)
        fed = self.swiglu(self.swiglu_norm(x), train)
        return x + nn.sigmoid(self.swiglu_gate(x)) * self.dropout(fed, train)
