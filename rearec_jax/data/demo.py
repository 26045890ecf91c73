"""Generates data whose best possible metrics are known.

A user's next item is drawn from a mixture that depends on nothing but the items so far, so
p(next | history) can be computed exactly, and with it what the best model can reach:

    0.25  a successor of the last item                        (short-term, item to item)
    0.10  a category that follows the last item's category    (short-term, by category)
    0.60  a category as often as it occurs in the history     (long-term)
    0.05  any item                                            (noise)

and inside a chosen category an item by its popularity (Zipf). Items may repeat. Drawing
categories in proportion to the past makes users' tastes drift apart and stay apart.
"""

import dataclasses

from jaxtyping import Float64, Int32, Int64
import numpy as np
import polars as pl

from rearec_jax.config import DataConfig
from rearec_jax.data.interactions import TEST, Interactions
from rearec_jax.data.own_files import splits
from rearec_jax.errors import UserError

SUCCESSOR, FOLLOW, TASTE, NOISE = 0.25, 0.10, 0.60, 0.05
_SUCCESSORS = np.array([0.6, 0.3, 0.1])  # of an item
_FOLLOWERS = np.array([0.7, 0.2, 0.1])  # of a category
_MIN_LENGTH, _MAX_LENGTH = 5, 40
_START = 1_577_836_800  # 2020-01-01 UTC
_DAY = 86_400
_BLOCK = 1 << 21  # probabilities held at once

# fmt: off
_ADJECTIVES = (
    "Amber", "Brass", "Classic", "Compact", "Copper",
    "Cosy", "Deluxe", "Folding", "Golden", "Handmade",
    "Indigo", "Ivory", "Little", "Modern", "Rustic",
    "Scarlet", "Silver", "Sturdy", "Travel", "Vintage",
)
_NOUNS = (
    "Backpack", "Bicycle", "Blanket", "Camera", "Candle",
    "Chessboard", "Clock", "Compass", "Drum", "Easel",
    "Globe", "Guitar", "Hammock", "Kettle", "Lantern",
    "Microscope", "Mirror", "Notebook", "Puzzle", "Radio",
    "Scarf", "Skateboard", "Teapot", "Telescope", "Tent",
    "Umbrella", "Vase", "Violin", "Wallet", "Watch",
)
# fmt: on


@dataclasses.dataclass(frozen=True)
class Process:
    """The process that generates users. Item n belongs to category n // 20.

    weight:     the popularity of each item in its category, where they sum to 1.
    successors: the items that may follow each item, the likeliest first.
    followers:  the categories that may follow each category, the likeliest first.
    """

    weight: Float64[np.ndarray, "N"]
    successors: Int64[np.ndarray, "N 3"]
    followers: Int64[np.ndarray, "C 3"]

    @property
    def category(self) -> Int64[np.ndarray, "N"]:
        """The category of each item."""
        return np.arange(len(self.weight)) // len(_ADJECTIVES)

    def next_item_distribution(
        self, history: Int32[np.ndarray, "length"] | Int64[np.ndarray, "length"]
    ) -> Float64[np.ndarray, "N"]:
        """Returns p(next item | history), exactly; of at least one item, the oldest first."""
        history = np.asarray(history, dtype=np.int64)
        counts = np.bincount(self.category[history], minlength=len(self.followers))
        return self.distributions(history[-1:], counts[None] / len(history))[0]

    def distributions(
        self, last: Int64[np.ndarray, "M"], taste: Float64[np.ndarray, "M C"]
    ) -> Float64[np.ndarray, "M N"]:
        """Returns the mixture above for M users.

        Args:
            last: the last item of each user.
            taste: the share of each category in each user's history.
        """
        rows = np.arange(len(last))[:, None]
        categories = TASTE * taste
        # A plain += suffices: the three followers, and the three successors, are distinct.
        categories[rows, self.followers[self.category[last]]] += FOLLOW * _FOLLOWERS
        p = categories[:, self.category] * self.weight
        p[rows, self.successors[last]] += SUCCESSOR * _SUCCESSORS
        return p + NOISE / len(self.weight)


