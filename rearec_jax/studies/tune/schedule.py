"""Decides which candidate trains next, and how far: asynchronous successive halving over epochs.

Every candidate trains to the first rung, a number of epochs; of those that reached a rung the best
1/factor go on to the next (Li et al. 2020, "A System for Massively Parallel Hyperparameter
Tuning"). Promotions come before new candidates, so whenever the time is up, the best so far have
been trained the longest. These are pure functions of the results so far: the same results give the
same decision, whatever happened in between.
"""

from collections.abc import Mapping, Sequence
import math
from typing import NamedTuple

Scores = Mapping[tuple[int, int], float]  # (candidate, rung) -> metric; -inf: it failed


class Job(NamedTuple):
    """The training of one candidate (its number) to one rung (its index)."""

    candidate: int
    rung: int


def rungs(epochs: int, first: int, factor: int) -> tuple[int, ...]:
    """Returns the epochs of each rung: first, first * factor, ..., and at last ``epochs``."""
    steps = []
    while first < epochs:
        steps.append(first)
        first *= factor
    return (*steps, epochs)


def next_jobs(
    groups: Sequence[object], scores: Scores, count: int, factor: int, at_once: int = 1
) -> list[Job]:
    """Returns the jobs to do now, ``at_once`` at most; none where all is done.

    They are of one rung and one group: candidates of equal groups may be trained together.
    ``groups`` has the group of each candidate, in the order in which candidates start. There are
    ``count`` rungs, and one in ``factor`` candidates goes on from each.
    """
    waiting = _promotions(scores, len(groups), count, factor)
    if not waiting:
        waiting = [Job(c, 0) for c in range(len(groups)) if (c, 0) not in scores]
    together = [job for job in waiting if groups[job.candidate] == groups[waiting[0].candidate]]
    return together[:at_once]


def _promotions(scores: Scores, candidates: int, count: int, factor: int) -> list[Job]:
    """Returns the promotions from the highest rung that has any, best candidate first.

    The place of a candidate that failed goes to the next best.
    """
    failed = {c for (c, _), score in scores.items() if score == -math.inf}
    found: list[Job] = []
    complete = sum(rung == 0 for _, rung in scores) == candidates
    for rung in range(count - 1):
        here = [(-score, c) for (c, r), score in scores.items() if r == rung]
        quota = len(here) // factor
        if complete:  # no candidate will join this rung: at least one goes on, up to the end
            quota = max(1, quota)
        best = [c for _, c in sorted(here) if c not in failed][:quota]
        jobs = [Job(c, rung + 1) for c in best if (c, rung + 1) not in scores]
        complete = complete and not jobs
        found = jobs or found
    return found
