"""The vectors by which a model scores: of items, of users, and the items next to an item."""

import functools
import os
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Float32, Int32
import numpy as np
import polars as pl

from rearec_jax.errors import UserError
from rearec_jax.ops.scores import scores
from rearec_jax.recommend import arguments
from rearec_jax.recommend.arguments import Given, whole_number
from rearec_jax.recommend.engine import SCORE_BYTES, Encode, Parameters
from rearec_jax.recommend.histories import of_ids
from rearec_jax.recommend.recommender import Recommender
from rearec_jax.recommend.results import Ranked, Recommendations
from rearec_jax.recommend.rows import Rows, batches
from rearec_jax.run import files
from rearec_jax.run.workdir import explained


class Vectors(NamedTuple):
    """Vectors with the ids that they belong to.

    ids:   The raw ids.
    array: A row for each id. The product of a user's row and an item's is the score of `recommend`.
    """

    ids: pl.Series
    array: Float32[np.ndarray, "n D"]

    def frame(self) -> pl.DataFrame:
        """Returns a data frame of `id` and `vector`."""
        width = self.array.shape[1]
        vectors = pl.Series("vector", self.array, dtype=pl.Array(pl.Float32, width))
        return pl.DataFrame([self.ids.alias("id"), vectors])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the vectors to a .parquet file of `id` and `vector`, or to a .npy file.

        Beside items.npy lies items.ids.txt, with the id of each row on a line of its own. A file
        appears whole, in place of what was there; directories are made.

        Raises:
            UserError: the name ends otherwise, an id has several lines, or nothing can be written.
        """
        file = files.place(files.expanded(path))
        if file.suffix not in (".parquet", ".npy"):
            raise UserError(f"{file}: vectors are written to a .parquet or a .npy file")
        with explained(file, "path"):
            file.parent.mkdir(parents=True, exist_ok=True)
            if file.suffix == ".parquet":
                files.write_whole(file, lambda out: self.frame().write_parquet(out))
                return
            if self.ids.str.contains("[\r\n]").any():
                raise UserError(f"{file}: an id has several lines; write a .parquet file")
            lines = "".join(f"{one}\n" for one in self.ids)
            files.write_whole(file.with_suffix(".ids.txt"), lambda out: out.write(lines.encode()))
            files.save_array(file, self.array)


def item_vectors(recommender: Recommender) -> Vectors:
    """Returns the vector of every item; of length 1 where scores are cosines."""
    count = len(recommender.items)
    return Vectors(recommender.items.ids, np.asarray(recommender.engine.ranked[:count], np.float32))


def user_vectors(recommender: Recommender, histories: Given, names: pl.Series) -> Vectors:
    """Returns what represents each user after the last reasoning step.

    Args:
        recommender: the model.
        histories: the item ids of each user, the oldest first.
        names: the ids of the users.

    Raises:
        UserError: a history is no list of ids, or no item of it is known.
    """
    engine, found = recommender.engine, of_ids(histories, recommender.items)
    if found.is_empty.any():
        raise UserError(
            f"user {names[int(found.is_empty.argmax())]}: no item of the history is known"
        )
    mask = len(recommender.items) if engine.cloze else None
    array = np.zeros((len(found), engine.ranked.shape[1]), np.float32)
    rows = batches(found, engine.max_length, engine.at_once, mask, recommender.sizes.row)
    for batch in rows:
        states = np.asarray(_represent(engine.encode, engine.parameters, batch, engine.steps))
        is_user = batch.users >= 0
        array[batch.users[is_user]] = states[is_user]
    return Vectors(names, array)


@functools.partial(jax.jit, static_argnames=("encode", "steps"))
def _represent(
    encode: Encode, parameters: Parameters, rows: Rows, steps: int
) -> Float32[Array, "B Q D"]:
    vectors = encode(parameters.weights, parameters.table, rows, steps)
    return vectors[:, :, -1].astype(jnp.float32)


def similar_items(recommender: Recommender, ids: Given, k: Given = 10) -> Recommendations:
    """Returns the k items whose vectors have the largest cosine with that of each item.

    Raises:
        UserError: an id is no item's, or k is no whole number of at least 1.
    """
    count = whole_number(k, "k")
    if count < 1:
        raise UserError(f"k={count} must be at least 1")
    items = recommender.items
    given = [[one] for one in arguments.ids(ids, "ids", in_order=True)]
    wanted = of_ids(given, items, "error").items
    table = unit_length(recommender.engine.ranked[: len(items)])
    count = min(count, len(items) - 1)
    at_once = max(1, SCORE_BYTES // (4 * len(items)))
    parts = [wanted[start : start + at_once] for start in range(0, len(wanted), at_once)]
    found = [_nearest(table, jnp.asarray(part), count) for part in parts]
    best, cosines = (np.concatenate(column) for column in zip(*found, strict=True))
    nobody = np.zeros(len(wanted), bool)
    return Recommendations(Ranked(best, cosines, nobody), items, ((),) * len(wanted))


def unit_length(table: Float[Array, "N D"]) -> Float[Array, "N D"]:
    """Scales the rows to length 1; a row of zeros stays."""
    length = jnp.linalg.norm(table, axis=-1, keepdims=True)
    return table / jnp.where(length > 0, length, jnp.ones_like(length))


def _nearest(
    table: Float[Array, "N D"], wanted: Int32[Array, " n"], count: int
) -> tuple[Int32[np.ndarray, "n k"], Float32[np.ndarray, "n k"]]:
    cosines = scores(table[wanted], table)
    cosines = cosines.at[jnp.arange(len(wanted)), wanted].set(-jnp.inf)
    values, found = jax.lax.top_k(cosines, count)
    return np.asarray(found, np.int32), np.asarray(values, np.float32)
