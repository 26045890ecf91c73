"""Small raw files in the exact formats of Yelp and of Amazon Reviews 2023."""

from collections.abc import Iterable, Sequence
import datetime
import gzip
import json
from pathlib import Path

from rearec_jax.data.published import yelp
from rearec_jax.data.published.amazon2023 import CATEGORIES, COLUMNS

Review = tuple[str, str, float, int]  # user, item, rating, seconds


def write_yelp(
    directory: Path, reviews: Iterable[Review], businesses: Iterable[str], bad: Sequence[str] = ()
) -> Path:
    """Both files; ``bad`` lines follow the first review."""
    directory.mkdir(parents=True, exist_ok=True)
    lines = [_review(number, *review) for number, review in enumerate(reviews)]
    lines[1:1] = bad
    (directory / yelp.REVIEWS).write_text("\n".join(lines) + "\n")
    (directory / yelp.BUSINESSES).write_text("".join(_business(name) for name in businesses))
    return directory


def _review(number: int, user: str, item: str, stars: float, seconds: int) -> str:
    date = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    text = 'Ate here, "twice"!\n\nCafé \U0001f600 {"stars": 1.0}'
    return json.dumps(
        {
            "review_id": f"{number:022d}",
            "user_id": user,
            "business_id": item,
            "stars": stars,
            "useful": 0,
            "funny": 0,
            "cool": 0,
            "text": text,
            "date": f"{date:%Y-%m-%d %H:%M:%S}",
        }
    )


def _business(name: str) -> str:
    business = {
        "business_id": name,
        "name": f"Place {name}",
        "address": "935 Race St",
        "city": "Philadelphia",
        "state": "PA",
        "stars": 4.0,
        "is_open": 1,
        "attributes": None,
        "categories": None if name.endswith("0") else "Food, Bubble Tea",
        "hours": {"Monday": "7:0-20:0"},
    }
    return json.dumps(business) + "\n"


def write_amazon(
    root: Path,
    builder: str,
    rows: Iterable[tuple[str, Review]],
    titles: dict[str, str | None],
    whole_path: bool = True,
) -> Path:
    """The four files, gzip, under their official paths or just their names.

    ``rows``: (train, valid or test; review), each user's in time order. The history of a row is
    all that its user had before.
    """
    category = CATEGORIES[builder]
    texts = {split: [",".join(COLUMNS)] for split in category.splits}
    histories: dict[str, list[str]] = {}
    for split, (user, item, rating, seconds) in rows:
        history = histories.setdefault(user, [])
        fields = [user, item, f"{rating:.1f}", str(1000 * seconds + 7), " ".join(history)]
        texts[split].append(",".join(fields))
        history.append(item)
    for split, file in category.splits.items():
        _zip(root / (file.path if whole_path else file.name), texts[split])
    file = category.metadata
    _zip(root / (file.path if whole_path else file.name), [_item(*pair) for pair in titles.items()])
    return root


def _item(asin: str, title: str | None) -> str:
    return json.dumps(
        {
            "main_category": "Software",
            "title": title,
            "average_rating": 4.2,
            "features": [],
            "description": ["A thing."],
            "price": None,
            "images": [{"thumb": "https://x/y.jpg", "variant": "MAIN"}],
            "store": None if asin.endswith("1") else "Maker",
            "categories": ["Software", "Games"],
            "details": {"Weight": "1"},
            "parent_asin": asin,
        }
    )


def _zip(path: Path, lines: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
