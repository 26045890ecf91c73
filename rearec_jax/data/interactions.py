"""Represents a data set, from reader to device, as users' sequences end to end.

Polars, which holds the raw ids and text, is imported only to read and write them: training and
ranking need the arrays alone.
"""

from collections.abc import Iterator
import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxtyping import Bool, Float32, Int32, Int64, UInt8
import numpy as np

from rearec_jax.errors import UserError
from rearec_jax.run import files

if TYPE_CHECKING:
    import polars as pl

# The split codes of a position as a *target*; every earlier position of the user is its history.
CONTEXT = 0  # it is never predicted
TRAIN = 1
VALIDATION = 2
TEST = 3

PART = 2**22  # positions that are looked at at once

_ARRAYS = ("items", "offsets", "split", "timestamps", "training_lengths")


class Sequences(NamedTuple):
    """The arrays of users' sequences, one user after another.

    items:   the dense item id of each position.
    offsets: the position where each user begins, and the total.
    split:   CONTEXT, TRAIN, VALIDATION or TEST of each position as a target.
    """

    items: Int32[np.ndarray, "total"]
    offsets: Int64[np.ndarray, "users_plus_1"]
    split: UInt8[np.ndarray, "total"]


@dataclasses.dataclass(frozen=True)
class Interactions:
    """A data set in compressed sparse rows: user u has positions offsets[u] .. offsets[u + 1] - 1.

    Dense ids count from 0 in the order of the raw ids: numerical where all raw ids are integers,
    else lexicographic (by UTF-8 bytes), so two runs over the same data agree.

    items:      the dense item ids, users one after another, each in time order.
    offsets:    the position where each user begins, and the total.
    split:      CONTEXT, TRAIN, VALIDATION or TEST of each position as a target.
    timestamps: the times, seconds UTC; None where the source has none.
    user_ids:   the raw id of each user (String).
    item_ids:   the raw id of each item (String).
    item_text:  the text of each item (String, null = none); None without a file of texts.
    name:       the name of the data set.
    training_lengths: the number of each user's oldest positions that belong to the training period,
        whether or not they are targets; None: all up to the first VALIDATION or TEST target.
    item_vectors: the vectors of the items' text, for backbones that read it; they are not saved
        with the rest.
    item_features: the features of the items (see `item_features.read`), likewise.
    tied_users: the number of users with a test target that has the time of another interaction;
        None where there are no times. It is not saved either.
    """

    items: Int32[np.ndarray, "total"]
    offsets: Int64[np.ndarray, "users_plus_1"]
    split: UInt8[np.ndarray, "total"]
    timestamps: Int64[np.ndarray, "total"] | None
    user_ids: "pl.Series"
    item_ids: "pl.Series"
    item_text: "pl.Series | None"
    name: str
    training_lengths: Int64[np.ndarray, "users"] | None = None
    item_vectors: Float32[np.ndarray, "N F"] | None = None
    item_features: "pl.DataFrame | None" = None
    tied_users: int | None = None

    @property
    def sequences(self) -> Sequences:
        """The arrays that batches are made of."""
        return Sequences(self.items, self.offsets, self.split)

    @property
    def num_users(self) -> int:
        """The number of users."""
        return len(self.offsets) - 1

    @property
    def num_items(self) -> int:
        """The number of items of the catalogue, N."""
        return len(self.item_ids)

    @property
    def num_interactions(self) -> int:
        """The number of interactions: the length of ``items``, *total* in shapes."""
        return len(self.items)

    @property
    def lengths(self) -> Int64[np.ndarray, "users"]:
        """The number of interactions of each user."""
        return np.diff(self.offsets)

    def part(self, users: slice) -> "Interactions":
        """Returns the interactions of some users alone; the raw ids stay those of all."""
        rows = slice(int(self.offsets[users.start]), int(self.offsets[users.stop]))
        times, lengths = self.timestamps, self.training_lengths
        return dataclasses.replace(
            self,
            items=self.items[rows],
            offsets=self.offsets[users.start : users.stop + 1] - rows.start,
            split=self.split[rows],
            timestamps=None if times is None else times[rows],
            training_lengths=None if lengths is None else lengths[users],
        )

    def limits(self) -> Int64[np.ndarray, "users"]:
        """Returns the number of each user's oldest positions that belong to the training period."""
        if self.training_lengths is not None:
            return self.training_lengths
        limits = self.lengths
        for users, rows in parts(self.offsets):
            offsets = self.offsets[users.start : users.stop + 1] - rows.start
            held_out = np.isin(self.split[rows], (VALIDATION, TEST))
            user = np.repeat(np.arange(users.start, users.stop), np.diff(offsets))
            np.minimum.at(limits, user[held_out], positions(offsets)[held_out])
        return limits

    @property
    def in_training(self) -> Bool[np.ndarray, "total"]:
        """The flags of the interactions in the training period, as a target or as history.

        A held-out position stays out of it even where a filter has made it CONTEXT.
        """
        return positions(self.offsets) < np.repeat(self.limits(), self.lengths)

    def training_counts(self) -> Int64[np.ndarray, "N"]:
        """Counts each item in the training period, for the popularity baseline."""
        counts = np.zeros(self.num_items, np.int64)
        for users, _ in parts(self.offsets):
            part = self.part(users)
            counts += np.bincount(part.items[part.in_training], minlength=self.num_items)
        return counts

    def target_counts(self, which: int) -> Int64[np.ndarray, "N"]:
        """Counts how often each item is a target of split ``which``."""
        counts = np.zeros(self.num_items, np.int64)
        for _, rows in parts(self.offsets):
            targets = self.items[rows][self.split[rows] == which]
            counts += np.bincount(targets, minlength=self.num_items)
        return counts

    def digests(self) -> dict[str, str]:
        """Returns two digests of the data.

        'interactions' changes with the items, users or split, 'digest' with what the item encoder
        reads of the items too.
        """
        total = hashlib.sha256()
        for array in (self.items, self.offsets, self.split):
            total.update(np.ascontiguousarray(array).data)
        interactions = total.hexdigest()
        if self.item_vectors is not None:
            total.update(np.ascontiguousarray(self.item_vectors).data)
        if self.item_features is not None:
            total.update(self.item_features.write_csv().encode())
        return {"digest": total.hexdigest(), "interactions": interactions}

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Writes the data to ``directory`` as a whole, in place of what was there.

        Raises:
            OSError: the directory cannot be written; nothing is left behind.
        """
        directory = Path(directory)
        directory.parent.mkdir(parents=True, exist_ok=True)
        with files.replaced_directory(directory) as new:
            self._write(new)

    def _write(self, directory: Path) -> None:
        present = [key for key in _ARRAYS if getattr(self, key) is not None]
        for key in present:
            np.save(directory / f"{key}.npy", getattr(self, key), allow_pickle=False)
        self.user_ids.alias("id").to_frame().write_parquet(directory / "users.parquet")
        items = self.item_ids.alias("id").to_frame()
        if self.item_text is not None:
            items = items.with_columns(self.item_text.alias("text"))
        items.write_parquet(directory / "items.parquet")
        about = {"name": self.name, "arrays": present}
        (directory / "interactions.json").write_text(json.dumps(about) + "\n")

    @classmethod
    def load(cls, directory: str | os.PathLike[str], mmap: bool = True) -> "Interactions":
        """Loads the data that ``save`` wrote; with ``mmap`` arrays are read-only views of files.

        Raises:
            UserError: files are missing, damaged or do not fit together.
        """
        import polars as pl

        from rearec_jax.data.parquet import DAMAGED

        directory = Path(directory)
        try:
            about = json.loads((directory / "interactions.json").read_text())
            arrays: dict[str, Any] = dict.fromkeys(_ARRAYS)
            for key in about["arrays"]:
                arrays[key] = files.load_array(directory / f"{key}.npy", mmap)
            items = pl.read_parquet(directory / "items.parquet")
            loaded = cls(
                **arrays,
                user_ids=pl.read_parquet(directory / "users.parquet")["id"],
                item_ids=items["id"],
                item_text=items["text"] if "text" in items.columns else None,
                name=about["name"],
            )
            _check(loaded)
        except (*DAMAGED, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{directory} does not hold complete prepared interactions ({error});"
                " delete it and prepare the data again"
            ) from error
        return loaded


def positions(offsets: Int64[np.ndarray, "users_plus_1"]) -> Int64[np.ndarray, "total"]:
    """Returns the index of each interaction in its user's sequence, 0 = the oldest."""
    return np.arange(offsets[-1]) - np.repeat(offsets[:-1], np.diff(offsets))


