"""The ranks of the targets of a split."""

from typing import NamedTuple

from jaxtyping import Int32, Int64
import numpy as np


class Ranks(NamedTuple):
    """The ranks of the targets of a split, where 1 is the best.

    examples: The index of each target in ``Interactions.items``, ascending. (With
        ``data.ties=expected``, in the interactions of `orders.Orders`.)
    by_step:  The ranks by each of r_0 .. r_K; S = 0 where ``eval.by_step`` is off.
    final:    The ranks by the method's representation, which is the mean of the steps for ERL and
              the last step for the other methods.
    """

    examples: Int64[np.ndarray, " M"]
    by_step: Int32[np.ndarray, "M S"]
    final: Int32[np.ndarray, " M"]
