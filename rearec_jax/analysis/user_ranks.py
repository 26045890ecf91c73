"""Reads ``ranks.parquet``: every example's rank at every step. No JAX, no model, no data set."""

import dataclasses
import pathlib

from jaxtyping import Float, Int
import numpy as np
import polars as pl

from rearec_jax.errors import UserError

METRICS = ("ndcg@10", "ndcg@20", "recall@10", "recall@20", "mrr")
FINAL = "final"  # the method's representation (ERL: the mean of the steps; others: the last step)


@dataclasses.dataclass(frozen=True)
class UserRanks:
    """One row an example, in the order of the file; a time split may have several of a user.

    users, targets: raw ids.
    popularity:     occurrences of the target in training.
    history_length: items before the target.
    by_step:        ranks by r_0 .. r_K; S = 0 where steps were not ranked.
    final:          rank by the method's representation.
    """

    users: pl.Series
    targets: pl.Series
    popularity: Int[np.ndarray, " M"]
    history_length: Int[np.ndarray, " M"]
    by_step: Int[np.ndarray, "M S"]
    final: Int[np.ndarray, " M"]

    @property
    def steps(self) -> int:
        """S = K + 1, or 0."""
        return self.by_step.shape[1]

    def named(self) -> dict[str, Int[np.ndarray, " M"]]:
        """'step 0' ... 'step K' and 'final', each with its ranks."""
        steps = {step_name(step): self.by_step[:, step] for step in range(self.steps)}
        return steps | {FINAL: self.final}


def step_name(step: int) -> str:
    """As tables call it."""
    return f"step {step}"


def read(path: pathlib.Path) -> UserRanks:
    """The ranks of a run.

    Raises:
        UserError: no such file, or not one that an evaluation writes.
    """
    if not path.is_file():
        raise UserError(
            f"{path} does not exist; write it with --mode=evaluate --workdir={path.parent}, and the"
            " same --config options as here, if any"
        )
    try:
        frame = pl.read_parquet(path)
        if not len(frame) or frame.null_count().sum_horizontal()[0]:
            raise ValueError("no rows, or a rank is missing")
        return _from_frame(frame)
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        raise UserError(
            f"{path} is not what an evaluation writes ({error}); write it anew with"
            f" --mode=evaluate --workdir={path.parent}"
        ) from error


def _from_frame(frame: pl.DataFrame) -> UserRanks:
    steps = [name for name in frame.columns if name.startswith("rank_step_")]
    by_step = [frame[f"rank_step_{step}"].to_numpy() for step in range(len(steps))]
    return UserRanks(
        users=frame["user"],
        targets=frame["target"],
        popularity=frame["target_popularity"].to_numpy(),
        history_length=frame["history_length"].to_numpy(),
        by_step=np.stack(by_step, axis=1) if by_step else np.zeros((len(frame), 0), np.int64),
        final=frame["rank"].to_numpy(),
    )


def metric(name: str, ranks: Int[np.ndarray, "*M"]) -> Float[np.ndarray, "*M"]:
    """'ndcg@10', 'recall@20', 'mrr', ... of each rank (1 = best), as `metrics` defines them."""
    kind, _, cutoff = name.partition("@")
    if kind == "mrr":
        return 1 / ranks
    hit = ranks <= int(cutoff)
    return np.where(hit, 1 / np.log2(ranks + 1.0), 0.0) if kind == "ndcg" else hit.astype(float)


def means(ranks: Int[np.ndarray, " M"]) -> dict[str, float]:
    """All of METRICS over the examples."""
    return {name: float(metric(name, ranks).mean()) for name in METRICS}
