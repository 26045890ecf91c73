"""Tests of differences: paired tests over users, Holm's correction, Welch's test over seeds.

The unit is the user. Where a user has several examples, they are no independent observations;
``by_user`` turns them into one value a user whose mean is the difference over all *examples*
(linearisation of the ratio of two sums, as for cluster samples).
"""

import math
from typing import NamedTuple

from jaxtyping import Float, Int
import numpy as np
from scipy import special

BLOCK = 2**21  # numbers drawn at once: 16 MiB
FEW = 512  # different values, up to which their numbers are drawn and not users
QUICK = 2**26  # indices that are drawn in about a second
CONFIDENCE = 0.95
LEVELS = (  # of p, with the stars that mark it
    (0.001, "***"),
    (0.01, "**"),
    (0.05, "*"),
)


class Paired(NamedTuple):
    """The result of a paired test."""

    mean: float  # the mean difference
    low: float  # the lower end of the mean's confidence interval
    high: float  # the upper end
    p: float | None  # the two-sided p value; None where a bootstrap has fewer than two users
    # the mean over the standard deviation of the differences (Cohen's d_z); 0 where all differences
    # are 0
    effect: float


def by_user(
    differences: Float[np.ndarray, " M"], users: Int[np.ndarray, " M"]
) -> Float[np.ndarray, " U"]:
    """Returns one value a user, whose mean is the mean of the examples' ``differences``.

    ``users`` is the user of each example, as a number 0, 1, ..., U - 1.
    """
    counts = np.bincount(users)
    sums = np.bincount(users, weights=differences)
    if (counts == 1).all():
        return sums
    mean = differences.mean()
    return mean + (sums - mean * counts) * (len(counts) / len(differences))


def t_test(differences: Float[np.ndarray, " U"], confidence: float = CONFIDENCE) -> Paired:
    """Computes Student's paired t-test; with one user, or only zeros, p is 1."""
    count, mean = len(differences), float(differences.mean())
    if count < 2:
        return Paired(mean, -math.inf, math.inf, 1.0, 0.0)
    deviation = float(differences.std(ddof=1))
    if deviation <= 1e-15 * abs(mean) or deviation == 0:
        return Paired(mean, mean, mean, 1.0 if mean == 0 else 0.0, 0.0 if mean == 0 else math.inf)
    error = deviation / math.sqrt(count)
    p = 2 * float(special.stdtr(count - 1, -abs(mean / error)))
    half = error * float(special.stdtrit(count - 1, 0.5 + confidence / 2))
    return Paired(mean, mean - half, mean + half, p, mean / deviation)


def bootstrap(
    differences: Float[np.ndarray, " U"],
    resamples: int,
    seed: int,
    confidence: float = CONFIDENCE,
) -> Paired:
    """Computes the paired bootstrap: users are drawn with replacement, the same for both sides.

    The interval is one of percentiles. p is twice the share of resampled means on the other side
    of 0, counted with the sample itself: 2 (1 + count) / (1 + resamples), so it is never 0. Samples
    of a single user are all the same and say nothing: there is no p, and the interval has no end.
    """
    mean = float(differences.mean())
    if len(differences) < 2:
        return Paired(mean, -math.inf, math.inf, None, 0.0)
    found = resampled_means(differences, resamples, seed)
    tail = (1 - confidence) / 2
    low, high = np.quantile(found, [tail, 1 - tail])
    other = min(int((found <= 0).sum()), int((found >= 0).sum()))
    p = min(1.0, 2 * (1 + other) / (1 + resamples))
    deviation = float(differences.std(ddof=1))
    return Paired(mean, float(low), float(high), p, mean / deviation if deviation else 0.0)


def resampled_means(
    differences: Float[np.ndarray, " U"], resamples: int, seed: int
) -> Float[np.ndarray, " resamples"]:
    """Returns the means of samples of U users each, drawn with replacement.

    Cut-off metrics of two rankings differ by one of a few hundred values: how often each of them is
    drawn is multinomial, which is the same distribution at a cost that does not grow with U. With
    more values (MRR), indices of users are drawn, in blocks of bounded memory; where that would
    take long, differences within 1/64 standard deviation are first replaced by their mean: the mean
    stays, the variance loses less than 1 in 10,000.
    """
    rng = np.random.default_rng(seed)
    users = len(differences)
    values, counts = np.unique(differences, return_counts=True)
    if len(values) > FEW and users * resamples <= QUICK:
        drawn = [
            differences[rng.integers(0, users, (size, users), dtype=np.int32)].sum(axis=1)
            for size in _blocks(resamples, users)
        ]
        return np.concatenate(drawn) / users
    if len(values) > FEW:
        values, counts = _binned(differences)
    drawn = [
        rng.multinomial(users, counts / users, size=size) @ values
        for size in _blocks(resamples, len(values))
    ]
    return np.concatenate(drawn) / users


def _binned(
    differences: Float[np.ndarray, " U"],
) -> tuple[Float[np.ndarray, " bins"], Int[np.ndarray, " bins"]]:
    """Returns means and sizes of the bins of 1/64 standard deviation that are not empty."""
    bins = np.rint(differences * (64 / differences.std()))
    _, inverse, counts = np.unique(bins, return_inverse=True, return_counts=True)
    return np.bincount(inverse, weights=differences) / counts, counts


def _blocks(rows: int, columns: int) -> list[int]:
    """Returns the sizes of blocks of rows that hold at most BLOCK numbers, or one row."""
    size = max(1, BLOCK // columns)
    return [min(size, rows - start) for start in range(0, rows, size)]


def holm(p: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Corrects the p values of several tests by Holm's step-down method.

    The chance of one false finding or more stays below the level, whatever the dependence between
    the tests.
    """
    order = np.argsort(p, kind="stable")
    scaled = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(scaled, 1.0)
    return corrected


def welch(one: Float[np.ndarray, " a"], other: Float[np.ndarray, " b"]) -> float | None:
    """Returns the two-sided p of Welch's t-test; None where a side has a single value."""
    if len(one) < 2 or len(other) < 2:
        return None
    parts = [float(values.var(ddof=1)) / len(values) for values in (one, other)]
    gap = float(one.mean() - other.mean())
    if sum(parts) == 0:
        return 1.0 if gap == 0 else 0.0
    spread = sum(
        part**2 / (len(values) - 1) for part, values in zip(parts, (one, other), strict=True)
    )
    freedom = sum(parts) ** 2 / spread
    return 2 * float(special.stdtr(freedom, -abs(gap) / math.sqrt(sum(parts))))


def stars(p: float | None) -> str:
    """Returns the stars of a p value: *** below 0.001, ** below 0.01, * below 0.05."""
    return next((mark for level, mark in LEVELS if p is not None and p < level), "")
