"""Makes the tables that ``ranks.parquet`` alone gives."""

import polars as pl

from rearec_jax.evaluation.rank_file import UserRanks
from rearec_jax.studies.analysis import accuracy, trajectories


def tables(ranks: UserRanks) -> dict[str, pl.DataFrame]:
    """Returns the tables by name; those of steps are empty where steps were not ranked."""
    found = {
        "accuracy_by_step": accuracy.by_step(ranks),
        "in_hindsight": accuracy.in_hindsight(ranks),
        "best_step": accuracy.best_step(ranks),
        "rank_quantiles": trajectories.quantiles(ranks),
        "movements": trajectories.movements(ranks),
        "disagreement": trajectories.disagreement(ranks),
    }
    return found | {f"by_{by}": accuracy.by_group(ranks, by) for by in accuracy.BY}
