"""The paper's recipe, common to Yelp and Amazon (docs/data_sets.md): from rows to interactions.

``unfiltered`` makes sequences of the rows of a data set, ``target_codes`` decides what may be a
target, ``compact`` keeps what examples need, and ``with_text`` adds the items' text.
"""

import dataclasses

from jaxtyping import Bool, Int32, Int64, UInt8
import numpy as np
import polars as pl

from rearec_jax.data.interactions import (
    CONTEXT,
    TEST,
    TRAIN,
    VALIDATION,
    Interactions,
    offsets_of,
    positions,
    up_to_here,
)
from rearec_jax.data.published.row_counts import Counts
from rearec_jax.data.raw_ids import encode
from rearec_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Unfiltered:
    """All interactions before filtering, user by user, each in time order.

    items:      the dense id of each item.
    offsets:    the position where each user begins, and the total.
    timestamps: the time of each interaction, seconds since 1970.
    period:     TRAIN, VALIDATION or TEST by time.
    target_ok:  False where the rating is too low for a target.
    """

    items: Int32[np.ndarray, "total"]
    offsets: Int64[np.ndarray, "users_plus_1"]
    timestamps: Int64[np.ndarray, "total"]
    period: UInt8[np.ndarray, "total"]
    target_ok: Bool[np.ndarray, "total"]


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A prepared data set, and the titles of its items.

    data:   the interactions, with the items' text.
    titles: the plain title of each item (String, null = none).
    """

    data: Interactions
    titles: pl.Series


def in_order(
    users: Int64[np.ndarray, "rows"], timestamps: Int64[np.ndarray, "rows"]
) -> Int64[np.ndarray, "rows"]:
    """Returns the order of rows by user, then time; ties stay in the order of the file."""
    return np.lexsort((timestamps, users))


def unfiltered(
    users: Int64[np.ndarray, "total"],
    items: Int64[np.ndarray, "total"],
    timestamps: Int64[np.ndarray, "total"],
    period: UInt8[np.ndarray, "total"],
    target_ok: Bool[np.ndarray, "total"],
) -> Unfiltered:
    """Returns rows that are sorted by user as sequences; each user up to the last has a row."""
    return Unfiltered(
        items=items.astype(np.int32),
        offsets=offsets_of(users, int(users[-1]) + 1),
        timestamps=timestamps,
        period=period,
        target_ok=target_ok,
    )


def target_codes(
    data: Unfiltered,
    min_history: tuple[int, int],
    untitled: Bool[np.ndarray, "N"] | None,
    counts: Counts,
) -> UInt8[np.ndarray, "total"]:
    """Returns what each position is as a target after the filters, CONTEXT where it is none.

    1. Training targets need a history of at least ``min_history[0]`` items; neither they nor any
       item of their history may be ``untitled``.
    2. Validation and test targets need a history of at least ``min_history[1]`` items; then the
       target, then all items of its history must occur in a row that step 1 has left, as target or
       in the history.

    Args:
        data: the interactions.
        min_history: the shortest history of a training target, and of a held-out one.
        untitled: the items without a title; None where titles do not matter.
        counts: the display of the stages.

    Raises:
        UserError: no target is left in training, validation or test.
    """
    held_out = data.period != TRAIN
    codes = np.where(data.target_ok, data.period, CONTEXT)
    _count(counts, "targets by time", codes)
    enough = positions(data.offsets) >= np.where(held_out, min_history[1], min_history[0])
    codes[~enough] = CONTEXT
    if untitled is not None:
        codes[~held_out & up_to_here(untitled[data.items], data.offsets)] = CONTEXT
    _count(counts, "history long enough", codes)
    unknown = ~_known(data, codes)[data.items]
    codes[held_out & unknown] = CONTEXT
    _count(counts, "target in training", codes)
    codes[held_out & up_to_here(unknown, data.offsets)] = CONTEXT
    _count(counts, "history in training", codes)
    for code, name in ((TRAIN, "training"), (VALIDATION, "validation"), (TEST, "test")):
        if not (codes == code).any():
            raise UserError(f"{counts.name}: the recipe leaves no target for {name} in these files")
    return codes


def compact(
    name: str,
    rows: Unfiltered,
    codes: UInt8[np.ndarray, "total"],
    user_ids: pl.Series,
    item_ids: pl.Series,
) -> Interactions:
    """Returns the interactions that examples need, with dense ids of the users and items left.

    Args:
        name: the name of the data set.
        rows: all interactions.
        codes: what each of them is as a target (``target_codes``).
        user_ids: the raw id of each user of ``rows``.
        item_ids: the raw id of each item of ``rows``.
    """
    keep = needed(codes, rows.offsets)
    user = np.repeat(np.arange(len(rows.offsets) - 1), np.diff(rows.offsets))[keep]
    users, left_users = encode(user_ids.gather(user))
    items, left_items = encode(item_ids.gather(rows.items[keep]))
    training = np.bincount(users[rows.period[keep] == TRAIN], minlength=len(left_users))
    return Interactions(
        items=items.astype(np.int32),
        offsets=offsets_of(users, len(left_users)),
        split=codes[keep],
        timestamps=rows.timestamps[keep],
        user_ids=left_users,
        item_ids=left_items,
        item_text=None,
        name=name,
        training_lengths=training.astype(np.int64),
    )


def with_text(data: Interactions, table: pl.DataFrame) -> Prepared:
    """Adds ``title`` and ``text`` of a table with the column ``id``; its last row of an id counts.

    The text is null where it is empty.
    """
    table = table.unique("id", keep="last", maintain_order=True).select(
        "id", "title", text=pl.col("text").str.strip_chars().replace("", None)
    )
    found = data.item_ids.alias("id").to_frame()
    found = found.join(table, on="id", how="left", maintain_order="left")
    return Prepared(dataclasses.replace(data, item_text=found["text"]), found["title"])


def needed(
    codes: UInt8[np.ndarray, "total"], offsets: Int64[np.ndarray, "users_plus_1"]
) -> Bool[np.ndarray, "total"]:
    """Marks the positions up to their user's last target: no example holds the others.

    So the items of the needed positions are just those that occur in training.
    """
    return positions(offsets) <= np.repeat(_last(codes != CONTEXT, offsets), np.diff(offsets))


def _known(data: Unfiltered, codes: UInt8[np.ndarray, "total"]) -> Bool[np.ndarray, "N"]:
    """Marks the items that occur in a training row, which is a target and all before it."""
    last = _last(codes == TRAIN, data.offsets)
    inside = positions(data.offsets) <= np.repeat(last, np.diff(data.offsets))
    known = np.zeros(int(data.items.max()) + 1, dtype=bool)
    known[data.items[inside]] = True
    return known


def _last(
    mask: Bool[np.ndarray, "total"], offsets: Int64[np.ndarray, "users_plus_1"]
) -> Int64[np.ndarray, "users"]:
    """Returns the position of each user's last True, -1 where there is none; no user is empty."""
    marked = np.where(mask, positions(offsets), -1)
    return np.maximum.reduceat(marked, offsets[:-1])


def _count(counts: Counts, stage: str, codes: UInt8[np.ndarray, "total"]) -> None:
    number = np.bincount(codes, minlength=TEST + 1)
    counts.add(
        stage, train=int(number[TRAIN]), valid=int(number[VALIDATION]), test=int(number[TEST])
    )
