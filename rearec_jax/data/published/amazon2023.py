"""Prepares Amazon Reviews 2023, official 5-core time split, as the paper (docs/data_sets.md)."""

from collections.abc import Mapping
import dataclasses
from pathlib import Path
from typing import cast

from jaxtyping import Bool, Int64
import numpy as np
import polars as pl

from rearec_jax.data.interactions import TEST, TRAIN, VALIDATION
from rearec_jax.data.own_files import splits
from rearec_jax.data.published import json_lines, line_blocks, recipe
from rearec_jax.data.published.downloads import RemoteFile
from rearec_jax.data.published.line_blocks import Malformed
from rearec_jax.data.published.recipe import Prepared
from rearec_jax.data.published.row_counts import Counts
from rearec_jax.data.raw_ids import encode
from rearec_jax.errors import UserError

HOMEPAGE = "https://amazon-reviews-2023.github.io"
SERVER = "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_2023"
RATING_ABOVE = 3
COLUMNS = ("user_id", "parent_asin", "rating", "timestamp", "history")
PERIODS = {"train": TRAIN, "valid": VALIDATION, "test": TEST}
_HISTORY_ROWS = 200_000  # histories that are compared at once

_META = {
    "parent_asin": pl.String,
    "title": pl.String,
    "store": pl.String,
    "categories": pl.List(pl.String),
}


@dataclasses.dataclass(frozen=True)
class Category:
    """A category of the reviews, which is a data set.

    name:        the name in the names of its files.
    min_history: the shortest history of a training target, and of a held-out one.
    authors:     the counts that the authors print after each stage.
    """

    name: str
    min_history: tuple[int, int]
    authors: Mapping[str, Mapping[str, int]]

    @property
    def splits(self) -> dict[str, RemoteFile]:
        """The files train, valid and test.

        Their columns are user, item, rating, time in milliseconds, and all items before.
        """
        stem = f"benchmark/5core/timestamp_w_his/{self.name}"
        return {split: RemoteFile(f"{stem}.{split}.csv.gz") for split in PERIODS}

    @property
    def metadata(self) -> RemoteFile:
        """The file of the items' titles, stores and categories."""
        return RemoteFile(f"raw/meta_categories/meta_{self.name}.jsonl.gz")


def _authors(
    history: tuple[int, int],
    target: tuple[int, int],
    both: tuple[int, int],
    train: int | None = None,
) -> dict[str, dict[str, int]]:
    """Returns the authors' counts of each stage, as their notebooks print them.

    Args:
        history: the (validation, test) rows whose history is long enough.
        target: those of them whose target occurs in training.
        both: those of them whose history occurs in training too.
        train: the training rows; None where they are not printed.
    """
    filters = {
        "history long enough": history,
        "target in training": target,
        "history in training": both,
    }
    training = {} if train is None else {"train": train}
    return {
        stage: training | {"valid": valid, "test": test} for stage, (valid, test) in filters.items()
    }


CATEGORIES = {
    "video_games": Category(
        "Video_Games", (1, 5), _authors((14_451, 19_773), (9_951, 7_257), (7_688, 3_616))
    ),
    "software": Category(
        "Software", (10, 5), _authors((15_330, 9_493), (13_743, 7_607), (11_306, 4_992), 151_731)
    ),
    "cds_and_vinyl": Category(
        "CDs_and_Vinyl",
        (10, 10),
        _authors((13_112, 9_125), (10_260, 7_069), (7_221, 3_529), 503_241),
    ),
    "baby_products": Category(
        "Baby_Products", (1, 5), _authors((30_025, 52_495), (21_772, 19_250), (18_418, 10_167))
    ),
}


def prepare(
    name: str, files: Mapping[str, Path], metadata: Path, malformed_share: float, counts: Counts
) -> Prepared:
    """Prepares a category by the paper's recipe.

    Targets are rated above 3; in training all items have a title; histories are long enough; held
    out, all items occur in training.

    Args:
        name: a key of CATEGORIES.
        files: the files train, valid and test; CSV, plain or .gz.
        metadata: the file of the items; JSON lines, plain or .gz.
        malformed_share: the share of malformed lines above which a file is an error.
        counts: the display of the stages.

    Raises:
        UserError: a file is damaged, has too many malformed lines, or a filter leaves nothing.
    """
    frame = pl.concat(
        [_read_split(files[split], split, malformed_share, counts) for split in PERIODS]
    )
    users, user_ids = encode(frame["user_id"])
    order = recipe.in_order(users, frame["timestamp"].to_numpy())
    frame, users = frame[order], users[order]
    _compare_histories(frame, users, counts)
    items, item_ids = encode(frame["parent_asin"])
    rows = recipe.unfiltered(
        users,
        items,
        frame["timestamp"].to_numpy() // 1000,
        frame["period"].to_numpy(),
        (frame["rating"] > RATING_ABOVE).to_numpy(),
    )
    user = splits.back_in_time(rows.period, rows.offsets)
    if user is not None:
        raise UserError(
            f"user {user_ids[user]}: a row of an earlier file (train, valid, test) has a later"
            " time; are the three files of one category and release?"
        )
    table = _read_metadata(metadata, item_ids, malformed_share, counts)
    untitled = _untitled(table, item_ids, counts)
    codes = recipe.target_codes(rows, CATEGORIES[name].min_history, untitled, counts)
    return recipe.with_text(recipe.compact(name, rows, codes, user_ids, item_ids), table)


