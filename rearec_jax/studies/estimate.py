"""A metric over seeds, and how tables show it."""

from collections.abc import Sequence
import statistics
from typing import NamedTuple

from rearec_jax.studies.terminal import fraction


class Estimate(NamedTuple):
    """A metric over seeds."""

    mean: float
    deviation: float | None  # the standard deviation of the sample; None with one seed

    def __str__(self) -> str:
        spread = "" if self.deviation is None else f" ±{fraction(self.deviation)}"
        return fraction(self.mean) + spread


def estimate(values: Sequence[float]) -> Estimate:
    """Returns the mean and the deviation of a metric's value with each seed."""
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Estimate(statistics.fmean(values), deviation)
