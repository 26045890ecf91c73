"""The items of a model in the words of its user: raw ids, titles, how often each was trained on."""

import dataclasses
import functools
import pathlib

from jaxtyping import Int32, Int64
import numpy as np
import polars as pl

from rearec_jax.data.interactions import Interactions
from rearec_jax.errors import UserError
from rearec_jax.run.files import write_whole

FILE = "items.parquet"
_COLUMNS = {"id": pl.String, "title": pl.String, "count": pl.Int64}


@dataclasses.dataclass(frozen=True)
class Items:
    """Item n is row n of the model's table.

    ids:    raw ids (String), no two alike.
    titles: text of each item (String), null where it has none.
    counts: occurrences in the training period; 0 for items that joined later.
    """

    ids: pl.Series
    titles: pl.Series
    counts: Int64[np.ndarray, " N"]

    def __len__(self) -> int:
        return len(self.ids)

    @functools.cached_property
    def index(self) -> dict[str, int]:
        """Raw id -> n."""
        return {raw: number for number, raw in enumerate(self.ids.to_list())}

    @functools.cached_property
    def popular(self) -> Int32[np.ndarray, " N"]:
        """All items, the most frequent first; of equals the lower n first."""
        return np.argsort(-self.counts, kind="stable").astype(np.int32)

    def join(self, ids: pl.Series, titles: pl.Series) -> "Items":
        """These items, then new ones that nobody has had.

        Raises:
            UserError: an id that is there already, or twice.
        """
        both = pl.concat([self.ids.alias("id"), ids.cast(pl.String).alias("id")])
        repeated = both.filter(both.is_duplicated())
        if len(repeated):
            raise UserError(f"item {repeated[0]!r} is in the catalogue already, or given twice")
        titles = pl.concat([self.titles.alias("title"), titles.cast(pl.String).alias("title")])
        counts = np.concatenate([self.counts, np.zeros(len(ids), np.int64)])
        return Items(both, titles, counts)


def of_data(data: Interactions) -> Items:
    """The items that a model is trained on; an item's title is its text."""
    titles = data.item_text
    if titles is None:
        titles = pl.Series("title", [None] * data.num_items, pl.String)
    counts = data.training_counts().astype(np.int64)
    return Items(data.item_ids.cast(pl.String), titles.cast(pl.String), counts)


def save(items: Items, path: pathlib.Path) -> None:
    """Writes a Parquet file of id, title and count, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    count = pl.Series("count", items.counts)
    frame = pl.DataFrame([items.ids.alias("id"), items.titles.alias("title"), count])
    write_whole(path, lambda file: frame.write_parquet(file))


def load(path: pathlib.Path) -> Items:
    """Reads what ``save`` wrote.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        frame = pl.read_parquet(path, columns=list(_COLUMNS))
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"{path} cannot be read: {reason}") from error
    if frame.schema != _COLUMNS or frame["id"].has_nulls() or frame["count"].has_nulls():
        raise UserError(f"{path} is damaged: its columns are not ids, titles and counts")
    return Items(frame["id"], frame["title"], frame["count"].to_numpy())
