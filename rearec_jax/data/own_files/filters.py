"""Filters interactions, and marks those that may be targets."""

import logging

from jaxtyping import Bool, Int64
import numpy as np
import polars as pl

from rearec_jax.config import DataConfig
from rearec_jax.data.raw_ids import encode
from rearec_jax.errors import UserError


def filter_ratings(frame: pl.DataFrame, config: DataConfig) -> pl.DataFrame:
    """Applies ``rating_above`` (rating > x) and adds the Boolean column ``target_ok``.

    ``rating_filter=interactions`` removes the other rows; ``targets`` keeps them in histories and
    only marks them, so that they are never predicted.

    Raises:
        UserError: there are no ratings to filter by, or nothing is left.
    """
    if config.rating_above is None:
        return frame.with_columns(target_ok=True)
    if "rating" not in frame.columns:
        raise UserError(
            f"data.rating_above={config.rating_above} needs ratings; set data.rating_column to"
            " the column that holds them"
        )
    good = pl.col("rating") > config.rating_above
    if config.rating_filter == "interactions":
        frame = frame.filter(good)
    frame = frame.with_columns(target_ok=good)
    if not frame["target_ok"].any():
        raise UserError(
            f"{config.path}: no rating is above {config.rating_above}; lower data.rating_above"
        )
    return frame


def drop_single(frame: pl.DataFrame, config: DataConfig) -> pl.DataFrame:
    """Removes users with one interaction, whom leave_one_out cannot split, and says how many.

    Raises:
        UserError: nobody is left.
    """
    if config.split != "leave_one_out" or config.single_users == "keep":
        return frame
    several = frame.filter(~pl.col("user").is_unique())
    dropped = len(frame) - len(several)
    if several.is_empty():
        raise UserError(
            f"{config.path}: all {dropped} users have one interaction only, too few to leave one"
            " out; is data.user_column right?"
        )
    if dropped:
        logging.warning(
            "%s: %d users with one interaction are left out; data.single_users=keep keeps them and"
            " their items, which are never predicted for them",
            config.path,
            dropped,
        )
    return several


def core(frame: pl.DataFrame, least: int, user: str = "user", item: str = "item") -> pl.DataFrame:
    """Returns the rows of the k-core of the columns ``user`` and ``item``, with k = ``least``."""
    (users, _), (items, _) = encode(frame[user]), encode(frame[item])
    return frame.filter(pl.Series(core_mask(users, items, least)))


def core_mask(
    users: Int64[np.ndarray, "rows"], items: Int64[np.ndarray, "rows"], core: int
) -> Bool[np.ndarray, "rows"]:
    """Marks the interactions of the k-core, where all users and items have at least ``core``.

    Users and items with fewer are removed, again and again until none is left to remove. The result
    does not depend on the order of removal. Each of repeated interactions counts.
    """
    keep = np.ones(len(users), dtype=bool)
    rows = np.arange(len(users))
    while len(rows):
        enough = np.bincount(users[rows]) >= core
        enough_items = np.bincount(items[rows]) >= core
        stay = enough[users[rows]] & enough_items[items[rows]]
        if stay.all():
            break
        keep[rows[~stay]] = False
        rows = rows[stay]
    return keep
