"""The orders in which the targets of a split are ranked: the file's, or all that ties allow.

With ``data.ties=expected`` a held-out target in a group of g interactions of the same time is
ranked in g orders, which rotate the group. So each of the g items is the target once, after the
group's other items that the rotation puts before it, and counts 1 / g. Other groups keep the order
of the file.
"""

from typing import NamedTuple

from jaxtyping import Float64, Int, Int64
import numpy as np

from rearec_jax.config import DataConfig
from rearec_jax.data import ties
from rearec_jax.data.batches.packing import within
from rearec_jax.data.interactions import CONTEXT, TEST, VALIDATION, Interactions
from rearec_jax.evaluation.metrics import METRICS, metric
from rearec_jax.evaluation.ranks import Ranks


class Orders(NamedTuple):
    """The data with another user for each other order, and what each target counts.

    data:    The interactions: the data set's own, then those of the other orders.
    own:     The number of the data set's own interactions.
    file:    The target that each stands for, as an index of the data set's own interactions; None:
        itself.
    weights: The share of a target in the mean that it stands in; None: all are 1.
    """

    data: Interactions
    own: int
    file: Int64[np.ndarray, "total"] | None = None
    weights: Float64[np.ndarray, "total"] | None = None

    def weights_of(self, ranks: Ranks) -> Float64[np.ndarray, " M"] | None:
        """Returns the weight of each of the ranked targets; None: all are 1."""
        return None if self.weights is None else self.weights[ranks.examples]

    def in_file(self, ranks: Ranks) -> Ranks:
        """Returns the ranks of the targets in the file's order alone."""
        own = ranks.examples < self.own
        return Ranks(*(part[own] for part in ranks))

    def expected(self, ranks: Ranks) -> dict[str, Float64[np.ndarray, " M"]]:
        """Computes the mean of each metric over a target's orders, a value for each in the file.

        It is empty where the file's order is the only one.
        """
        if self.weights is None or self.file is None:
            return {}
        targets, row = np.unique(self.file[ranks.examples], return_inverse=True)
        weights = self.weights[ranks.examples]
        return {
            name: np.bincount(row, weights * metric(name, ranks.final), minlength=len(targets))
            for name in METRICS
        }


def orders(data: Interactions, config: DataConfig) -> Orders:
    """Returns the orders that ``data.ties`` asks for."""
    own = len(data.items)
    if config.ties != "expected":
        return Orders(data, own)
    held_out = (data.split == VALIDATION) | (data.split == TEST)
    group = ties.groups(data)
    sizes = np.bincount(group, minlength=own)[group]
    first = np.unique(group[held_out & (sizes > 1)])
    place, moved, lengths = _rotated(data, first, sizes[first])
    starts = np.repeat(np.repeat(first, sizes[first] - 1), lengths)
    every = np.concatenate([np.arange(own), place])
    split = np.where(place < starts, CONTEXT, data.split[place]).astype(np.uint8)
    ranked = Interactions(
        items=np.concatenate([data.items, data.items[moved]]),
        offsets=np.concatenate([data.offsets, own + np.cumsum(lengths)]),
        split=np.concatenate([data.split, split]),
        timestamps=None if data.timestamps is None else data.timestamps[every],
        user_ids=data.user_ids,
        item_ids=data.item_ids,
        item_text=None,
        name=data.name,
        training_lengths=np.concatenate([data.limits(), np.zeros_like(lengths)]),
    )
    return Orders(ranked, own, every, np.where(held_out, 1 / sizes, 1.0)[every])


def _rotated(
    data: Interactions, first: Int[np.ndarray, " G"], sizes: Int[np.ndarray, " G"]
) -> tuple[Int64[np.ndarray, " P"], Int64[np.ndarray, " P"], Int64[np.ndarray, " U"]]:
    """Returns the sequences up to the end of each group, once for each rotation of it but the own.

    Returns:
        The place of each interaction in the file's order, the place whose item stands there, and
        the length of each sequence.
    """
    rows = np.repeat(np.arange(len(first)), sizes - 1)
    shift = 1 + within(sizes - 1)
    begin = data.offsets[np.searchsorted(data.offsets, first, "right") - 1]
    lengths = (first + sizes - begin)[rows]
    place = np.repeat(begin[rows], lengths) + within(lengths)
    start, size = np.repeat(first[rows], lengths), np.repeat(sizes[rows], lengths)
    turned = start + (place - start + np.repeat(shift, lengths)) % size
    return place, np.where(place < start, place, turned), lengths
