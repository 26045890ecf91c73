"""The metrics of the targets that are alone in their time."""

from typing import Any

from jaxtyping import Bool, Int32, Int64
import numpy as np

from rearec_jax.data.interactions import Interactions
from rearec_jax.evaluation.metrics import MetricSums


def untied(data: Interactions, examples: Int64[np.ndarray, " M"]) -> Bool[np.ndarray, " M"] | None:
    """Says of each target whether none of its user's other interactions has the same time.

    Args:
        examples: The index of each target in ``data.items``.

    Returns:
        None where the data have no times.
    """
    if data.timestamps is None:
        return None
    user = np.searchsorted(data.offsets, examples, "right") - 1
    first, last = data.offsets[user], data.offsets[user + 1] - 1
    own = data.timestamps[examples]
    before = (examples > first) & (data.timestamps[np.maximum(examples - 1, first)] == own)
    after = (examples < last) & (data.timestamps[np.minimum(examples + 1, last)] == own)
    return ~(before | after)


def metrics_of_untied(
    data: Interactions,
    examples: Int64[np.ndarray, " M"],
    ranks: Int32[np.ndarray, " M"],
    cutoffs: tuple[int, ...],
) -> dict[str, Any]:
    """Returns the entry of summary.json about untied targets, none where the data have no times.

    It has the number of these targets and their metrics, if there are any.
    """
    alone = untied(data, examples)
    if alone is None:
        return {}
    found = MetricSums.empty(cutoffs).add(ranks[alone]).means() if alone.any() else {}
    return {"test_untied": {"examples": int(alone.sum()), **found}}
