"""The small catalogue of an update whose loss is over a sample of the items.

It holds the items of the batch, their targets and the sample. The update runs on it as on any other
catalogue, in local ids, and costs nothing for the items outside.
"""

from typing import Any, NamedTuple, TypeVar, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32, Float64, Int, Shaped, UInt32
import numpy as np

from rearec_jax.config import TrainConfig
from rearec_jax.losses.sampled import Sample
from rearec_jax.types import Batch, Catalogue, PRNGKey

Tree = TypeVar("Tree")
WORDS = 2**32


class Distribution(NamedTuple):
    """The distribution that negatives are drawn from, on the host.

    cumulative:      The last 32-bit word that draws each item; of the last item 2^32 - 1. A random
        word draws the first item whose value is not below it.
    log_probability: The logarithm of each item's probability.
    """

    cumulative: UInt32[np.ndarray, "N"]
    log_probability: Float32[np.ndarray, "N"]


def distribution(counts: Int[np.ndarray, "N"], power: float) -> Distribution:
    """Makes the distribution in proportion to (count + 1)^power; every item can be drawn."""
    weight = (counts + 1.0) ** power
    cumulative = np.cumsum(weight / weight.sum())
    # Whole words, at least one an item, so that the probabilities are exactly those of the draws.
    items = len(counts)
    ends = np.floor(cumulative * (WORDS - items)).astype(np.int64) + np.arange(1, items + 1)
    ends[-1] = WORDS
    widths = np.diff(ends, prepend=0)
    return Distribution((ends - 1).astype(np.uint32), np.log(widths / WORDS).astype(np.float32))


def log_shares(counts: Float64[np.ndarray, "N"]) -> Float32[np.ndarray, "N"]:
    """Returns the logarithm of each item's share of the targets; -inf for an item that is none."""
    with np.errstate(divide="ignore"):
        return np.log(counts / counts.sum()).astype(np.float32)


def draw(config: TrainConfig, catalogue: Catalogue, batch: Batch, key: PRNGKey) -> Sample:
    """Draws the items of a loss over a sample.

    With `train.loss=sampled` they come from the distribution, with replacement. With `in_batch`
    they are the targets of the batch, drawn in proportion to how often items are targets. Over all
    batches their sum is then that over the items that are targets at all. For a single user it is
    more: the other targets of the user are in the batch for certain and weigh like the rest.
    """
    assert catalogue.log_probability is not None
    if config.loss == "in_batch":
        items = batch.targets.reshape(-1)
        real = batch.weights.reshape(-1) > 0
        size = jnp.maximum(real.sum(), 1).astype(jnp.float32)
    else:
        assert catalogue.cumulative is not None
        words = jax.random.bits(key, (config.sampled_items,), "uint32")
        items = jnp.searchsorted(catalogue.cumulative, words).astype(jnp.int32)
        real, size = jnp.ones(items.shape, bool), jnp.float32(config.sampled_items)
    log_weight = -jnp.log(size) - catalogue.log_probability[items]
    return Sample(items, jnp.where(real, log_weight, -jnp.inf))


class Touched(NamedTuple):
    """The items that an update touches.

    ids:       Their ids, ascending, each once; N fills the rest.
    num_items: The items of the whole catalogue, N.
    """

    ids: Int[Array, " S"]
    num_items: int

    def localise(self, ids: Int[Array, "*shape"]) -> Int[Array, "*shape"]:
        """Maps ids to indices of `ids`; the mask of the cloze objective, N, becomes S."""
        places = jnp.searchsorted(self.ids, ids).astype(ids.dtype)
        return jnp.where(ids < self.num_items, places, self.ids.shape[0])

    def batch(self, batch: Batch) -> Batch:
        """Returns the batch in local ids."""
        return batch._replace(
            tokens=self.localise(batch.tokens), targets=self.localise(batch.targets)
        )

    def catalogue(self, catalogue: Catalogue) -> Catalogue:
        """Returns the text vectors or features of the touched items, where there are any."""
        return Catalogue(text=jax.tree.map(self._rows, catalogue.text))

    def take(self, tree: Tree) -> Tree:
        """Returns the tree with the touched rows alone of free vectors and their moments."""
        taken = jax.tree_util.tree_map_with_path(
            lambda path, leaf: self._rows(leaf) if is_item_table(path) else leaf, tree
        )
        return cast(Tree, taken)

    def put(self, tree: Tree, local: Tree) -> Tree:
        """Returns ``local``, its rows of free vectors put back among those of ``tree``."""

        def merge(path: tuple[Any, ...], whole: Array, part: Array) -> Array:
            if not is_item_table(path):
                return part
            return whole.at[self.ids].set(part, mode="drop")

        return cast(Tree, jax.tree_util.tree_map_with_path(merge, tree, local))

    def _rows(self, table: Shaped[Array, "N ..."]) -> Shaped[Array, "S ..."]:
        return jnp.take(table, self.ids, axis=0, mode="clip")


def touched(batch: Batch, sample: Sample, num_items: int) -> Touched:
    """Collects the items of a batch, of its targets and of the sample, without any padding."""
    tokens = jnp.where(batch.segments > 0, batch.tokens, num_items)
    targets = jnp.where(batch.weights > 0, batch.targets, num_items)
    drawn = jnp.where(jnp.isneginf(sample.log_weight), num_items, sample.items)
    every = jnp.concatenate([tokens.reshape(-1), targets.reshape(-1), drawn])
    ids = jnp.unique(every, size=every.shape[0], fill_value=num_items)
    return Touched(ids, num_items)


class SmallCatalogue(NamedTuple):
    """The inputs of an update over a sample, in local ids."""

    touched: Touched
    batch: Batch
    catalogue: Catalogue
    sample: Sample


def small_catalogue(
    config: TrainConfig, catalogue: Catalogue, batch: Batch, num_items: int, key: PRNGKey
) -> SmallCatalogue:
    """Draws the sample of an update and restricts the batch to what is touched."""
    sample = draw(config, catalogue, batch, jax.random.fold_in(key, 4))
    items = touched(batch, sample, num_items)
    local = sample._replace(items=items.localise(sample.items))
    return SmallCatalogue(items, items.batch(batch), items.catalogue(catalogue), local)


def is_item_table(path: tuple[Any, ...]) -> bool:
    """Says whether the array at this path of a state has a row for each item."""
    return bool(path) and getattr(path[-1], "key", None) == "table"
