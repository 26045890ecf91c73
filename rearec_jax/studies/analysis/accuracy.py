"""Accuracy by step, by group of users and of targets, and at the best step in hindsight."""

from typing import Any

import numpy as np
import polars as pl

from rearec_jax.evaluation.metrics import means
from rearec_jax.evaluation.popularity import quarters
from rearec_jax.evaluation.rank_file import FINAL, UserRanks, step_name

BY = ("history_length", "popularity")


def by_step(ranks: UserRanks) -> pl.DataFrame:
    """A row a representation ('step 0' ... 'final'): its metrics."""
    return pl.DataFrame(
        [{"representation": name, **means(own)} for name, own in ranks.named().items()]
    )


def in_hindsight(ranks: UserRanks) -> pl.DataFrame:
    """What choosing the depth user by user could give at most. Bounds, not results.

    'any step': the best of all steps. 'step k or final': the better of these two, which is what a
    switch between one shallow step and the full depth could reach.
    """
    rows: list[dict[str, Any]] = []
    if ranks.steps:
        rows.append({"representation": "any step", **means(ranks.by_step.min(axis=1))})
    for step in range(ranks.steps):
        better = np.minimum(ranks.by_step[:, step], ranks.final)
        rows.append({"representation": f"{step_name(step)} or {FINAL}", **means(better)})
    return pl.DataFrame(rows)


def best_step(ranks: UserRanks) -> pl.DataFrame:
    """Share of the examples that each step ranks best; of equal steps the shallowest counts."""
    best = ranks.by_step.argmin(axis=1) if ranks.steps else np.zeros(0, np.int64)
    shares = np.bincount(best, minlength=ranks.steps) / max(1, len(best))
    return pl.DataFrame({"step": np.arange(ranks.steps), "share": shares})


def by_group(ranks: UserRanks, by: str) -> pl.DataFrame:
    """A row a group and representation: the group's range, its examples, and the metrics.

    Four groups of equal size by history length or by the target's popularity; 'any step' is the
    best step in hindsight.
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
