"""Computes means over seeds, and paired tests against the first group. Numbers only, no layout."""

from collections.abc import Sequence
import dataclasses

from jaxtyping import Float, Int
import numpy as np

from rearec_jax.config import AnalysisConfig
from rearec_jax.evaluation.metrics import METRICS
from rearec_jax.studies.analysis import significance
from rearec_jax.studies.analysis.comparable_runs import Group
from rearec_jax.studies.analysis.significance import Paired
from rearec_jax.studies.estimate import Estimate, estimate


@dataclasses.dataclass(frozen=True)
class Difference:
    """The difference between a group and the baseline in one metric."""

    label: str
    metric: str
    relative: float | None  # the difference as a share of the baseline's mean; None where that is 0
    t_test: Paired  # the paired t-test over users
    bootstrap: Paired  # the paired bootstrap over users
    holm: float  # the t-test's p, corrected for all the t-tests of the comparison (Holm)
    seeds: float | None  # the p of Welch's test of the seeds' means; None where a side has one seed


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A comparison of groups, of which the first is the baseline."""

    groups: tuple[Group, ...]
    estimates: tuple[dict[str, Estimate], ...]  # the metrics of each group, by name
    differences: tuple[Difference, ...]  # the differences of the other groups from the baseline
    users: int  # the number of test users
    examples: int  # the number of test examples


def compare(groups: Sequence[Group], options: AnalysisConfig) -> Comparison:
    """Computes means and tests of every group against the first, in every metric.

    In a group of several seeds a user's value is the mean over the seeds.
    """
    baseline = groups[0]
    users = _dense(baseline)
    found = [
        _difference(baseline, group, name, users, options)
        for group in groups[1:]
        for name in METRICS
    ]
    if found:
        corrected = significance.holm(np.array([each.t_test.p for each in found], float))
        found = [
            dataclasses.replace(each, holm=float(p))
            for each, p in zip(found, corrected, strict=True)
        ]
    return Comparison(
        groups=tuple(groups),
        estimates=tuple(_estimates(group) for group in groups),
        differences=tuple(found),
        users=int(users.max()) + 1,
        examples=len(users),
    )


def _difference(
    baseline: Group,
    group: Group,
    name: str,
    users: Int[np.ndarray, " M"],
    options: AnalysisConfig,
) -> Difference:
    before, after = _values(baseline, name), _values(group, name)
    gaps = significance.by_user(after.mean(axis=0) - before.mean(axis=0), users)
    level = float(before.mean())
    t_test = significance.t_test(gaps)
    return Difference(
        label=group.label,
        metric=name,
        relative=t_test.mean / level if level else None,
        t_test=t_test,
        bootstrap=significance.bootstrap(gaps, options.resamples, options.seed),
        holm=1.0,  # until all are known
        seeds=significance.welch(after.mean(axis=1), before.mean(axis=1)),
    )


def _values(group: Group, name: str) -> Float[np.ndarray, "seeds M"]:
    return np.stack([run.ranks.values(name) for run in group.runs])


def _estimates(group: Group) -> dict[str, Estimate]:
    return {name: estimate(_values(group, name).mean(axis=1).tolist()) for name in METRICS}


def _dense(group: Group) -> Int[np.ndarray, " M"]:
    """Returns the user of each example as a number 0, 1, ...

    A split by time may have several examples of one user.
    """
    names = group.runs[0].ranks.users.to_numpy()
    return np.unique(names, return_inverse=True)[1]
