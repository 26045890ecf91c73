"""The names of dimensions, and the values that travel between modules.

    B  rows in a batch            V  views of a reasoning step (streams, and once more if noisy)
    T  tokens in a row            K  reasoning steps
    Q  queries in a row           D  model width
    N  items in the catalogue     H  attention heads        L  layers
    M  examples, one after another (M = B * Q, or the queries of an evaluation block)

A *row* holds several users' sequences end to end, each of which is a *segment*. A *query* is a
position of a row from which reasoning starts. docs/design.md says why.
"""

from collections.abc import Mapping
import dataclasses
import functools
from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Float, Int, UInt32


class Batch(NamedTuple):
    """Packed rows and their queries (NumPy arrays until the loader puts them on the device).

    tokens:     The ids of the items; 0 in padding, where ``segments`` is 0 (0 is also an item).
    positions:  The index of each token in its sequence, where 0 is the oldest item that is kept.
    segments:   The number of each token's segment in its row, from 1; 0 is padding.
    queries:    The positions, 0 <= query < T, from which reasoning starts.
    targets:    The item after each query.
    weights:    The weight of each query in sums: 1.0, or 0.0 for padding and for queries whose
                target belongs to another split.
    users:      The index of each query's user, by which examples of the same user are known; -1 in
                padding.
    """

    tokens: Int[Array, "B T"]
    positions: Int[Array, "B T"]
    segments: Int[Array, "B T"]
    queries: Int[Array, "B Q"]
    targets: Int[Array, "B Q"]
    weights: Float[Array, "B Q"]
    users: Int[Array, "B Q"]


class KVCache(NamedTuple):
    """The keys and values of one layer, of the items of all rows or of one reasoning step.

    Those of items have the shape [B, T, H, D/H], and those of a step, of one reasoning token of
    each query and view, [B, V, Q, H, D/H].

    inputs: The inputs of the layer, where later tokens read them too; None where they do not.
    """

    keys: Float[Array, "*tokens H Dh"]
    values: Float[Array, "*tokens H Dh"]
    inputs: Float[Array, "*tokens D"] | None = None


Caches = tuple[KVCache, ...]
"""The caches of all layers. Slicing one stacked array would copy every layer at every step."""

ReasoningCaches = tuple[tuple[KVCache, ...], ...]
"""The caches of all reasoning steps, newest first, in each layer. One stacked array would be copied
by every step that writes to it, and the backward pass would keep all of the copies."""


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["codes", "weights"], meta_fields=["count"]
)
@dataclasses.dataclass(frozen=True)
class Features:
    """The features of the items, such as brand and category, as a sparse matrix [N, V].

    codes:   The numbers of each item's values, below V: Int[N, M].
    weights: The weight of each: 1 / n of an item's n values of a column; 0 where there is none.
    count:   V, the number of values of all columns.
    """

    codes: Any  # no type: JAX makes this class of shapes, shardings and more in place of arrays
    weights: Any
    count: int


class Catalogue(NamedTuple):
    """The constants of the items; None where a run does not read them.

    text:            What the item encoder reads: vectors of their texts, or their features.
    cumulative:      The cumulative probability, in 32 bits, with which each is drawn as a negative.
    log_probability: The logarithm of that probability, or of an item's share of the targets (see
                     `training.catalogue_sample`).
    neighbours:      The nearest items of each item, nearest first; N fills rows.
    """

    text: Float[Array, "N F"] | Features | None = None
    cumulative: UInt32[Array, " N"] | None = None
    log_probability: Float[Array, " N"] | None = None
    neighbours: Int[Array, "N n"] | None = None


class Reasoning(NamedTuple):
    """The result of reasoning.

    states:    The states r_0 .. r_K of the clean view.
    noisy:     The states r~_1 .. r~_K of the noisy view, or of the one with other dropout; None
               where there is no such view.
    attention: The attention of the tokens of r_0 .. r_K to the tokens of the row in the last layer,
               the mean over heads; what is missing to 1 goes to reasoning tokens. It is None unless
               it is requested.
    weights:   What the method learned beside the encoder (`methods.unroll`), by name; None where
               that is nothing.
    carried:   What was carried from each of the steps 1 .. K (`methods.unroll`), a step after the
               other; None where that is the states alone.
    """

    states: Float[Array, "B Q K+1 D"]
    noisy: Float[Array, "B Q K D"] | None
    attention: Float[Array, "B Q K+1 T"] | None = None
    weights: Mapping[str, Float[Array, "..."]] | None = None
    carried: Any = None


Scalar = float | Float[Array, ""]
"""A number of the options, which is traced where several trainings share a program."""

PRNGKey = jax.Array
