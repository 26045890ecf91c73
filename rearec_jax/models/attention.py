"""Attention over a row's items and over a query's own reasoning tokens."""

from collections.abc import Sequence

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rearec_jax.config import ModelConfig
from rearec_jax.models import layers
from rearec_jax.ops.matmul import apart
from rearec_jax.types import KVCache

# Added to the scores of hidden keys. exp() of it is exactly 0, also after subtracting the maximum,
# and unlike -inf it gives no NaN where a padding query sees nothing.
HIDDEN = -1e30
WEIGHTS = "weights"  # name of the softmax's result [B, H, V * Q, ...] among the intermediates


class Attention(nn.Module):
    """Multi-head attention whose keys and values are explicit values, not module state."""

    config: ModelConfig

    def setup(self) -> None:
        self.qkv = layers.Projections(self.config, 3)
        self.output = layers.dense(self.config, self.config.width)
        self.weight_dropout = layers.Dropout(self.config.dropout)

    def project(
        self, x: Float[Array, "*tokens D"]
    ) -> tuple[
        Float[Array, "*tokens H Dh"], Float[Array, "*tokens H Dh"], Float[Array, "*tokens H Dh"]
    ]:
        """Queries (already divided by sqrt(Dh)), keys and values: one product for all three."""
        q, k, v = self._by_head(self.qkv(x))
        return self._scaled(q), k, v

    def queries(self, x: Float[Array, "*tokens D"]) -> Float[Array, "*tokens H Dh"]:
        """The first that `project` gives, alone."""
        (q,) = self._by_head(self.qkv(x, 0, 1))
        return self._scaled(q)

    def keys_and_values(
        self, x: Float[Array, "*tokens D"]
    ) -> tuple[Float[Array, "*tokens H Dh"], Float[Array, "*tokens H Dh"]]:
        """The other two that `project` gives, alone."""
        k, v = self._by_head(self.qkv(x, 1, 3))
        return k, v

    def over_items(
        self,
        q: Float[Array, "B Q H Dh"],
        keys: Float[Array, "B T H Dh"],
        values: Float[Array, "B T H Dh"],
        visible: Bool[Array, "B Q T"],
        train: bool,
    ) -> Float[Array, "B Q D"]:
        """Each token attends to the visible tokens of its row."""
        scores = _scores(q, keys, visible)
        weights = self._softmax(scores, train, q.dtype)
        mixed = jnp.einsum("bhqt,bthd->bqhd", weights, values)
        return self.output(mixed.reshape(*mixed.shape[:2], -1))

    def over_items_and_own(
        self,
        q: Float[Array, "B V Q H Dh"],
        items: KVCache,
        own: Sequence[KVCache],
        visible: Bool[Array, "B Q T"],
        index: Int[Array, ""],
        train: bool,
    ) -> Float[Array, "B V Q D"]:
        """One softmax over the row's visible items (shared by the views) and the own tokens.

        Args:
            own: index + 1 tokens, newest first, and those not yet written.
        """
        # The views share the items: they are more queries of the same row.
        queries, own = jax.tree.map(_views_as_queries, (q, own))
        visible = jnp.concatenate([visible] * q.shape[1], axis=1)
        item_scores = _scores(queries, items.keys, visible)
        own_scores = _own_scores(queries, own, index, item_scores.dtype)
        weights = self._softmax(jnp.concatenate([item_scores, own_scores], axis=-1), train, q.dtype)
        tokens = visible.shape[2]
        mixed = jnp.einsum("bhqt,bthd->bqhd", weights[..., :tokens], items.values)
        own_weights = weights[..., tokens:]
        # In training dropout is in them, and its hash is not to be computed once for every lane.
        by_query = apart(_query_first, own_weights) if train else _query_first(own_weights)
        mixed += _own_mixed(by_query, own)
        return self.output(mixed.reshape(*q.shape[:3], -1))

    def _by_head(self, x: Float[Array, "*tokens n D"]) -> list[Float[Array, "*tokens H Dh"]]:
        heads = self.config.heads
        x = x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads)
        return [x[..., one, :, :] for one in range(x.shape[-3])]

    def _scaled(self, q: Float[Array, "*tokens H Dh"]) -> Float[Array, "*tokens H Dh"]:
        return q * jnp.asarray(q.shape[-1] ** -0.5, q.dtype)

    def _softmax(self, scores: Array, train: bool, dtype: jnp.dtype) -> Array:
        weights = jax.nn.softmax(scores, axis=-1)
        self.sow("intermediates", WEIGHTS, weights)  # nothing, unless the caller asks for them
        return self.weight_dropout(weights.astype(dtype), train)


def _views_as_queries(x: Float[Array, "B V Q ..."]) -> Float[Array, "B VQ ..."]:
    return x.reshape(x.shape[0], -1, *x.shape[3:])


def _scores(q: Array, keys: Array, visible: Array) -> Float[Array, "B H Q T"]:
    accumulate = jnp.promote_types(q.dtype, jnp.float32)
    scores = jnp.einsum("bqhd,bthd->bhqt", q, keys, preferred_element_type=accumulate)
    return jnp.where(visible[:, None], scores, jnp.asarray(HIDDEN, scores.dtype))


# One own token after the other in both: XLA's sums over a short axis beside several others are slow
# on CPUs, and so are products with as many batch axes on TPUs.
def _own_scores(
    q: Float[Array, "B VQ H Dh"], own: Sequence[KVCache], index: Int[Array, ""], dtype: jnp.dtype
) -> Float[Array, "B H VQ K"]:
    scores = [
        jnp.where(place <= index, jnp.sum(q * token.keys, axis=-1, dtype=dtype), HIDDEN)
        for place, token in enumerate(own)
    ]
    return jnp.stack(scores, axis=-1).swapaxes(1, 2)


def _own_mixed(
    weights: Float[Array, "B VQ K H"], own: Sequence[KVCache]
) -> Float[Array, "B VQ H Dh"]:
    mixed = weights[:, :, 0, :, None] * own[0].values
    for place in range(1, len(own)):
        mixed += weights[:, :, place, :, None] * own[place].values
    return mixed


def _query_first(weights: Float[Array, "B H VQ K"]) -> Float[Array, "B VQ K H"]:
    return weights.transpose(0, 2, 3, 1)
