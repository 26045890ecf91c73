"""The catalogue of a model: the raw id, the title and the training count of each item."""

import dataclasses
import functools
import pathlib

from jaxtyping import Int32, Int64
import numpy as np
import polars as pl

from rearec_jax.data.interactions import Interactions
from rearec_jax.data.own_files.cells import id_text
from rearec_jax.data.parquet import read_columns
from rearec_jax.errors import UserError, shown
from rearec_jax.run import files

ITEMS_FILE = "items.parquet"
MOST_ITEMS = 2**31 - 1  # the rows of a table, which 32 bits count
_COLUMNS = {"id": pl.String, "title": pl.String, "count": pl.Int64}


@dataclasses.dataclass(frozen=True)
class Items:
    """The items of a model; item n is row n of its table.

    ids:    The raw ids (String), no two alike.
    titles: The text of each item (String), null where it has none.
    counts: How often each occurs in the training period; 0 for items that were added later.
    """

    ids: pl.Series
    titles: pl.Series
    counts: Int64[np.ndarray, " N"]

    def __len__(self) -> int:
        return len(self.ids)

    @functools.cached_property
    def index(self) -> dict[str, int]:
        """The dense id n of each raw id, also where it is written as `cells.id_text` does."""
        index = {raw: number for number, raw in enumerate(self.ids.to_list())}
        # The catalogues of earlier versions may have "17.0", which is "17" now.
        for number in self.ids.str.contains(r"\.0+$").arg_true():
            index.setdefault(id_text(self.ids[number]), number)
        return index

    @functools.cached_property
    def popular(self) -> Int32[np.ndarray, " N"]:
        """The dense ids of all items, the most frequent first; of equals the lower one first."""
        return np.argsort(-self.counts, kind="stable").astype(np.int32)

    def join(self, ids: pl.Series, titles: pl.Series) -> "Items":
        """Returns these items followed by new ones, whose counts are 0.

        Raises:
            UserError: an id is there already, or given twice.
        """
        both = pl.concat([self.ids.alias("id"), ids.cast(pl.String).alias("id")])
        repeated = both.filter(both.is_duplicated())
        if len(repeated):
            raise UserError(
                f"item {shown(repeated[0])} is in the catalogue already, or given twice"
            )
        titles = pl.concat([self.titles.alias("title"), titles.cast(pl.String).alias("title")])
        counts = np.concatenate([self.counts, np.zeros(len(ids), np.int64)])
        return Items(both, titles, counts)


def items_of_data(data: Interactions) -> Items:
    """Returns the items that a model is trained on; an item's title is its text."""
    titles = data.item_text
    if titles is None:
        titles = pl.Series("title", [None] * data.num_items, pl.String)
    counts = data.training_counts().astype(np.int64)
    return Items(data.item_ids.cast(pl.String), titles.cast(pl.String), counts)


def save_items(items: Items, path: pathlib.Path) -> None:
    """Writes the items to a Parquet file of id, title and count, whole or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    count = pl.Series("count", items.counts)
    frame = pl.DataFrame([items.ids.alias("id"), items.titles.alias("title"), count])
    files.write_whole(path, lambda file: frame.write_parquet(file))


def load_items(path: pathlib.Path) -> Items:
    """Reads the file that ``save_items`` wrote.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        files.inside(path.parent, path.name)
        frame = read_columns(path, _COLUMNS, MOST_ITEMS)
        ids, counts = frame["id"], frame["count"]
        if ids.has_nulls() or counts.has_nulls() or (counts < 0).any():
            raise ValueError("an item has no id, or no count of 0 or more")
        if (repeated := ids.filter(ids.is_duplicated())).len():
            raise ValueError(f"two items have the id {shown(repeated[0])}")
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    return Items(ids, frame["title"], counts.to_numpy())
