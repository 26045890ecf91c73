"""Filters interactions, and marks those that may be targets."""

from collections.abc import Iterable, Iterator
import logging

from jaxtyping import Bool, Int
import numpy as np
import polars as pl

from rearec_jax.config import DataConfig
from rearec_jax.data.own_files.gathering import Rows, add, stretches
from rearec_jax.data.raw_ids import encode
from rearec_jax.errors import UserError


def filter_ratings(frames: Iterable[pl.DataFrame], config: DataConfig) -> Iterator[pl.DataFrame]:
    """Applies ``rating_above`` (rating > x) and adds the Boolean column ``target_ok``.

    ``rating_filter=interactions`` removes the other rows; ``targets`` keeps them in histories and
    only marks them, so that they are never predicted.

    Args:
        frames: the parts of the interactions.
        config: the options.

    Raises:
        UserError: there are no ratings to filter by, or nothing is left.
    """
    found = config.rating_above is None
    for frame in frames:
        if config.rating_above is None:
            yield frame.with_columns(target_ok=True)
            continue
        if "rating" not in frame.columns:
            raise UserError(
                f"data.rating_above={config.rating_above} needs ratings; set data.rating_column to"
                " the column that holds them"
            )
        good = pl.col("rating") > config.rating_above
        if config.rating_filter == "interactions":
            frame = frame.filter(good)
        frame = frame.with_columns(target_ok=good)
        found |= bool(frame["target_ok"].any())
        yield frame
    if not found:
        raise UserError(
            f"{config.path}: no rating is above {config.rating_above}; lower data.rating_above"
        )


def in_order(frame: pl.DataFrame, config: DataConfig, per_second: int) -> pl.DataFrame:
    """Sorts rows by user and time, applies ``config.duplicates``, then cuts times to seconds.

    In this order, because a finer unit keeps more of the order.
    """
    keys = ("user", "timestamp", "fraction", "split") if "timestamp" in frame.columns else ("user",)
    order = [key for key in keys if key in frame.columns]
    frame = drop_repeated(frame.sort(order, maintain_order=True), config)
    if "timestamp" not in frame.columns:
        return frame
    return frame.with_columns(pl.col("timestamp") // per_second).drop("fraction", strict=False)


def drop_repeated(frame: pl.DataFrame, config: DataConfig) -> pl.DataFrame:
    """Applies ``config.duplicates`` to sorted rows.

    ``drop`` leaves one of rows that are the same in user, item and time; ``last`` leaves a user's
    last interaction with each item.
    """
    if config.duplicates == "keep":
        return frame
    keys = ["user", "item"]
    if config.duplicates == "drop":
        keys += [name for name in ("timestamp", "fraction") if name in frame.columns]
    keep = "first" if config.duplicates == "drop" else "last"
    return frame.unique(keys, keep=keep, maintain_order=True)


def warn_of_repeated(config: DataConfig, left_out: int, rows: int) -> None:
    """Says how many interactions `drop_repeated` has left out."""
    if config.duplicates != "keep":
        logging.warning(
            "%s: %d of %d interactions are left out, which repeat others (data.duplicates=%s)",
            config.path,
            left_out,
            rows,
            config.duplicates,
        )


def kept(
    rows: Rows, config: DataConfig
) -> tuple[Bool[np.ndarray, "rows"], Bool[np.ndarray, "users"]]:
    """Applies ``core``, ``min_user``, ``min_item`` and ``single_users``; says how much is left out.

    Returns:
        Whether each interaction is kept, and whether each user's may be targets.

    Raises:
        UserError: nothing is left.
    """
    keep, users = _without_rare(rows, config)
    if config.split == "leave_one_out" and config.single_users != "keep":
        _drop_single(rows, keep, config)
    return keep, users


def _drop_single(rows: Rows, keep: Bool[np.ndarray, "rows"], config: DataConfig) -> None:
    """Removes users with one interaction, whom leave_one_out cannot split, and says how many.

    Raises:
        UserError: nobody is left.
    """
    counts, _ = rows.count(keep)
    single = counts == 1
    dropped = int(single.sum())
    if dropped == np.count_nonzero(counts):
        raise UserError(
            f"{config.path}: all {dropped} users have one interaction only, too few to leave one"
            " out; is data.user_column right?"
        )
    if not dropped:
        return
    for part in stretches(len(keep)):
        keep[part] &= ~single[rows.users[part]]
    logging.warning(
        "%s: %d users with one interaction are left out; data.single_users=keep keeps them and"
        " their items, which are never predicted for them",
        config.path,
        dropped,
    )


def _without_rare(
    rows: Rows, config: DataConfig
) -> tuple[Bool[np.ndarray, "rows"], Bool[np.ndarray, "users"]]:
    """Removes users and items again and again until all have enough.

    With ``min_user`` and ``single_users=keep`` only items are removed, and users with too few
    interactions are never targets.

    Raises:
        UserError: nothing is left.
    """
    users = max(1, config.min_user or config.core)
    items = max(1, config.min_item or config.core)
    may_be_targets = np.ones(len(rows.user_ids), bool)
    if max(users, items) < 2:
        return np.ones(len(rows.users), bool), may_be_targets
    keep_users = bool(config.min_user) and config.single_users == "keep"
    keep = core_mask(rows.users, rows.items, 1 if keep_users else users, items)
    if not keep.any():
        least = f"the {config.core}-core is empty (no set of users and items has {config.core}"
        least += " interactions each); lower data.core"
        if config.min_user or config.min_item:
            least = f"no set of users with {users} and items with {items} interactions each is"
            least += " there; lower data.min_user or data.min_item"
        raise UserError(f"{config.path}: {least}")
    of_users, of_items = rows.count(keep)
    if keep_users:
        may_be_targets = of_users >= users
        logging.warning(
            "%s: %d users with fewer than %d interactions are never targets; their items stay",
            config.path,
            np.count_nonzero(of_users[~may_be_targets]),
            users,
        )
    gone = [np.count_nonzero(counts == 0) for counts in (of_users, of_items)]
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
    return keep, may_be_targets


def core(
    frame: pl.DataFrame, least: int, least_items: int, user: str = "user", item: str = "item"
) -> pl.DataFrame:
    """Returns the rows where each user has ``least`` of them, and each item ``least_items``."""
    (users, _), (items, _) = encode(frame[user]), encode(frame[item])
    return frame.filter(pl.Series(core_mask(users, items, least, least_items)))


def core_mask(
    users: Int[np.ndarray, "rows"],
    items: Int[np.ndarray, "rows"],
    core: int,
    least_items: int | None = None,
) -> Bool[np.ndarray, "rows"]:
    """Marks the interactions of the k-core, where all users and items have at least ``core``.

    Users and items with fewer are removed, again and again until none is left to remove. The result
    does not depend on the order of removal. Each of repeated interactions counts. Items may have
    another least number.
    """
    keep = np.ones(len(users), dtype=bool)
    counts = [np.zeros(1 + int(numbers.max(initial=0)), np.int64) for numbers in (users, items)]
    for part in stretches(len(users)):
        add(counts[0], users[part])
        add(counts[1], items[part])
    removed = True
    while removed:
        enough, enough_items = counts[0] >= core, counts[1] >= (least_items or core)
        removed = False
        for part in stretches(len(users)):
            gone = keep[part] & ~(enough[users[part]] & enough_items[items[part]])
            if gone.any():
                keep[part] &= ~gone
                add(counts[0], users[part][gone], -1)
                add(counts[1], items[part][gone], -1)
                removed = True
    return keep
