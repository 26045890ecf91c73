"""Sample histories of anonymous test users, to try a model on.

The file samples.parquet has the columns `history` (raw ids, the oldest first) and `target` (the
item that followed).
"""

import pathlib
from typing import NamedTuple

import numpy as np
import polars as pl

from rearec_jax.data.interactions import TEST, Interactions
from rearec_jax.data.parquet import read_columns
from rearec_jax.errors import UserError
from rearec_jax.run import files

SAMPLES_FILE = "samples.parquet"
USERS = 50
SEED = 0
LONGEST = 200  # only so many latest items of a history are kept
_COLUMNS = {"history": pl.List(pl.String), "target": pl.String}


class Sample(NamedTuple):
    """The history of a test user in raw ids.

    history: The items of the user, the oldest first.
    target:  The item that came next.
    """

    history: tuple[str, ...]
    target: str


def samples_of_data(data: Interactions) -> tuple[Sample, ...]:
    """Returns the last test target of up to ``USERS`` random users with the history before it."""
    targets = np.flatnonzero(data.split == TEST)
    users = np.searchsorted(data.offsets, targets, side="right") - 1
    has_history = targets > data.offsets[users]
    last = dict(zip(users[has_history].tolist(), targets[has_history].tolist(), strict=True))
    chosen = np.random.default_rng(SEED).permutation(sorted(last))[:USERS]

    def sample(user: int) -> Sample:
        first = max(int(data.offsets[user]), last[user] - LONGEST)
        ids = data.item_ids.cast(pl.String).gather(data.items[first : last[user] + 1])
        *history, target = ids.to_list()
        return Sample(tuple(history), target)

    return tuple(sample(int(user)) for user in chosen)


def save_samples(samples: tuple[Sample, ...], path: pathlib.Path) -> None:
    """Writes samples to a Parquet file, whole or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    rows = [(list(one.history), one.target) for one in samples]
    frame = pl.DataFrame(rows, schema=_COLUMNS, orient="row")
    files.write_whole(path, lambda file: frame.write_parquet(file))


def load_samples(path: pathlib.Path) -> tuple[Sample, ...]:
    """Reads the file that ``save_samples`` wrote; returns () where there is none.

    Raises:
        UserError: the file is damaged.
    """
    if not path.exists():
        return ()
    try:
        files.inside(path.parent, path.name)
        frame = read_columns(path, _COLUMNS, USERS)
        if frame["target"].has_nulls() or frame["history"].has_nulls():
            raise ValueError("a history or a target is missing")
        histories = frame["history"].to_list()
        if any(raw is None for history in histories for raw in history):
            raise ValueError("an id is missing")
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); it may be deleted") from error
    return tuple(map(Sample, map(tuple, histories), frame["target"].to_list()))
