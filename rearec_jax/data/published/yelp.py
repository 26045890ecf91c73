"""Prepares Yelp's academic data set as in the paper (docs/data_sets.md)."""

import datetime
from pathlib import Path

from jaxtyping import Int64, UInt8
import numpy as np
import polars as pl

from rearec_jax.data.interactions import TEST, TRAIN, VALIDATION
from rearec_jax.data.own_files import filters
from rearec_jax.data.published import json_lines, recipe
from rearec_jax.data.published.line_blocks import Malformed
from rearec_jax.data.published.recipe import Prepared
from rearec_jax.data.published.row_counts import Counts
from rearec_jax.data.raw_ids import encode
from rearec_jax.errors import UserError
from rearec_jax.run.files import expanded

BUSINESSES = "yelp_academic_dataset_business.json"
REVIEWS = "yelp_academic_dataset_review.json"
HOMEPAGE = "https://www.yelp.com/dataset"
CORE = 20
MIN_HISTORY = 5
STARS_ABOVE = 3

AUTHORS = {
    "stars above 3": {"users": 1_464_850, "businesses": 147_491, "rows": 4_684_545},
    "20-core": {"users": 13_814, "businesses": 11_484, "rows": 624_159},
    "targets by time": {"train": 447_161, "valid": 110_176, "test": 66_822},
    "history in training": {"train": 385_589, "valid": 49_353, "test": 8_865},
}
_AUTHORS_CUTS = ("2018-09-04 08:16:19", "2020-05-12 22:02:32")  # in their local time

_REVIEW = {
    "user_id": pl.String,
    "business_id": pl.String,
    "stars": pl.Float64,
    "date": pl.String,
}
_BUSINESS = {
    "business_id": pl.String,
    "name": pl.String,
    "categories": pl.String,
    "city": pl.String,
    "state": pl.String,
}


def find(directory: str) -> tuple[Path, Path]:
    """Returns the paths of the two files, businesses and reviews, plain or .gz.

    Raises:
        UserError: a file is missing; the message says where to get it and where to put it.
    """
    root = Path(expanded(directory))
    found, missing = [], []
    for name in (BUSINESSES, REVIEWS):
        path = next((p for p in (root / name, root / f"{name}.gz") if p.is_file()), None)
        found.append(path or root)
        if not directory or path is None:
            missing.append(name)
    if missing:
        where = f"into {root}" if directory else "into one directory and set data.path to it"
        raise UserError(
            f"Yelp's files may not be passed on: get {' and '.join(missing)} from {HOMEPAGE}"
            f" (accept the terms, 'Download JSON', unpack) and put them {where}"
        )
    return found[0], found[1]


def prepare(businesses: Path, reviews: Path, malformed_share: float, counts: Counts) -> Prepared:
    """Prepares the data set by the paper's recipe.

    Reviews have more than 3 stars; of these, the iterated 20-core; the time span is cut at 80 % and
    90 %; then the filters of `recipe.target_codes`.

    Raises:
        UserError: a file is damaged, has too many malformed lines, or a filter leaves nothing.
    """
    frame = _core(_read_reviews(reviews, malformed_share, counts), counts)
    users, user_ids = encode(frame["user_id"])
    items, item_ids = encode(frame["business_id"])
    timestamps = frame["timestamp"].to_numpy()
    order = recipe.in_order(users, timestamps)
    rows = recipe.unfiltered(
        users[order],
        items[order],
        timestamps[order],
        _periods(timestamps, counts)[order],
        np.ones(len(order), dtype=bool),
    )
    codes = recipe.target_codes(rows, (MIN_HISTORY, MIN_HISTORY), None, counts)
    data = recipe.compact("yelp", rows, codes, user_ids, item_ids)
    return recipe.with_text(data, _read_businesses(businesses, data.item_ids, malformed_share))


def _read_reviews(path: Path, malformed_share: float, counts: Counts) -> pl.DataFrame:
    """Reads user_id, business_id and timestamp of the good reviews; nothing else is kept."""
    malformed = Malformed(path)
    kept = [
        frame.filter(pl.col("stars") > STARS_ABOVE).select(
            "user_id", "business_id", timestamp=json_lines.seconds("date")
        )
        for frame in json_lines.frames(path, _REVIEW, tuple(_REVIEW), malformed)
    ]
    malformed.check(malformed_share)
    counts.say(f"{path.name}: {malformed}")
    frame = pl.concat(kept)
    counts.add("stars above 3", **_sizes(frame))
    return frame


def _core(frame: pl.DataFrame, counts: Counts) -> pl.DataFrame:
    frame = filters.core(frame, CORE, CORE, "user_id", "business_id")
    if frame.is_empty():
        raise UserError(
            f"{counts.name}: the {CORE}-core of the reviews is empty; is {REVIEWS} complete?"
        )
    counts.add("20-core", **_sizes(frame))
    return frame


def _sizes(frame: pl.DataFrame) -> dict[str, int]:
    return {
        "users": frame["user_id"].n_unique(),
        "businesses": frame["business_id"].n_unique(),
        "rows": len(frame),
    }


def _periods(timestamps: Int64[np.ndarray, "rows"], counts: Counts) -> UInt8[np.ndarray, "rows"]:
    """Returns TRAIN up to the first cut, VALIDATION up to the second, then TEST.

    The arithmetic is that of whole numbers, so the cuts are exact.
    """
    start, span = int(timestamps.min()), int(timestamps.max() - timestamps.min())
    tenths = 10 * (timestamps - start)
    period = np.full(len(timestamps), TRAIN, dtype=np.uint8)
    period[tenths > 8 * span] = VALIDATION
    period[tenths > 9 * span] = TEST
    for share, theirs in zip((8, 9), _AUTHORS_CUTS, strict=True):
        counts.say(f"{share}0 % of the time span: {_cut(start, share * span / 10, theirs)}")
    return period


def _cut(start: int, seconds: float, theirs: str) -> str:
    """Returns a cut beside the authors', which may differ by a time zone of whole hours.

    Their times were not UTC; the share of the time span does not depend on that.
    """
    cut = datetime.datetime.fromtimestamp(int(start + seconds), datetime.UTC)
    hours = (cut - datetime.datetime.fromisoformat(f"{theirs}+00:00")).total_seconds() / 3600
    same = hours.is_integer() and abs(hours) <= 14
    verdict = "agrees, but for the time zone" if same and hours else "agrees" if same else "DIFFERS"
    return f"{cut:%Y-%m-%d %H:%M:%S} UTC (authors: {theirs}, {verdict})"


def _read_businesses(path: Path, item_ids: pl.Series, malformed_share: float) -> pl.DataFrame:
    """Reads id, title and text ('Name. Categories. City, State') of the businesses left."""
    malformed = Malformed(path)
    kept = [
        frame.filter(pl.col("business_id").is_in(item_ids.implode()))
        for frame in json_lines.frames(path, _BUSINESS, ("business_id",), malformed)
    ]
    malformed.check(malformed_share)
    place = pl.concat_str(_filled("city"), _filled("state"), separator=", ", ignore_nulls=True)
    parts = [_filled("name"), _filled("categories"), place.replace("", None)]
    return pl.concat(kept).select(
        id="business_id",
        title=_filled("name"),
        text=pl.concat_str(parts, separator=". ", ignore_nulls=True),
    )


def _filled(column: str) -> pl.Expr:
    return pl.col(column).str.strip_chars().replace("", None)
