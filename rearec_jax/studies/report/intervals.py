"""Intervals of the accuracy of groups, from the ranks of their examples."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rearec_jax.evaluation.metrics import metric
from rearec_jax.evaluation.popularity import quarters
from rearec_jax.evaluation.rank_file import UserRanks
from rearec_jax.studies.analysis.significance import by_user, t_test

Rows = Sequence[dict[str, Any]]


def with_intervals(rows: Rows, ranks: UserRanks, by: str, name: str) -> list[dict[str, Any]]:
    """Adds 95 % intervals over users of a metric to the rows of `accuracy.by_group`.

    ``spread`` is half the length of the interval of the metric, and ``gain_spread`` that of its
    difference from the same users' step 0; NaN where there are too few users.
    """
    group = quarters(getattr(ranks, by)) + 1
    users = np.unique(ranks.users.to_numpy(), return_inverse=True)[1]
    named = {label: np.asarray(metric(name, own)) for label, own in ranks.named().items()}
    if ranks.steps > 1:
        named["any step"] = np.asarray(metric(name, ranks.by_step.min(axis=1)))

    def spread(values: np.ndarray, inside: np.ndarray) -> float:
        own = np.unique(users[inside], return_inverse=True)[1]
        found = t_test(by_user(values[inside], own))
        return found.high - found.mean if np.isfinite(found.high) else float("nan")

    found = []
    for row in rows:
        values, inside = named[row["representation"]], group == row["group"]
        more = {"spread": spread(values, inside)}
        if "step 0" in named:
            more["gain_spread"] = spread(values - named["step 0"], inside)
        found.append({**row, **more})
    return found
