"""Item encoders, which turn the catalogue into a table of vectors.

Each is called as ``encoder(text, train)`` with the text vectors of the items [N, F], or with their
features (None where the encoder reads neither), and returns [N, D]. There is no row for padding,
which is no item.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rearec_jax.config import ModelConfig
from rearec_jax.models import layers
from rearec_jax.ops import random_arrays
from rearec_jax.types import Features

Text = Float[Array, "N F"] | Features | None
GATE_NOISE_FLOOR = 1e-2  # the least standard deviation of the gates' noise, as in UniSRec


class ItemIds(nn.Module):
    """A free vector for each item (SASRec, BERT4Rec), plus those of its features if there are any.

    Each value of a feature has a vector. Those of a column's several values are averaged.
    """

    config: ModelConfig
    num_items: int

    @nn.compact
    def __call__(self, text: Text, train: bool) -> Float[Array, "N D"]:
        init = nn.initializers.normal(self.config.init_stddev)
        dtype, width = layers.parameter_dtype(self.config), self.config.width
        table = self.param("table", init, (self.num_items, width), dtype)
        if not isinstance(text, Features):
            return table
        values = self.param("features", init, (text.count, width), dtype)
        weights = text.weights.astype(dtype)
        return table + jnp.einsum("nm,nmd->nd", weights, values[text.codes])


class WhiteningExperts(nn.Module):
    """A mixture of parametric whitenings of the text vectors (UniSRec, arXiv 2206.05941, eq. 2-5).

    e_n = sum_k g_nk (x_n - b_k) W_k, gates g_n = softmax(x_n W_g + z_n (softplus(x_n W_s) + .01)),
    with standard normal noise z_n in training, and without it otherwise. All experts see the same
    dropout mask of x_n, so that they are one matrix product; UniSRec draws a mask for each expert.
    """

    config: ModelConfig

    @nn.compact
    def __call__(self, text: Text, train: bool) -> Float[Array, "N D"]:
        config = self.config
        dtype = jnp.dtype(config.dtype)
        experts, width = config.experts, config.width
        x = layers.Dropout(config.text_dropout)(_text(text, config), train)
        kernel = self._param("kernel", config.init_stddev, (x.shape[1], experts, width))
        bias = self._param("bias", 0.0, (experts, x.shape[1]))
        kernel, bias = kernel.astype(dtype), bias.astype(dtype)
        whitened = (x @ kernel.reshape(x.shape[1], -1)).reshape(-1, experts, width)
        gates = self._gates(_text(text, config), train)
        # b_k W_k is gated apart from x_n W_k, so that its gradient is a small product of the gates.
        shift = jnp.einsum("kf,fkd->kd", bias, kernel)
        return jnp.sum(gates[..., None] * whitened, axis=1) - gates @ shift

    def _gates(self, x: Float[Array, "N F"], train: bool) -> Float[Array, "N E"]:
        shape = (x.shape[1], self.config.experts)
        gate, gate_noise = self._param("gate", 0.0, shape), self._param("gate_noise", 0.0, shape)
        # This is one product, because it does little but read the text, and so does its gradient.
        both = x @ jnp.concatenate([gate, gate_noise], axis=1).astype(x.dtype)
        logits, spread = jnp.split(both, 2, axis=1)
        if train:
            noise = random_arrays.normal(self.make_rng("dropout"), logits.shape, logits.dtype)
            floor = jnp.asarray(GATE_NOISE_FLOOR, x.dtype)
            logits += noise * (jax.nn.softplus(spread) + floor)
        return jax.nn.softmax(logits, axis=-1)

    def _param(self, name: str, stddev: float, shape: tuple[int, ...]) -> Array:
        init = nn.initializers.normal(stddev) if stddev else nn.initializers.zeros
        return self.param(name, init, shape, layers.parameter_dtype(self.config))


class Projection(nn.Module):
    """Two linear layers, with a GELU between, from text vectors to the model's width (MoRec)."""

    config: ModelConfig

    @nn.compact
    def __call__(self, text: Text, train: bool) -> Float[Array, "N D"]:
        x = layers.Dropout(self.config.text_dropout)(_text(text, self.config), train)
        hidden = layers.dense(self.config, self.config.width, "expand")(x)
        return layers.dense(self.config, self.config.width, "contract")(layers.gelu(hidden))


class TextAndIds(nn.Module):
    """The sum of encoded text and a free vector for each item (UniSRec's transductive setting)."""

    text: nn.Module
    ids: ItemIds

    def __call__(self, text: Text, train: bool) -> Float[Array, "N D"]:
        of_text = self.text(text, train)
        return of_text + self.ids(text, train).astype(of_text.dtype)


def item_encoder(config: ModelConfig, num_items: int) -> nn.Module:
    """Builds the encoder that `model.items` and `model.item_ids` name."""
    ids = ItemIds(config, num_items)
    if config.items == "ids":
        return ids
    text = {"whitening": WhiteningExperts, "projection": Projection}[config.items](config)
    return TextAndIds(text, ids) if config.item_ids else text


def _text(text: Text, config: ModelConfig) -> Float[Array, "N F"]:
    if text is None or isinstance(text, Features):
        raise ValueError(f"model.items={config.items} needs the items' text vectors")
    return text.astype(jnp.dtype(config.dtype))
