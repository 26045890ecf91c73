"""The contrast of states within a batch, which several methods use."""

from jaxtyping import Array, Float

from rearec_jax.losses import progressive
from rearec_jax.losses.progressive import Negatives
from rearec_jax.methods.reasoned import Reasoned


def contrast(
    reasoned: Reasoned,
    states: Float[Array, "M D"],
    positives: Float[Array, "M D"],
    negatives: Negatives,
    weights: Float[Array, " M"] | None = None,
) -> Float[Array, ""]:
    """Computes the mean InfoNCE of each query's state, whose positive is that of the same row.

    Args:
        reasoned: The batch.
        states: The states that look for their positives.
        positives: What they look for, among the positives of all queries.
        negatives: The keys by which the positives of other queries compete or not.
        weights: The weights of the queries in the mean; None are those of the batch.
    """
    blocks, tau = reasoned.blocks, reasoned.numbers.temperature
    weights = reasoned.weights if weights is None else weights
    if blocks.pairs:
        return progressive.weighted_contrastive(
            states, positives, negatives, tau, weights, blocks.pairs
        )
    candidates = blocks.items if blocks.items < reasoned.table.shape[0] else states.shape[0]
    values = progressive.contrastive(
        states, positives, negatives, tau, candidates, reasoned.devices
    )
    return (values * weights.astype(values.dtype)).sum()
