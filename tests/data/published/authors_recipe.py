"""The paper's recipe row by row, as its notebooks describe it: slow, plain, to compare with."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
from typing import Any

Row = dict[str, Any]  # user, item, rating, time, split, history (items before)
SPLITS = ("train", "valid", "test")


@dataclasses.dataclass
class Examples:
    """What is left: (user, target, history) of each split, and the catalogue."""

    rows: dict[str, set[tuple[str, str, tuple[str, ...]]]]
    catalogue: set[str]


def yelp(reviews: Sequence[tuple[str, str, float, int]], core: int, least: int) -> Examples:
    kept = [review for review in reviews if review[2] > 3]
    while True:
        users = [review[0] for review in kept]
        items = [review[1] for review in kept]
        left = [
            review
            for review in kept
            if users.count(review[0]) >= core and items.count(review[1]) >= core
        ]
        if len(left) == len(kept):
            break
        kept = left
    times = [review[3] for review in kept]
    first, last = min(times), max(times)

    def split(time: int) -> str:
        if time <= first + (last - first) * 0.8:
            return "train"
        return "valid" if time <= first + (last - first) * 0.9 else "test"

    rows = []
    histories: dict[str, list[str]] = {}
    for user, item, rating, time in sorted(kept, key=lambda review: (review[0], review[3])):
        history = histories.setdefault(user, [])
        rows.append(_row(user, item, rating, split(time), history))
        history.append(item)
    return _filtered(rows, (least, least), lambda item: True)


def amazon(
    rows: Sequence[tuple[str, tuple[str, str, float, int]]],
    titles: Mapping[str, str | None],
    least: tuple[int, int],
) -> Examples:
    made = []
    histories: dict[str, list[str]] = {}
    for split, (user, item, rating, _) in rows:
        history = histories.setdefault(user, [])
        made.append(_row(user, item, rating, split, history))
        history.append(item)
    good = [row for row in made if row["rating"] > 3]
    return _filtered(good, least, lambda item: titles.get(item) is not None)


def _row(user: str, item: str, rating: float, split: str, history: list[str]) -> Row:
    return {
        "user": user,
        "item": item,
        "rating": rating,
        "split": split,
        "history": tuple(history),
    }


def _filtered(
    rows: list[Row], least: tuple[int, int], has_title: Callable[[str], bool]
) -> Examples:
    train = [
        row
        for row in rows
        if row["split"] == "train"
        and len(row["history"]) >= max(1, least[0])
        and all(has_title(item) for item in (row["item"], *row["history"]))
    ]
    known = {item for row in train for item in (row["item"], *row["history"])}
    left: dict[str, set] = {split: set() for split in SPLITS}
    for row in train:
        left["train"].add((row["user"], row["item"], row["history"]))
    for row in rows:
        enough = len(row["history"]) >= least[1]
        seen = row["item"] in known and all(item in known for item in row["history"])
        if row["split"] != "train" and enough and seen:
            left[row["split"]].add((row["user"], row["item"], row["history"]))
    return Examples(left, known)
