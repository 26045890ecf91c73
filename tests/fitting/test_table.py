"""Data frames of every kind are the same table, and a mistake in one is a sentence."""

import dataclasses
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from rearec_jax.config import DataConfig
from rearec_jax.data.own_files import columns
from rearec_jax.errors import UserError
from rearec_jax.fitting import table
from tests.processes import environment

OPTIONS = dataclasses.asdict(DataConfig())
FRAME = pl.DataFrame({"user": ["a", "b"], "asin": [1, 2], "ts": [10, 20], "extra": [None, {}]})


@pytest.mark.parametrize("kind", [lambda f: f, pl.DataFrame.lazy, lambda f: f[:, :3].to_arrow()])
def test_every_kind_of_frame(kind):
    found, taken = table.options_of_frame(kind(FRAME), OPTIONS)
    assert taken.frame.equals(FRAME[:, :3])  # what a run does not read is not kept
    assert found["item_column"] == "asin" and found["source"] == "table"
    assert taken.digest == table.Table(FRAME[:, :3]).digest


def test_pandas(tmp_path):
    """In a process of its own: the suite's warnings are errors, and pandas has some."""
    pytest.importorskip("pandas", reason="pandas is not installed")
    code = (
        "import pandas, dataclasses\n"
        "from rearec_jax.config import DataConfig\n"
        "from rearec_jax.fitting import table\n"
        "options = dataclasses.asdict(DataConfig())\n"
        "frame = pandas.DataFrame({'user': ['a', 'b'], 'asin': [1, 2], 'ts': [10, 20]})\n"
        "frame['user'] = frame['user'].astype('category')\n"
        "frame['mixed'] = [1, 'x']\n"
        "_, taken = table.options_of_frame(frame.iloc[::-1], options)\n"
        "assert taken.frame.rows() == [('b', 2, 20), ('a', 1, 10)], taken\n"
    )
    subprocess.run([sys.executable, "-c", code], env=environment(), check=True, cwd=tmp_path)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([1, 2], ["a list", "data frame"]),
        ({"user": [1]}, ["a dict"]),
        (FRAME["user"], ["a Series"]),
        (FRAME.head(0), ["no rows"]),
        (
            FRAME.rename({"ts": "when"}),
            ["no column 'timestamp'", "timestamp_column", "user, asin, when"],
        ),
        (FRAME.with_columns(movieId="asin"), ["asin, movieId", "may be the item"]),
        (
            pl.DataFrame({"user": [object()], "item": [1], "time": [1]}),
            ["'user'", "Python objects"],
        ),
    ],
)
def test_a_mistake_is_one_sentence(data, words):
    with pytest.raises(UserError) as caught:
        table.options_of_frame(data, OPTIONS)
    assert all(word in str(caught.value) for word in words), caught.value


def test_columns_that_options_name():
    options = OPTIONS | {"rating_column": "stars", "timestamp_column": ""}
    with pytest.raises(UserError, match="no column 'stars'"):
        table.options_of_frame(FRAME, options)
    frame = FRAME.with_columns(stars=pl.lit(5))
    assert table.options_of_frame(frame, options)[1].frame.columns == ["user", "asin", "stars"]


def test_events_and_lists():
    frame = FRAME.with_columns(event=pl.lit("buy"))
    found, taken = table.options_of_frame(frame, OPTIONS | {"events": "buy"})
    assert found["event_column"] == "event" and "event" in taken.frame.columns
    lists = pl.DataFrame({"user": ["a"], "items": [[1, 2]]})
    assert table.options_of_frame(lists, OPTIONS)[1].frame.equals(lists)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["user_id", "item_id", "timestamp"], ["user_id", "item_id", "timestamp"]),
        (["userId", "movieId", "rating", "timestamp"], ["userId", "movieId", "timestamp"]),
        (
            ["user_id:token", "item_id:token", "timestamp:float"],
            ["user_id:token", "item_id:token", "timestamp:float"],
        ),
        (["reviewerID", "asin", "unixReviewTime"], ["reviewerID", "asin", "unixReviewTime"]),
        (["Customer ID", "Product", "Date"], ["Customer ID", "Product", "Date"]),
        (["user", "user_id", "item_id", "item", "ts"], ["user_id", "item_id", "ts"]),  # defaults
    ],
)
def test_usual_names_are_found(names, expected):
    assert list(columns.of_options(names, OPTIONS, "the frame").values()) == expected


def test_a_given_name_is_not_replaced():
    with pytest.raises(UserError, match="no column 'customer'"):
        columns.of_options(["user", "item", "time"], OPTIONS | {"user_column": "customer"}, "x")


def test_a_path_says_what_kind_of_file_it_is():
    assert table.options_of_path("a/ratings.inter", OPTIONS)["source"] == "recbole"
    assert table.options_of_path("ratings.csv.gz", OPTIONS)["source"] == "table"
    assert table.options_of_path("x", OPTIONS | {"source": "sequences"}) == {"path": "x"}


def test_the_digest_changes_with_rows_and_their_order():
    frame = pl.DataFrame({"user": ["a", "b"], "item": [1, 2]})
    other = [frame.reverse(), frame.head(1), frame.with_columns(item=np.array([1, 3]))]
    assert len({table.Table(each).digest for each in [frame, *other]}) == 4
