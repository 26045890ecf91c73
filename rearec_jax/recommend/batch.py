"""Recommends for batches of Arrow, as Spark, Ray Data and other engines hand them out."""

from collections.abc import Iterator
import dataclasses
import functools
import os
from typing import Any

import polars as pl
import pyarrow as pa

from rearec_jax.data.own_files import cells
from rearec_jax.errors import UserError, shown
from rearec_jax.recommend import model_directory
from rearec_jax.recommend.arguments import Given, whole_number
from rearec_jax.recommend.histories import of_ids
from rearec_jax.recommend.recommend_files import frame_of
from rearec_jax.recommend.recommender import Options, Recommender

SCHEMA = pa.schema(
    {
        "user_id": pa.string(),
        "rank": pa.int32(),
        "item_id": pa.string(),
        "score": pa.float32(),
        "by": pa.string(),
    }
)


@dataclasses.dataclass(frozen=True)
class BatchRecommender:
    """A function from users with their items to their lists, a row a listed item.

    It can be pickled. Each process loads the model at its first batch.

    path:         The directory of the run or the export, the same on every machine.
    user_column:  The column of user ids.
    items_column: The column of lists of item ids, the oldest first.
    options:      The options of the lists.
    """

    path: str
    user_column: str
    items_column: str
    options: Options

    sql_schema = "user_id string, rank int, item_id string, score float, by string"

    def __call__(self, batch: Any) -> Any:
        """Returns the lists for a record batch or a table, or an iterator of them for one of these.

        Raises:
            UserError: the model cannot be loaded, or the batch lacks a column or an id.
        """
        if isinstance(batch, Iterator):
            return map(self, batch)
        lists = self._lists(batch)
        if isinstance(batch, pa.Table):
            return lists
        return pa.RecordBatch.from_arrays(
            [pa.concat_arrays(column.chunks) for column in lists.columns], schema=SCHEMA
        )

    def _lists(self, batch: pa.RecordBatch | pa.Table) -> pa.Table:
        names = batch.schema.names
        for name in (self.user_column, self.items_column):
            if name not in names:
                raise UserError(
                    f"a batch has no column {name!r}; its columns are {', '.join(names)}; name"
                    " them by user_column= and items_column="
                )
        given = pl.Series(self.user_column, pl.from_arrow(batch.column(self.user_column)))
        users = cells.id_texts(given)
        if users.has_nulls():
            value = given[int(users.is_null().arg_max() or 0)]
            raise UserError(cells.id_fault(value, f"column {self.user_column!r}"))
        histories = [ids or [] for ids in batch.column(self.items_column).to_pylist()]
        model = _loaded(self.path)
        ranked = model.rank(of_ids(histories, model.items), self.options)
        return frame_of(ranked, model.items, users).to_arrow().cast(SCHEMA)


def batch_recommender(
    path: str | os.PathLike[str],
    k: Given = 10,
    *,
    user_column: str = "user_id",
    items_column: str = "items",
    steps: Given = None,
    exclude_seen: bool = True,
) -> BatchRecommender:
    """Returns a function for Spark's ``mapInArrow`` and Ray Data's ``map_batches``.

    Args:
        path: the directory of a run or an export.
        k: the number of items of a list.
        user_column: the column of user ids.
        items_column: the column of lists of item ids, the oldest first.
        steps: the number of reasoning steps; None: as many as in training.
        exclude_seen: whether the items of a user's history are left out.

    Raises:
        UserError: an option has no meaning.
    """
    count = whole_number(k, "k")
    if count < 1:
        raise UserError(f"k={shown(k)} must be at least 1")
    taken = None if steps is None else whole_number(steps, "steps")
    options = Options(k=count, steps=taken, exclude_seen=exclude_seen)
    return BatchRecommender(os.path.abspath(path), user_column, items_column, options)


@functools.lru_cache(1)
def _loaded(path: str) -> Recommender:
    """Loads the model of a directory, once in a process."""
    return model_directory.load(path)
