"""The one representation of a data set, from reader to device: users' sequences end to end.

Polars, which holds the raw ids and text, is imported only to read and write them: training and
ranking need the arrays alone.
"""

import dataclasses
import hashlib
import json
import os
from pathlib import Path
import shutil
import tempfile
from typing import TYPE_CHECKING, Any

from jaxtyping import Float32, Int32, Int64, UInt8
import numpy as np

from rearec_jax.data import npy
from rearec_jax.data.own_files.by_user import users
from rearec_jax.errors import UserError

if TYPE_CHECKING:
    import polars as pl

# What a position is as a *target*; every earlier position of the user is its history.
CONTEXT = 0  # never predicted
TRAIN = 1
VALIDATION = 2
TEST = 3

_ARRAYS = ("items", "offsets", "split", "timestamps", "training_lengths")


@dataclasses.dataclass(frozen=True)
class Interactions:
    """Compressed sparse rows: user u owns positions offsets[u] .. offsets[u + 1] - 1.

    Dense ids count from 0 in the order of the raw ids: numerical where all raw ids are integers,
    else lexicographic (by UTF-8 bytes), so two runs over the same data agree.

    items:      dense item ids, users one after another, each in time order.
    split:      CONTEXT, TRAIN, VALIDATION or TEST of each position as a target.
    timestamps: seconds UTC, or None where the source has none.
    user_ids, item_ids: raw ids (String); item_text: String, null = none, or None without a file.
    training_lengths: how many of a user's oldest positions belong to the training period, whether
        or not they are targets; None = all up to the first VALIDATION or TEST target.
    item_vectors: of the items' text, for backbones that read it; not saved with the rest.
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

    @property
    def num_users(self) -> int:
        """Users."""
        return len(self.offsets) - 1

    @property
    def num_items(self) -> int:
        """Items of the catalogue, N."""
        return len(self.item_ids)

    @property
    def num_interactions(self) -> int:
        """Length of ``items``, the docs' *total*."""
        return len(self.items)

    @property
    def lengths(self) -> Int64[np.ndarray, "users"]:
        """Interactions of each user."""
        return np.diff(self.offsets)

    def training_counts(self) -> Int64[np.ndarray, "N"]:
        """How often each item occurs in the training period: the popularity baseline.

        A held-out position stays out of it even where a filter has made it CONTEXT.
        """
        position = positions(self.offsets)
        if self.training_lengths is not None:
            limit = self.training_lengths
        else:
            held_out = (self.split == VALIDATION) | (self.split == TEST)
            limit = self.lengths.copy()
            user = np.repeat(np.arange(self.num_users), self.lengths)
            np.minimum.at(limit, user[held_out], position[held_out])
        training = position < np.repeat(limit, self.lengths)
        return np.bincount(self.items[training], minlength=self.num_items)

    def digests(self) -> dict[str, str]:
        """`interactions` changes with any of them and the split; `digest` with item vectors too."""
        total = hashlib.sha256()
        for array in (self.items, self.offsets, self.split):
            total.update(np.ascontiguousarray(array).data)
        interactions = total.hexdigest()
        if self.item_vectors is not None:
            total.update(np.ascontiguousarray(self.item_vectors).data)
        return {"digest": total.hexdigest(), "interactions": interactions}

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Writes to ``directory`` as a whole, in place of what was there.

        Raises:
            OSError: the place is not writable; nothing is left behind.
        """
        directory = Path(directory)
        directory.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
        try:
            self._write(scratch / "new")
            _put(scratch / "new", directory, scratch / "old")
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _write(self, directory: Path) -> None:
        directory.mkdir()
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
        """Reads what ``save`` wrote; with ``mmap`` the arrays are read-only views of the files.

        Raises:
            UserError: files are missing, damaged or do not fit together.
        """
        import polars as pl

        directory = Path(directory)
        try:
            about = json.loads((directory / "interactions.json").read_text())
            arrays: dict[str, Any] = dict.fromkeys(_ARRAYS)
            for key in about["arrays"]:
                arrays[key] = npy.load(directory / f"{key}.npy", mmap)
            items = pl.read_parquet(directory / "items.parquet")
            loaded = cls(
                **arrays,
                user_ids=pl.read_parquet(directory / "users.parquet")["id"],
                item_ids=items["id"],
                item_text=items["text"] if "text" in items.columns else None,
                name=about["name"],
            )
            _check(loaded)
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            pl.exceptions.PolarsError,
            pl.exceptions.PanicException,
        ) as error:
            raise UserError(
                f"{directory} does not hold complete prepared interactions ({error});"
                " delete it and prepare the data again"
            ) from error
        return loaded


def positions(offsets: Int64[np.ndarray, "users_plus_1"]) -> Int64[np.ndarray, "total"]:
    """Index of each interaction in its user's sequence, 0 = the oldest."""
    return np.arange(offsets[-1]) - np.repeat(offsets[:-1], np.diff(offsets))


def _put(new: Path, place: Path, old: Path) -> None:
    """Renames ``new`` to ``place``; another process doing the same at this time is no error."""
    for _ in range(10):
        try:
            os.rename(new, place)
            return
        except OSError:
            if not place.exists():
                raise
        try:  # os.rename does not replace a directory that has files
            os.rename(place, old)
        except FileNotFoundError:
            continue
        shutil.rmtree(old, ignore_errors=True) if old.is_dir() else old.unlink()
    raise OSError(f"could not replace {place}")


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