def parts(offsets: Int64[np.ndarray, "users_plus_1"]) -> Iterator[tuple[slice, slice]]:
    """Yields stretches of whole users, as slices of users and of positions.

    A stretch has at most `PART` positions, or is one user. What is computed of one at a time
    needs no memory for all.
    """
    begin, users = 0, len(offsets) - 1
    while begin < users:
        end = max(begin + 1, int(np.searchsorted(offsets, offsets[begin] + PART, "right")) - 1)
        yield slice(begin, end), slice(int(offsets[begin]), int(offsets[end]))
        begin = end


def offsets_of(users: Int64[np.ndarray, "total"], count: int) -> Int64[np.ndarray, "users_plus_1"]:
    """Returns where each of ``count`` users begins in rows that are sorted by user, and the end."""
    return np.concatenate([[0], np.cumsum(np.bincount(users, minlength=count))])


def up_to_here(
    mask: Bool[np.ndarray, "total"], offsets: Int64[np.ndarray, "users_plus_1"]
) -> Bool[np.ndarray, "total"]:
    """Says for each position whether it or an earlier one of its user is True."""
    count = np.concatenate([[0], np.cumsum(mask)])
    return count[1:] > np.repeat(count[offsets[:-1]], np.diff(offsets))


def _check(data: Interactions) -> None:
    total = len(data.items)
    fits = (
        data.items.dtype == np.int32
        and data.split.dtype == np.uint8
        and data.offsets.dtype == np.int64
        and data.offsets[0] == 0
        and data.offsets[-1] == total == len(data.split)
        and data.num_users == len(data.user_ids)
        and (data.timestamps is None or len(data.timestamps) == total)
        and (data.training_lengths is None or len(data.training_lengths) == data.num_users)
    )
    if not fits:
        raise ValueError("the arrays do not fit together")
    # JAX clamps an index that is out of range, so nothing later would notice.
    if total and not 0 <= data.items.min() <= data.items.max() < data.num_items:
        raise ValueError(f"an item id is not below the number of items, {data.num_items}")
    if (np.diff(data.offsets) < 0).any() or data.split.max(initial=0) > TEST:
        raise ValueError("offsets that fall, or a split that is none")
