"""Attention over the items of a row and over the reasoning tokens of a query."""

from collections.abc import Sequence

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rearec_jax.config import ModelConfig
from rearec_jax.models import layers
from rearec_jax.models.prefixes import Past, Prefixes
from rearec_jax.ops.matmul import apart
from rearec_jax.types import KVCache

# The score of a hidden key. Its exp() is exactly 0, also after the maximum is subtracted, and
# unlike -inf it gives no NaN where a padding query sees nothing.
HIDDEN = -1e30
# The name of the attention weights [B, H, V * Q, ...] among the intermediates.
WEIGHTS = "weights"


class Attention(nn.Module):
    """Multi-head attention that takes and returns keys and values, and keeps no state.

    With ``relative_positions`` each head adds a learned number to its scores for each distance.
    """

    config: ModelConfig
    has_output: bool = True  # whether what the heads take passes through a linear layer

    def setup(self) -> None:
        config = self.config
        self.qkv = layers.Projections(config, 3)
        if self.has_output:
            self.output = layers.dense(config, config.width)
        self.weight_dropout = layers.Dropout(config.dropout)
        if config.relative_positions:
            shape = (config.heads, config.max_length)
            self.by_distance = self.param(
                "by_distance", nn.initializers.zeros, shape, layers.parameter_dtype(config)
            )

    def project(
        self, x: Float[Array, "*tokens D"]
    ) -> tuple[
        Float[Array, "*tokens H Dh"], Float[Array, "*tokens H Dh"], Float[Array, "*tokens H Dh"]
    ]:
        """Computes queries (divided by sqrt(Dh)), keys and values in one matrix product."""
        q, k, v = self._by_head(self.qkv(x))
        return self._scaled(q), k, v

    def queries(self, x: Float[Array, "*tokens D"]) -> Float[Array, "*tokens H Dh"]:
        """Computes the queries of `project` alone."""
        (q,) = self._by_head(self.qkv(x, 0, 1))
        return self._scaled(q)

    def keys_and_values(
        self, x: Float[Array, "*tokens D"]
    ) -> tuple[Float[Array, "*tokens H Dh"], Float[Array, "*tokens H Dh"]]:
        """Computes the keys and values of `project` alone."""
        k, v = self._by_head(self.qkv(x, 1, 3))
        return k, v

    def over_items(
        self,
        q: Float[Array, "B Q H Dh"],
        keys: Float[Array, "B T H Dh"],
        values: Float[Array, "B T H Dh"],
        read: Prefixes,
        train: bool,
    ) -> Float[Array, "B Q D"]:
        """Computes the attention of each query to the tokens that it reads."""
        scores = self._of_items(q, keys, read.visible, read.distance())
        weights = self._weights(scores, train, q.dtype)
        mixed = jnp.einsum("bhqt,bthd->bqhd", weights, values)
        return self._joined(mixed.reshape(*mixed.shape[:2], -1))

    def over_items_and_reasoning(
        self, q: Float[Array, "B V Q H Dh"], past: Past, train: bool
    ) -> Float[Array, "B V Q D"]:
        """Computes the attention of each reasoning token to items and reasoning tokens together.

        One softmax is over the items of the prefix, which all views share, and the reasoning
        tokens of the same query and view. The newest of these is the token itself.
        """
        # The views share the items, so that they are as good as more queries of the same row.
        queries, reasoning = jax.tree.map(_views_as_queries, (q, past.reasoning))
        read, views = past.read, q.shape[1]
        visible = jnp.concatenate([read.visible] * views, axis=1)
        distance = jnp.concatenate([read.distance(past.steps + 1)] * views, axis=1)
        item_scores = self._of_items(queries, past.items.keys, visible, distance)
        reasoning_scores = _reasoning_scores(queries, reasoning, past.steps, item_scores.dtype)
        reasoning_scores += self._bias(jnp.arange(len(reasoning))[None, None])
        scores = jnp.concatenate([item_scores, reasoning_scores], axis=-1)
        weights = self._weights(scores, train, q.dtype)
        tokens = visible.shape[2]
        mixed = jnp.einsum("bhqt,bthd->bqhd", weights[..., :tokens], past.items.values)
        of_steps = weights[..., tokens:]
        # In training the weights hold the dropout, whose hash must not be computed for every lane.
        of_steps = apart(_query_first, of_steps) if train else _query_first(of_steps)
        mixed += _reasoning_mixed(of_steps, reasoning)
        return self._joined(mixed.reshape(*q.shape[:3], -1))

    def _by_head(self, x: Float[Array, "*tokens n D"]) -> list[Float[Array, "*tokens H Dh"]]:
        heads = self.config.heads
        x = x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads)
        return [x[..., one, :, :] for one in range(x.shape[-3])]

    def _scaled(self, q: Float[Array, "*tokens H Dh"]) -> Float[Array, "*tokens H Dh"]:
        return q * jnp.asarray(q.shape[-1] ** -0.5, q.dtype)

    def _of_items(
        self,
        q: Float[Array, "B Q H Dh"],
        keys: Float[Array, "B T H Dh"],
        visible: Bool[Array, "B Q T"],
        distance: Int[Array, "_ Q T"],
    ) -> Float[Array, "B H Q T"]:
        accumulate = jnp.promote_types(q.dtype, jnp.float32)
        scores = jnp.einsum("bqhd,bthd->bhqt", q, keys, preferred_element_type=accumulate)
        scores += self._bias(distance)
        return jnp.where(visible[:, None], scores, jnp.asarray(HIDDEN, scores.dtype))

    def _bias(self, distance: Int[Array, "_ Q T"]) -> Float[Array, "_ H Q T"] | int:
        """Returns what each head adds to its scores; the farthest distances share a number."""
        if not self.config.relative_positions:
            return 0
        nearer = jnp.clip(distance, 0, self.config.max_length - 1)
        return jnp.moveaxis(self.by_distance[:, nearer], 0, 1)

    def _weights(self, scores: Array, train: bool, dtype: jnp.dtype) -> Array:
        weights = self._normalised(scores)
        # Flax keeps them only where the caller makes the intermediates mutable.
        self.sow("intermediates", WEIGHTS, self._shares(weights))
        return self.weight_dropout(weights.astype(dtype), train)

    def _normalised(self, scores: Float[Array, "B H Q T"]) -> Float[Array, "B H Q T"]:
        """Computes the weights of the values from their scores."""
        return jax.nn.softmax(scores, axis=-1)

    def _shares(self, weights: Float[Array, "B H Q T"]) -> Float[Array, "B H Q T"]:
        """Returns how much of the whole each weight is, for whoever looks at the attention."""
        return weights

    def _joined(self, mixed: Float[Array, "*tokens D"]) -> Float[Array, "*tokens D"]:
        return self.output(mixed) if self.has_output else mixed


