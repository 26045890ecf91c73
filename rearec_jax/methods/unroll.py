"""The rule by which the steps of a method follow each other.

What a method learns beside the encoder are its `Weights`: arrays with names, which the model draws
and keeps with those of the encoder.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxtyping import Array, Float

Weights = Mapping[str, Float[Array, "..."]]
Carried = Any  # an array [B, V, Q, D], or a tuple of such arrays; views do not see each other
Encode = Callable[[Float[Array, "B V Q D"]], Float[Array, "B V Q D"]]


def _as_it_is(first: Float[Array, "B 1 Q D"], weights: Weights) -> Carried:
    return first


def _fed_back(encode: Encode, carried: Carried, weights: Weights) -> Carried:
    return encode(carried)


def _first_view(
    carried: Carried, first: Float[Array, "B Q D"], weights: Weights
) -> Float[Array, "B Q D"]:
    return carried[:, 0]


def _left_alone(
    states: Float[Array, "*tokens D"], table: Float[Array, "N D"], weights: Weights
) -> Float[Array, "*tokens D"]:
    return states


class Unroll(NamedTuple):
    """The rule of one step; without changes it is that of ReaRec: r_k = encode(r_{k-1}).

    Its functions are pure. Only with ReaRec's `step` may a loss have a noisy view, a second one.

    start:     Makes what is carried to the first step of r_0 and the weights.
    step:      Makes what is carried on of what was, with `encode`, which adds p_k to its inputs and
        sends them through the encoder, as tokens that read the items of the prefix.
    state:     Makes the state r_k, by which items can be scored, of what is carried and of r_0.
    output:    Maps all that leaves the encoder, also r_0, of the states, the item vectors and the
        weights.
    remembers: Whether a token also reads those of the earlier steps; then a step encodes once.
    """

    start: Callable[[Float[Array, "B 1 Q D"], Weights], Carried] = _as_it_is
    step: Callable[[Encode, Carried, Weights], Carried] = _fed_back
    state: Callable[[Carried, Float[Array, "B Q D"], Weights], Float[Array, "B Q D"]] = _first_view
    output: Callable[
        [Float[Array, "*tokens D"], Float[Array, "N D"], Weights], Float[Array, "*tokens D"]
    ] = _left_alone
    remembers: bool = True


PLAIN = Unroll()
