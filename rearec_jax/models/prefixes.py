"""Says which tokens of a packed row a query reads: its sequence, up to itself if causal."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rearec_jax.types import KVCache


class Prefixes(NamedTuple):
    """The prefixes of sequences that the queries of packed rows read.

    positions: The index of each token of the rows in its sequence.
    queries:   The index in the row of each query; None where every token is one, Q = T.
    visible:   Whether each query reads each token.
    """

    positions: Int[Array, "B T"]
    queries: Int[Array, "B Q"] | None
    visible: Bool[Array, "B Q T"]

    def take(self, x: Float[Array, "B T D"]) -> Float[Array, "B Q D"]:
        """Takes what tokens have at the queries."""
        return x if self.queries is None else _take(x, self.queries)

    def only(self, queries: Int[Array, "B Q"]) -> "Prefixes":
        """Returns the prefixes of these queries alone; ``self`` has those of all tokens."""
        return Prefixes(self.positions, queries, _take(self.visible, queries))

    def distance(self, steps: int | Int[Array, ""] = 0) -> Int[Array, "_ Q T"]:
        """Computes how many tokens a query stands after each token; [1, T, T] of all tokens.

        Args:
            steps: The number of reasoning tokens that follow the query, of which the last reads.
        """
        tokens = jnp.arange(self.positions.shape[1])
        queries = tokens[None] if self.queries is None else self.queries
        return queries[..., None] - tokens[None, None] + steps


class Past(NamedTuple):
    """The tokens that the reasoning tokens of one step read, in one layer.

    items:     The cache of the items of the rows, which the views share.
    reasoning: The caches of the steps before, newest first; then those of the steps that are still
               to come, which are zeros.
    steps:     The number of steps before.
    read:      The prefixes that the queries read.
    """

    items: KVCache
    reasoning: tuple[KVCache, ...]
    steps: Int[Array, ""]
    read: Prefixes

    def with_newest(self, cache: KVCache) -> "Past":
        """Returns the past with the cache of this step as the newest."""
        return self._replace(reasoning=(cache, *self.reasoning[:-1]))


def of_all_tokens(
    positions: Int[Array, "B T"], segments: Int[Array, "B T"], causal: bool
) -> Prefixes:
    """Returns the prefixes of all tokens of the rows."""
    visible = segments[:, :, None] == segments[:, None, :]
    if causal:
        visible &= jnp.tri(segments.shape[1], dtype=bool)[None]
    return Prefixes(positions, None, visible)


def of_queries(
    positions: Int[Array, "B T"],
    segments: Int[Array, "B T"],
    queries: Int[Array, "B Q"],
    causal: bool,
) -> Prefixes:
    """Returns the prefixes of some tokens of the rows."""
    of_query = jnp.take_along_axis(segments, queries, axis=1)
    visible = of_query[..., None] == segments[:, None, :]
    if causal:
        tokens = jnp.arange(segments.shape[1], dtype=queries.dtype)
        visible &= tokens[None, None] <= queries[..., None]
    return Prefixes(positions, queries, visible)


def _take(x: Array, queries: Int[Array, "B Q"]) -> Array:
    """Takes the queries of x: [B, T, n] -> [B, Q, n]."""
    return jnp.take_along_axis(x, queries[..., None], axis=1)
