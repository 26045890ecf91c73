"""What docs/data_sets.md says of published files in other shapes runs as it stands."""

import gzip
import json
from pathlib import Path
import re
import subprocess
import sys

import polars as pl
import pytest

from rearec_jax import config as options
from rearec_jax.data.own_files import readers, text
from tests.processes import ROOT, environment

DOCUMENT = ROOT / "docs" / "data_sets.md"


@pytest.fixture(scope="module")
def converted(tmp_path_factory) -> Path:
    """A directory with a few lines of the published files and what the examples make of them."""
    path = tmp_path_factory.mktemp("published")
    (path / "ratings.dat").write_text("1::1193::5::978300760\n1::661::3::978302109\n")
    movies = "661::James and the Giant Peach (1996)::Animation|Musical\n1193::Café::Drama\n"
    (path / "movies.dat").write_bytes(movies.encode("latin-1"))
    review = {"overall": 5.0, "verified": True, "reviewTime": "10 17, 2015", "reviewText": "Good."}
    times = 1445040000, 1437868800, 1445040000  # the third says the first again
    with gzip.open(path / "Video_Games_5.json.gz", "wt") as file:
        for asin, when in zip(("0700026657", "B00002", "0700026657"), times, strict=True):
            line = review | {"reviewerID": "A1HP7N", "asin": asin, "unixReviewTime": when}
            file.write(json.dumps(line) + "\n")
    for example in re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL):
        subprocess.run(
            [sys.executable, "-c", example], check=True, cwd=path, env=environment(), timeout=60
        )
    return path


def read(path: Path) -> pl.DataFrame:
    config = options.default()
    config.data.source = "table"
    config.data.path = str(path)
    config.data.core = 2
    return readers.read(options.resolve(config).data)


def test_movielens(converted):
    frame = read(converted / "ratings.csv")
    assert frame["item"].to_list() == ["1193", "661"]
    assert frame["timestamp"].to_list() == [978300760, 978302109]


def test_titles_of_movielens(converted):
    config = options.default()
    config.data.item_text = str(converted / "movies.csv")
    config.data.text_columns = ("title", "genres")
    found = text.read_item_text(options.resolve(config).data, pl.Series(["1193", "661"]))
    assert found[0] == "Café Drama"


def test_amazon_2018(converted):
    frame = read(converted / "games.csv")
    assert frame["item"].to_list() == ["B00002", "0700026657"]  # by time; leading zeros stay
