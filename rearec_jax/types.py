"""Glossary of dimensions, and the values that travel between the modules.

    B  rows in a batch            V  views of a reasoning step (1, or 2 with the noisy one)
    T  tokens in a row            K  reasoning steps
    Q  queries in a row           D  model width
    N  items in the catalogue     H  attention heads        L  layers
    M  states to score, one after another (M = B * Q, or queries of an evaluation block)

A *row* holds several users' sequences end to end, each a *segment*. A *query* is a position of a
row from which reasoning starts. See docs/design.md for why.
"""

from typing import NamedTuple

import jax
from jaxtyping import Array, Float, Int, UInt32


class Batch(NamedTuple):
    """Packed rows and their queries (numpy arrays until the loader puts them on the device).

    tokens:     item ids; 0 where ``segments`` is 0 (padding; item 0 is a real item elsewhere).
    positions:  index of the token in its (truncated) sequence, 0 = the oldest item kept.
    segments:   1, 2, ... within a row; 0 is padding.
    queries:    token positions, 0 <= query < T, from which reasoning starts.
    targets:    the item after each query.
    weights:    1.0 where the query counts; 0.0 for padding of the query list and for queries whose
                target belongs to another split.
    users:      user index of each query, -1 in padding: tells one user's examples from another's.
    """

    tokens: Int[Array, "B T"]
    positions: Int[Array, "B T"]
    segments: Int[Array, "B T"]
    queries: Int[Array, "B Q"]
    targets: Int[Array, "B Q"]
    weights: Float[Array, "B Q"]
    users: Int[Array, "B Q"]


class KVCache(NamedTuple):
    """Keys and values of one layer: of a row's items, or of one reasoning token of every query.

    Items:     [B, T, H, D/H], written once by ``prefill``.
    Reasoning: [B, V, Q, H, D/H], one a step.
    """

    keys: Float[Array, "*tokens H Dh"]
    values: Float[Array, "*tokens H Dh"]


Caches = tuple[KVCache, ...]
"""One cache a layer. Not one stacked array: slicing it would copy every layer at every step."""

OwnCaches = tuple[tuple[KVCache, ...], ...]
"""The reasoning tokens of every layer, newest first, one cache a step. Not one stacked array, which
every step would copy to write its place, and of which the backward pass would keep all copies."""


class Catalogue(NamedTuple):
    """What is known of the items besides what is learned; None where nothing reads it.

    text:            vectors of their text.
    cumulative, log_probability: how they are drawn as negatives (see `sampling`).
    """

    text: Float[Array, "N F"] | None = None
    cumulative: UInt32[Array, " N"] | None = None
    log_probability: Float[Array, " N"] | None = None


class Reasoning(NamedTuple):
    """What the unroll returns.

    states: r_0 .. r_K of the clean view.
    noisy:  r~_1 .. r~_K of the noisy view, or None where there is no such view.
    attention: of the token of r_0 .. r_K to each token of the row, in the last layer, the mean over
        heads; what it gives to reasoning tokens is missing to 1. None unless asked for.
    """

    states: Float[Array, "B Q K+1 D"]
    noisy: Float[Array, "B Q K D"] | None
    attention: Float[Array, "B Q K+1 T"] | None = None


Scalar = float | Float[Array, ""]
"""A number of the options; traced where several trainings share a program."""

PRNGKey = jax.Array
