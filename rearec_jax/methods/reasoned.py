"""A batch after reasoning: what the loss of a method is made of."""

from collections.abc import Sequence
import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rearec_jax.devices.mesh import ONE, Devices
from rearec_jax.losses import cross_entropy as ce
from rearec_jax.losses import progressive, sampled
from rearec_jax.losses.progressive import Negatives
from rearec_jax.losses.sampled import Sample
from rearec_jax.methods.options import MethodConfig
from rearec_jax.types import Batch, PRNGKey, Scalar

Parts = dict[str, Float[Array, ""]]  # the parts of a loss by name; "loss" is what is minimised


class Blocks(NamedTuple):
    """The sizes of the blocks in which scores are computed, so that memory holds them.

    items:   Items of a block, where cross-entropy is not made in blocks of queries.
    queries: Queries of a block of the cross-entropy over the whole table (see `losses.fused`); 0:
        it is not made so.
    pairs:   Queries of a block of the contrast over the batch; 0: it is not made so.
    """

    items: int
    queries: int = 0
    pairs: int = 0


class Numbers(NamedTuple):
    """The options that are mere factors of a loss, so that a program may leave them open.

    Which terms a loss has is read from the `MethodConfig`: a weight of 0 there leaves its term out.
    """

    temperature: Scalar
    temperature_decay: Scalar
    kl_weight: Scalar
    contrastive_weight: Scalar
    noise: Scalar


def numbers_of(options: MethodConfig) -> Numbers:
    """Takes the numbers from the options of a run."""
    return Numbers(*(getattr(options, name) for name in Numbers._fields))


@dataclasses.dataclass(frozen=True)
class Reasoned:
    """The queries of a batch, their states after reasoning, and the items to score.

    States and items are scaled to length 1 where the model's similarity is cosine.

    states:  The states r_0 .. r_K of each query.
    user:    The vector that represents the user, as the method says.
    noisy:   The states 1 .. K of the noisy view, or of the one with other dropout; None where there
        is no such view.
    carried: The vectors that were carried from each of the steps (see `methods.unroll`).
    batch:   Targets, weights and users of the queries, M of each.
    table:   The vectors of the items.
    options: The options of the method.
    numbers: Temperature and weights to compute with; they may be traced.
    blocks:  The sizes of the blocks in which scores are computed, so that memory holds them.
    sample:  The items to score; None: all of the table.
    devices: The devices that share the table.
    near:    The nearest items of each query's last item, nearest first; N fills rows. None where
        the method reads none.
    key:     The key of what the loss draws; None where nothing may be drawn.
    """

    states: Float[Array, "M S D"]
    user: Float[Array, "M D"]
    noisy: Float[Array, "M K D"] | None
    batch: Batch
    table: Float[Array, "N D"]
    options: MethodConfig
    numbers: Numbers
    blocks: Blocks
    sample: Sample | None = None
    devices: Devices = ONE
    near: Int[Array, "M n"] | None = None
    key: PRNGKey | None = None
    carried: Float[Array, "M C D"] | None = None

    @property
    def weights(self) -> Float[Array, " M"]:
        """The weight of each query in a mean: they sum to 1, and padding has none."""
        return self.batch.weights / jnp.maximum(self.batch.weights.sum(), 1.0)

    def mean(self, values: Float[Array, " M"]) -> Float[Array, ""]:
        """Computes the weighted mean of a value for each query."""
        return jnp.sum(values * self.weights.astype(values.dtype))

    def cross_entropy(self, states: Float[Array, "M D"]) -> Float[Array, ""]:
        """Computes the mean cross-entropy of the targets, scored by ``states``."""
        return self.cross_entropies(states[None], [self.numbers.temperature], [1.0])[0]

    def cross_entropies(
        self, states: Float[Array, "S M D"], temperatures: Sequence[Scalar], shares: Sequence[float]
    ) -> tuple[Float[Array, ""], Float[Array, " S"]]:
        """Computes the mean cross-entropy of each of several states.

        Args:
            states: what scores the items.
            temperatures: of the softmax over the scores, one for each of the S.
            shares: of each in the sum.

        Returns:
            The weighted sum, to be differentiated, and the S means, for the log alone.
        """
        if self.blocks.queries and self.sample is None:
            return ce.sum_over_steps(
                states,
                self.batch.targets,
                self.table,
                self.weights,
                temperatures,
                shares,
                self.blocks.queries,
            )
        means = [
            self.mean(self._entropy(*of_step)) for of_step in zip(states, temperatures, strict=True)
        ]
        total = sum(
            (share * value for share, value in zip(shares[1:], means[1:], strict=True)),
            start=shares[0] * means[0],
        )
        return total, jnp.stack(means)

    def contrast(
        self,
        states: Float[Array, "M D"],
        positives: Float[Array, "M D"],
        negatives: Negatives | None = None,
        weights: Float[Array, " M"] | None = None,
    ) -> Float[Array, ""]:
        """Computes the mean InfoNCE of each query's state, whose positive is that of the same row.

        Args:
            states: what looks for its positive.
            positives: what is looked for, among the positives of all queries.
            negatives: the keys by which the positives of other queries compete or not; None are
                those of `method.negatives`.
            weights: of the queries in the mean; None are those of the batch.
        """
        batch, blocks, tau = self.batch, self.blocks, self.numbers.temperature
        if negatives is None:
            negatives = progressive.negatives(batch.users, batch.weights, self.options.negatives)
        weights = self.weights if weights is None else weights
        if blocks.pairs:
            return progressive.weighted_contrastive(
                states, positives, negatives, tau, weights, blocks.pairs
            )
        candidates = blocks.items if blocks.items < self.table.shape[0] else states.shape[0]
        values = progressive.contrastive(
            states, positives, negatives, tau, candidates, self.devices
        )
        return (values * weights.astype(values.dtype)).sum()

    def _entropy(self, states: Float[Array, "M D"], temperature: Scalar) -> Float[Array, " M"]:
        targets, table, items, devices = (
            self.batch.targets,
            self.table,
            self.blocks.items,
            self.devices,
        )
        if self.sample is None:
            return ce.cross_entropy(states, targets, table, temperature, items, devices)
        return sampled.cross_entropy(
            states, targets, table, self.sample, temperature, items, devices
        )