def _views_as_queries(x: Float[Array, "B V Q ..."]) -> Float[Array, "B VQ ..."]:
    return x.reshape(x.shape[0], -1, *x.shape[3:])


# The next two functions take one reasoning token after the other, because XLA's sums over a short
# axis beside several others are slow on CPUs, and products with as many batch axes on TPUs.
def _reasoning_scores(
    q: Float[Array, "B VQ H Dh"],
    reasoning: Sequence[KVCache],
    index: Int[Array, ""],
    dtype: jnp.dtype,
) -> Float[Array, "B H VQ K"]:
    scores = [
        jnp.where(age <= index, jnp.sum(q * token.keys, axis=-1, dtype=dtype), HIDDEN)
        for age, token in enumerate(reasoning)
    ]
    return jnp.stack(scores, axis=-1).swapaxes(1, 2)


def _reasoning_mixed(
    weights: Float[Array, "B VQ K H"], reasoning: Sequence[KVCache]
) -> Float[Array, "B VQ H Dh"]:
    mixed = weights[:, :, 0, :, None] * reasoning[0].values
    for age in range(1, len(reasoning)):
        mixed += weights[:, :, age, :, None] * reasoning[age].values
    return mixed


def _query_first(weights: Float[Array, "B H VQ K"]) -> Float[Array, "B VQ K H"]:
    return weights.transpose(0, 2, 3, 1)
