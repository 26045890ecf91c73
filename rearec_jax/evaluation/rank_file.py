"""The file ranks.parquet, which holds the rank of every test target, by every step too."""

from collections.abc import Mapping
import dataclasses
import pathlib
import types

from jaxtyping import Float, Int
import numpy as np
import polars as pl

from rearec_jax.data.interactions import Interactions
from rearec_jax.data.parquet import DAMAGED
from rearec_jax.errors import UserError
from rearec_jax.evaluation.metrics import metric
from rearec_jax.evaluation.ranks import Ranks
from rearec_jax.run.files import write_whole

FINAL = "final"  # the name of the ranks by the method's representation
EXPECTED = "expected_"  # the start of a column's name, with the name of a metric
NONE: Mapping[str, np.ndarray] = types.MappingProxyType({})  # no expected metrics


def frame(
    data: Interactions, ranks: Ranks, expected: Mapping[str, np.ndarray] = NONE
) -> pl.DataFrame:
    """Makes the table of the ranks, a row for each example, in the order of the users.

    A time split may have several examples of a user. The columns are user and target (raw ids),
    target_popularity (its occurrences in training), history_length (the number of all items before
    the target, also those that the model does not see), rank (by the method's representation; 1 is
    the best), and, where steps were ranked, rank_step_0, rank_step_1, ... With ``expected``, which
    are the means of metrics over the orders of tied targets, there are also expected_ndcg@10, ...
    """
    users = np.searchsorted(data.offsets, ranks.examples, side="right") - 1
    targets = data.items[ranks.examples]
    columns = {
        "user": data.user_ids.gather(users),
        "target": data.item_ids.gather(targets),
        "target_popularity": pl.Series(data.training_counts()[targets]),
        "history_length": pl.Series(ranks.examples - data.offsets[users]),
        "rank": pl.Series(ranks.final),
    }
    for step in range(ranks.by_step.shape[1]):
        columns[f"rank_step_{step}"] = pl.Series(ranks.by_step[:, step])
    columns |= {f"{EXPECTED}{name}": pl.Series(values) for name, values in expected.items()}
    return pl.DataFrame(columns)


def write(
    path: pathlib.Path,
    data: Interactions,
    ranks: Ranks,
    expected: Mapping[str, np.ndarray] = NONE,
) -> None:
    """Writes ``frame`` to ``path``, whole or not at all.

    Raises:
        OSError: The file cannot be written.
    """
    table = frame(data, ranks, expected)
    write_whole(path, lambda file: table.write_parquet(file))


@dataclasses.dataclass(frozen=True)
class UserRanks:
    """The columns of the file; a time split may have several examples of a user.

    users:          The raw id of each example's user.
    targets:        The raw id of each target.
    popularity:     The number of occurrences of the target in training.
    history_length: The number of items before the target.
    by_step:        The ranks by each of r_0 .. r_K; S = 0 where steps were not ranked.
    final:          The ranks by the method's representation.
    expected:       The means of metrics over the orders of tied targets, by name; empty where the
        order is the file's.
    """

    users: pl.Series
    targets: pl.Series
    popularity: Int[np.ndarray, " M"]
    history_length: Int[np.ndarray, " M"]
    by_step: Int[np.ndarray, "M S"]
    final: Int[np.ndarray, " M"]
    expected: Mapping[str, Float[np.ndarray, " M"]] = dataclasses.field(default_factory=dict)

    def values(self, name: str) -> Float[np.ndarray, " M"]:
        """Returns the metric ``name`` of each example: its expectation, where targets are tied."""
        return self.expected[name] if self.expected else np.asarray(metric(name, self.final))

    @property
    def steps(self) -> int:
        """The number S of steps that were ranked: K + 1, or 0."""
        return self.by_step.shape[1]

    def named(self) -> dict[str, Int[np.ndarray, " M"]]:
        """Returns the ranks by name: 'step 0' ... 'step K' and 'final'."""
        steps = {step_name(step): self.by_step[:, step] for step in range(self.steps)}
        return steps | {FINAL: self.final}


def step_name(step: int) -> str:
    """Returns the name of a step in tables."""
    return f"step {step}"


def read(path: pathlib.Path) -> UserRanks:
    """Reads the ranks of a run.

    Raises:
        UserError: There is no such file, or it is not one that an evaluation writes.
    """
    if not path.is_file():
        raise UserError(
            f"{path} does not exist; write it with --mode=evaluate --workdir={path.parent}, and the"
            " same --config options as here, if any; a run whose data have no test split has none"
        )
    try:
        frame = pl.read_parquet(path)
        if not len(frame) or frame.null_count().sum_horizontal()[0]:
            raise ValueError("no rows, or a rank is missing")
        return _from_frame(frame)
    except (*DAMAGED, ValueError) as error:
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
        expected={
            name.removeprefix(EXPECTED): frame[name].to_numpy()
            for name in frame.columns
            if name.startswith(EXPECTED)
        },
    )