def process(config: DataConfig) -> Process:
    """Returns the process of ``demo_items`` and ``demo_seed``; equal numbers give an equal process.

    Raises:
        UserError: the catalogue has fewer than 60 items (three categories).
    """
    per = len(_ADJECTIVES)
    if config.demo_items < 3 * per:
        raise UserError(f"data.demo_items={config.demo_items} must be at least {3 * per}")
    rng = np.random.default_rng([config.demo_seed, 0])
    items = np.arange(config.demo_items)
    categories = -(-config.demo_items // per)
    popularity = rng.permuted(np.tile(1 / np.arange(1, per + 1), (categories, 1)), axis=1)
    weight = popularity.ravel()[: config.demo_items]
    weight /= np.bincount(items // per, weights=weight)[items // per]
    return Process(
        weight=weight,
        successors=_distinct(rng, config.demo_items, config.demo_items),
        followers=_distinct(rng, categories, categories),
    )


def generate(config: DataConfig) -> Interactions:
    """Generates ``demo_users`` users over ``demo_items`` items, split by ``config.split``.

    Item and user ids count from 1, so dense ids are the process's item numbers. Sequences have 5 to
    40 items, a few days apart, from 2020 on. No filter is applied.

    Raises:
        UserError: the catalogue is too small, or the split leaves no target.
    """
    if config.demo_users < 1:
        raise UserError(f"data.demo_users={config.demo_users} must be at least 1")
    source = process(config)
    rng = np.random.default_rng([config.demo_seed, 1])
    lengths = rng.integers(_MIN_LENGTH, _MAX_LENGTH + 1, config.demo_users)
    table = _sequences(source, rng, config.demo_users)
    days = rng.integers(0, 365, config.demo_users)[:, None] + np.cumsum(
        rng.integers(1, 15, table.shape), axis=1
    )
    inside = np.arange(_MAX_LENGTH) < lengths[:, None]
    items = table[inside].astype(np.int32)
    timestamps = _START + _DAY * days[inside]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    split = splits.assign(config, items, offsets, splits.Given(timestamps))
    return Interactions(
        items=items,
        offsets=offsets,
        split=split.codes,
        timestamps=timestamps,
        user_ids=_count_from_one(config.demo_users),
        item_ids=_count_from_one(config.demo_items),
        item_text=pl.Series(titles(config.demo_items), dtype=pl.String),
        name=config.name,
        training_lengths=split.training_lengths,
    )


def titles(count: int) -> list[str]:
    """Returns titles such as 'Vintage Teapot': the noun is the category, the 31st 'Backpack 2'."""
    return [_title(n // len(_ADJECTIVES), n % len(_ADJECTIVES)) for n in range(count)]


def _title(category: int, number: int) -> str:
    series, noun = divmod(category, len(_NOUNS))
    return f"{_ADJECTIVES[number]} {_NOUNS[noun]}" + (f" {series + 1}" if series else "")


def best_possible(
    interactions: Interactions,
    config: DataConfig,
    split: int = TEST,
    cutoffs: tuple[int, ...] = (10, 20),
) -> dict[str, float]:
    """Computes the NDCG of the true probabilities, {'ndcg@10': ...}: no model can expect more.

    It is the mean over the targets of ``split`` of the *expected* gain,
    sum_n p_n / log2(1 + rank_n) over ranks up to k, with items ranked by p(n | history).
    ``interactions`` must come from ``generate(config)``.
    """
    source = process(config)
    targets = np.flatnonzero(interactions.split == split)
    depth = min(max(cutoffs), interactions.num_items)
    gain = 1 / np.log2(2 + np.arange(depth))
    sums = np.zeros(depth)
    block = max(1, _BLOCK // interactions.num_items)
    for start in range(0, len(targets), block):
        p = source.distributions(*_state(source, interactions, targets[start : start + block]))
        top = -np.sort(-np.partition(p, -depth, axis=1)[:, -depth:], axis=1)
        sums += (top * gain).sum(axis=0)
    mean = sums / max(1, len(targets))
    return {f"ndcg@{k}": float(mean[:k].sum()) for k in cutoffs}


def _state(
    source: Process, interactions: Interactions, targets: Int64[np.ndarray, "M"]
) -> tuple[Int64[np.ndarray, "M"], Float64[np.ndarray, "M C"]]:
    """Returns the last item before each target, and the categories' shares in its history."""
    items = np.asarray(interactions.items, dtype=np.int64)
    start = interactions.offsets[np.searchsorted(interactions.offsets, targets, side="right") - 1]
    lengths = targets - start
    rows = np.repeat(np.arange(len(targets)), lengths)
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    history = items[start[rows] + within]
    width = len(source.followers)
    counts = np.bincount(rows * width + source.category[history], minlength=len(targets) * width)
    return items[targets - 1], counts.reshape(-1, width) / lengths[:, None]


def _sequences(
    source: Process, rng: np.random.Generator, users: int
) -> Int64[np.ndarray, "users 40"]:
    """Generates all users step by step: each draws a part of the mixture, then from that part."""
    table = np.zeros((users, _MAX_LENGTH), dtype=np.int64)
    everyone = np.arange(users)
    table[:, 0] = _from_category(source, rng, rng.integers(0, len(source.followers), users))
    for step in range(1, _MAX_LENGTH):
        last = table[:, step - 1]
        part = rng.choice(4, users, p=[SUCCESSOR, FOLLOW, TASTE, NOISE])
        follower = source.followers[
            source.category[last], rng.choice(len(_FOLLOWERS), users, p=_FOLLOWERS)
        ]
        # The category of a random earlier position: categories in proportion to their counts.
        taste = source.category[table[everyone, rng.integers(0, step, users)]]
        table[:, step] = np.choose(
            part,
            [
                source.successors[last, rng.choice(len(_SUCCESSORS), users, p=_SUCCESSORS)],
                _from_category(source, rng, follower),
                _from_category(source, rng, taste),
                rng.integers(0, len(source.weight), users),
            ],
        )
    return table


def _from_category(
    source: Process, rng: np.random.Generator, category: Int64[np.ndarray, "users"]
) -> Int64[np.ndarray, "users"]:
    """Draws an item of each category by popularity: category c fills [c, c + 1) of the weights."""
    bounds = np.cumsum(source.weight)
    item = np.searchsorted(bounds, category + rng.random(len(category)), side="right")
    # Rounding of the running sum must not carry a draw into the next category.
    first = category * len(_ADJECTIVES)
    last = np.minimum(first + len(_ADJECTIVES), len(source.weight)) - 1
    return np.clip(item, first, last)


def _distinct(rng: np.random.Generator, rows: int, values: int) -> Int64[np.ndarray, "rows 3"]:
    """Draws three different numbers below ``values`` in each row."""
    first = rng.integers(0, values, rows)
    step = rng.integers(1, values, (rows, 2))
    # Distances from the first value: different from 0, and the second moved off the first.
    step[:, 1] = 1 + (step[:, 0] + rng.integers(0, values - 2, rows)) % (values - 1)
    return np.stack([first, (first + step[:, 0]) % values, (first + step[:, 1]) % values], axis=1)


def _count_from_one(count: int) -> pl.Series:
    return pl.int_range(1, count + 1, eager=True).cast(pl.String)
