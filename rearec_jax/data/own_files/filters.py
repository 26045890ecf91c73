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


def drop_repeated(frame: pl.DataFrame, config: DataConfig) -> pl.DataFrame:
    """Applies ``config.duplicates`` to sorted rows, and says how many are left out.

    ``drop`` leaves one of rows that are the same in user, item and time; ``last`` leaves a user's
    last interaction with each item.
    """
    if config.duplicates == "keep":
        return frame
    keys = ["user", "item"]
    if config.duplicates == "drop":
        keys += [name for name in ("timestamp", "fraction") if name in frame.columns]
    keep = "first" if config.duplicates == "drop" else "last"
    kept = frame.unique(keys, keep=keep, maintain_order=True)
    logging.warning(
        "%s: %d of %d interactions are left out, which repeat others (data.duplicates=%s)",
        config.path,
        len(frame) - len(kept),
        len(frame),
        config.duplicates,
    )
    return kept


def drop_rare(frame: pl.DataFrame, config: DataConfig) -> pl.DataFrame:
    """Applies ``core``, ``min_user`` and ``min_item``, and says how much is left out.

    Users and items are removed again and again until all have enough. With ``min_user`` and
    ``single_users=keep`` only items are removed, and users with too few interactions are never
    targets (``target_ok``).

    Raises:
        UserError: nothing is left.
    """
    users = max(1, config.min_user or config.core)
    items = max(1, config.min_item or config.core)
    if max(users, items) < 2:
        return frame
    keep_users = bool(config.min_user) and config.single_users == "keep"
    kept = core(frame, 1 if keep_users else users, items)
    if kept.is_empty():
        least = f"the {config.core}-core is empty (no set of users and items has {config.core}"
        least += " interactions each); lower data.core"
        if config.min_user or config.min_item:
            least = f"no set of users with {users} and items with {items} interactions each is"
            least += " there; lower data.min_user or data.min_item"
        raise UserError(f"{config.path}: {least}")
    few = pl.len().over("user") < users
    if keep_users:
        kept = kept.with_columns(target_ok=pl.col("target_ok") & ~few)
        context = kept.filter(few)["user"].n_unique()
        logging.warning(
            "%s: %d users with fewer than %d interactions are never targets; their items stay",
            config.path,
            context,
            users,
        )
    gone = [frame[name].n_unique() - kept[name].n_unique() for name in ("user", "item")]
    if any(gone):
        logging.warning(
            "%s: %d users with fewer than %d interactions and %d items with fewer than %d are left"
            " out",
            config.path,
            gone[0],
            users,
            gone[1],
            items,
        )
    return kept


def core(
    frame: pl.DataFrame, least: int, least_items: int, user: str = "user", item: str = "item"
) -> pl.DataFrame:
    """Returns the rows where each user has ``least`` of them, and each item ``least_items``."""
    (users, _), (items, _) = encode(frame[user]), encode(frame[item])
    return frame.filter(pl.Series(core_mask(users, items, least, least_items)))


def core_mask(
    users: Int64[np.ndarray, "rows"],
    items: Int64[np.ndarray, "rows"],
    core: int,
    least_items: int | None = None,
) -> Bool[np.ndarray, "rows"]:
    """Marks the interactions of the k-core, where all users and items have at least ``core``.

    Users and items with fewer are removed, again and again until none is left to remove. The result
    does not depend on the order of removal. Each of repeated interactions counts. Items may have
    another least number.
    """
    keep = np.ones(len(users), dtype=bool)
    rows = np.arange(len(users))
    while len(rows):
        enough = np.bincount(users[rows]) >= core
        enough_items = np.bincount(items[rows]) >= (least_items or core)
        stay = enough[users[rows]] & enough_items[items[rows]]
        if stay.all():
            break
        keep[rows[~stay]] = False
        rows = rows[stay]
    return keep
