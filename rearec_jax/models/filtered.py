"""The layer `filtered`: half attention, half a learned causal filter along the sequence.

Each channel of a token is mixed with the same channel of the tokens just before it,
y_t = sum_s w_s * x_{t-s}. In short histories attention of two layers hardly sees order, and filters
do: FMLP-Rec (Zhou et al. 2022, https://arxiv.org/abs/2202.13556) and BSARec (Shin et al. 2024,
https://arxiv.org/abs/2312.10325) learn them in the frequencies of padded rows. There they are
circular and see later items; these are causal, and stay within a segment of a packed row.
"""

from typing import Any, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rearec_jax.models import layers
from rearec_jax.models.prefixes import Past, Prefixes
from rearec_jax.models.transformer import TransformerLayer
from rearec_jax.types import KVCache


class FilteredLayer(TransformerLayer):
    """A Transformer layer in which (attention + filter) / 2 takes the place of attention.

    A reasoning token continues the sequence: its filter reads the reasoning tokens before it and
    the last items of the prefix.
    """

    def setup(self) -> None:
        super().setup()
        shape, dtype = (self.config.taps, self.config.width), layers.parameter_dtype(self.config)
        self.taps = self.param("taps", _decaying, shape, dtype)

    def attend(
        self, x: Float[Array, "B T D"], read: Prefixes, train: bool
    ) -> tuple[Float[Array, "B Q D"], KVCache]:
        """Computes what the queries take from the tokens that they read."""
        attended, cache = super().attend(x, read, train)
        filtered = read.take(causal_filter(x, self.taps.astype(x.dtype), read.positions))
        return (attended + filtered) / 2, cache._replace(inputs=x)

    def attend_step(
        self, x: Float[Array, "B V Q D"], past: Past, train: bool
    ) -> tuple[Float[Array, "B V Q D"], Past]:
        """Computes what reasoning tokens take from items, from earlier ones and from themselves."""
        attended, past = super().attend_step(x, past, train)
        newest, *earlier = past.reasoning
        past = past._replace(reasoning=(newest._replace(inputs=x), *earlier))
        taps = self.taps.astype(x.dtype)
        # From the token of this step, the last item of the prefix is steps + 1 tokens away.
        later = jax.lax.dynamic_slice_in_dim(
            jnp.pad(taps, ((0, len(past.reasoning)), (0, 0))), past.steps + 1, len(taps)
        )
        items = causal_filter(cast(Array, past.items.inputs), later, past.read.positions)
        # The tokens of steps to come are zeros, and so add nothing.
        tokens = sum(
            cast(Array, token.inputs) * tap[None, None, None]
            for token, tap in zip(past.reasoning, taps, strict=False)
        )
        return (attended + past.read.take(items)[:, None] + tokens) / 2, past


def causal_filter(
    x: Float[Array, "B T D"], taps: Float[Array, "S D"], positions: Int[Array, "B T"]
) -> Float[Array, "B T D"]:
    """Computes y_t = sum_s taps_s * x_{t-s} over the tokens of the same segment."""
    taps = taps[:, None, None]
    before, tokens = len(taps) - 1, x.shape[1]  # in exports the number of tokens is a symbol
    padded = jnp.pad(x, ((0, 0), (before, 0), (0, 0)))
    filtered = x * taps[0]
    for age in range(1, len(taps)):
        earlier = padded[:, before - age : before - age + tokens]
        filtered += jnp.where((positions >= age)[..., None], earlier, 0) * taps[age]
    return filtered


def _decaying(key: Any, shape: tuple[int, int], dtype: jnp.dtype) -> Float[Array, "S D"]:
    """Returns .3 exp(-s / 3) for the tap of the s-th token before; nothing is drawn."""
    ages = jnp.arange(shape[0], dtype=dtype)
    return jnp.broadcast_to(0.3 * jnp.exp(-ages / 3)[:, None], shape)