def _read_split(path: Path, split: str, malformed_share: float, counts: Counts) -> pl.DataFrame:
    """Reads a file's columns, typed, with its ``period``; an empty history is null."""
    malformed = Malformed(path)
    kept = []
    for line, text in line_blocks.blocks(path):
        if line == 1:
            text = _without_header(path, text)
        kept.append(_parse(text, line + (line == 1), malformed))
    malformed.check(malformed_share)
    frame = pl.concat(kept).with_columns(period=pl.lit(PERIODS[split], dtype=pl.UInt8))
    counts.say(f"{path.name}: {malformed}")
    counts.add(f"{split} file", rows=len(frame))
    return frame


def _without_header(path: Path, text: bytes) -> bytes:
    header, _, rest = text.partition(b"\n")
    names = tuple(header.decode("utf-8-sig", errors="replace").strip().split(","))
    if names != COLUMNS:
        raise UserError(
            f"{path}, line 1: the columns are {', '.join(names)}, not {', '.join(COLUMNS)}; is it"
            " a file of benchmark/5core/timestamp_w_his?"
        )
    return rest


def _parse(text: bytes, first_line: int, malformed: Malformed) -> pl.DataFrame:
    """Parses whole lines without quotes: no field of these files holds a comma."""
    lines = pl.Series("line", [text.decode("utf-8", errors="replace")]).str.split("\n").explode()
    fields = lines.str.strip_chars_end("\r").str.splitn(",", len(COLUMNS) + 1)
    frame = fields.struct.rename_fields([*COLUMNS, "more"]).struct.unnest()
    frame = frame.with_columns(number=first_line + pl.int_range(pl.len()))
    frame = frame.filter((pl.col("user_id") != "") | pl.col("parent_asin").is_not_null())
    frame = frame.with_columns(
        pl.col("rating").cast(pl.Float64, strict=False),
        pl.col("timestamp").cast(pl.Int64, strict=False),
        bad_history=pl.col("history").is_null(),
        history=pl.col("history").replace("", None),
    )
    good = frame.filter(
        (pl.col("user_id") != "")
        & (pl.col("parent_asin") != "")
        & pl.col("rating").is_finite()
        & pl.col("timestamp").is_not_null()
        & pl.col("more").is_null()
        & ~pl.col("bad_history")
    )
    malformed.lines += len(frame)
    if len(good) < len(frame):
        line = frame.join(good.select("number"), on="number", how="anti")["number"].min()
        reason = f"not {', '.join(COLUMNS)}"
        malformed.add(cast(int, line), reason, len(frame) - len(good))
    return good.select(COLUMNS)


def _compare_histories(
    frame: pl.DataFrame, users: Int64[np.ndarray, "rows"], counts: Counts
) -> None:
    """Compares each history with that of the user's row before and its item.

    Where they differ, the rows count; a line says how often that is, and where it is first.
    """
    differs = 0
    first = ""
    same_user = np.concatenate([[False], users[1:] == users[:-1]])
    for start in range(0, len(frame), _HISTORY_ROWS):
        begin = max(start - 1, 0)  # one row earlier, for the first comparison
        part = frame[begin : start + _HISTORY_ROWS].select("user_id", "parent_asin", "history")
        follows = pl.Series(same_user[begin : start + _HISTORY_ROWS])
        before = pl.concat_str(
            pl.col("history").shift(1),
            pl.col("parent_asin").shift(1),
            separator=" ",
            ignore_nulls=True,
        )
        rebuilt = pl.when(follows).then(before)
        part = part.with_columns(differs=~pl.col("history").eq_missing(rebuilt))[start - begin :]
        differs += int(part["differs"].sum())
        if differs and not first:
            row = part.row(int(part["differs"].arg_true()[0]), named=True)
            first = f" (the first: user {row['user_id']}, item {row['parent_asin']})"
    verdict = f"{differs:,} differ{first}; the rows count" if differs else "all are equal"
    counts.say(f"{len(frame):,} official histories compared with the rows before them: {verdict}")


def _read_metadata(
    path: Path, item_ids: pl.Series, malformed_share: float, counts: Counts
) -> pl.DataFrame:
    """Reads id, title and text ('Title. Store. Category, Category') of the items that occur."""
    malformed = Malformed(path)
    kept = [
        frame.filter(pl.col("parent_asin").is_in(item_ids.implode()))
        for frame in json_lines.frames(path, _META, ("parent_asin",), malformed)
    ]
    malformed.check(malformed_share)
    counts.say(f"{path.name}: {malformed}")
    parts = [
        part.str.strip_chars().replace("", None)
        for part in (pl.col("title"), pl.col("store"), pl.col("categories").list.join(", "))
    ]
    table = pl.concat(kept).unique("parent_asin", keep="last", maintain_order=True)
    return table.select(
        id="parent_asin",
        title="title",
        text=pl.concat_str(parts, separator=". ", ignore_nulls=True),
    )


def _untitled(table: pl.DataFrame, item_ids: pl.Series, counts: Counts) -> Bool[np.ndarray, "N"]:
    """Marks the items that have no title, or no metadata at all."""
    titled = table.filter(pl.col("title").is_not_null())["id"]
    untitled = ~item_ids.is_in(titled.implode()).to_numpy()
    counts.add("5-core", items=len(item_ids), untitled=int(untitled.sum()))
    return untitled
