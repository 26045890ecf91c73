"""A few histories of test users, without who they are: something to try a model on.

samples.parquet: `history` (raw ids, the oldest first) and `target` (the item that followed).
"""

import pathlib
from typing import NamedTuple

import numpy as np
import polars as pl

from rearec_jax.data.interactions import TEST, Interactions
from rearec_jax.errors import UserError
from rearec_jax.run.files import write_whole

FILE = "samples.parquet"
USERS = 50
SEED = 0
LONGEST = 200  # latest items of a history
_COLUMNS = {"history": pl.List(pl.String), "target": pl.String}


class Sample(NamedTuple):
    """Raw ids. history: what a test user had, the oldest first; target: what came next."""

    history: tuple[str, ...]
    target: str


def of_data(data: Interactions) -> tuple[Sample, ...]:
    """The last test target of up to ``USERS`` random users, and what each had before it."""
    targets = np.flatnonzero(data.split == TEST)
    users = np.searchsorted(data.offsets, targets, side="right") - 1
    has_history = targets > data.offsets[users]
    last = dict(zip(users[has_history].tolist(), targets[has_history].tolist(), strict=True))
    chosen = np.random.default_rng(SEED).permutation(sorted(last))[:USERS]

    def words(user: int) -> Sample:
        first = max(int(data.offsets[user]), last[user] - LONGEST)
        ids = data.item_ids.cast(pl.String).gather(data.items[first : last[user] + 1])
        *history, target = ids.to_list()
        return Sample(tuple(history), target)

    return tuple(words(int(user)) for user in chosen)


def save(samples: tuple[Sample, ...], path: pathlib.Path) -> None:
    """Writes them as Parquet, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    rows = [(list(one.history), one.target) for one in samples]
    frame = pl.DataFrame(rows, schema=_COLUMNS, orient="row")
    write_whole(path, lambda file: frame.write_parquet(file))


def load(path: pathlib.Path) -> tuple[Sample, ...]:
    """Reads what ``save`` wrote; () where there is no such file.

    Raises:
        UserError: the file is damaged.
    """
    if not path.exists():
        return ()
    try:
        frame = pl.read_parquet(path, columns=list(_COLUMNS))
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"{path} cannot be read ({reason}); it may be deleted") from error
    if frame.schema != _COLUMNS or frame["target"].has_nulls() or frame["history"].has_nulls():
        raise UserError(
            f"{path} is damaged: its columns are not histories and targets; it may be deleted"
        )
    return tuple(Sample(tuple(history), target) for history, target in frame.iter_rows())
