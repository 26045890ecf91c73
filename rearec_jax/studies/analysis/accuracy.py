"""Computes accuracy by step, by group of users or targets, and at the best step in hindsight."""

from typing import Any

import numpy as np
import polars as pl

from rearec_jax.evaluation.metrics import means
from rearec_jax.evaluation.popularity import quarters
from rearec_jax.evaluation.rank_file import FINAL, UserRanks, step_name

BY = ("history_length", "popularity")  # attributes of `UserRanks` that make groups


def by_step(ranks: UserRanks) -> pl.DataFrame:
    """Returns a table with a row for each representation ('step 0' ... 'final'): its metrics."""
    return pl.DataFrame(
        [{"representation": name, **means(own)} for name, own in ranks.named().items()]
    )


def in_hindsight(ranks: UserRanks) -> pl.DataFrame:
    """Returns the metrics that choosing the depth for each user could reach at most.

    These are bounds and no results. 'any step' is the best of all steps; 'step k or final' is the
    better of these two, the bound of a switch between one shallow step and the full depth.
    """
    rows: list[dict[str, Any]] = []
    if ranks.steps:
        rows.append({"representation": "any step", **means(ranks.by_step.min(axis=1))})
    for step in range(ranks.steps):
        better = np.minimum(ranks.by_step[:, step], ranks.final)
        rows.append({"representation": f"{step_name(step)} or {FINAL}", **means(better)})
    return pl.DataFrame(rows)


def best_step(ranks: UserRanks) -> pl.DataFrame:
    """Returns the share of the examples that each step ranks best.

    Of steps that rank the target equally the shallowest counts.
    """
    best = ranks.by_step.argmin(axis=1) if ranks.steps else np.zeros(0, np.int64)
    shares = np.bincount(best, minlength=ranks.steps) / max(1, len(best))
    return pl.DataFrame({"step": np.arange(ranks.steps), "share": shares})


def by_group(ranks: UserRanks, by: str) -> pl.DataFrame:
    """Returns the metrics of each representation in four groups of equal size.

    The groups are made by an attribute of ``ranks``, one of BY. A row holds the group's number (1
    to 4), the lowest and the highest value in it, its number of examples, the representation and
    the metrics; 'any step' is the best step in hindsight.
    """
    values = getattr(ranks, by)
    quarter = quarters(values)
    named = ranks.named()
    if ranks.steps > 1:
        named["any step"] = ranks.by_step.min(axis=1)
    rows = []
    for number in range(4):
        inside = quarter == number
        if not inside.any():
            continue
        about = {
            "group": number + 1,
            "lowest": int(values[inside].min()),
            "highest": int(values[inside].max()),
            "examples": int(inside.sum()),
        }
        rows += [
            {**about, "representation": name, **means(own[inside])} for name, own in named.items()
        ]
    return pl.DataFrame(rows)
