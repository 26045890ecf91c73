"""Large files are prepared in parts of the users, and give the arrays that small ones give."""

import errno
import logging
import os

import numpy as np
import polars as pl
import pytest

from rearec_jax.config import DataConfig
from rearec_jax.data import interactions, ties
from rearec_jax.data.own_files import gathering, records, tables
from rearec_jax.data.own_files.readers import read_parts
from rearec_jax.data.prepare import build, prepare
from rearec_jax.errors import UserError

ARRAYS = ("items", "offsets", "split", "timestamps", "training_lengths")


@pytest.fixture(scope="module")
def frame():
    """Interactions in no order, with ties, repeated ones, and users of one interaction."""
    rng = np.random.default_rng(0)
    user = np.minimum(rng.zipf(1.4, 900), 120)
    item = np.minimum(rng.zipf(1.3, 900), 70)
    return pl.DataFrame(
        {
            "user_id": user * 7,
            "item_id": [f"i{number}" for number in item],
            "timestamp": 1_500_000_000 + rng.integers(0, 400, 900),
            "rating": rng.integers(1, 6, 900).astype(float),
            "event": rng.choice(["view", "buy"], 900),
        }
    )


@pytest.fixture
def in_parts(monkeypatch):
    """Makes parts of everything that is read or computed."""

    def begin():
        monkeypatch.setattr(tables, "PART", 1000)
        monkeypatch.setattr(tables.stretches, "__defaults__", (100,))
        monkeypatch.setattr(records, "BLOCK", 2000)
        monkeypatch.setattr(interactions, "PART", 37)
        monkeypatch.setattr(gathering, "PART", 41)

    return begin


def write(frame, path, kind):
    """Writes two files, in the order of the frame."""
    path.mkdir()
    for number, part in enumerate((frame[:500], frame[500:])):
        if kind == "csv":
            part.write_csv(path / f"{number}.csv")
        else:
            part.write_parquet(path / f"{number}.parquet")
    return str(path)


def same(a, b):
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    for name in ("user_ids", "item_ids"):
        assert getattr(a, name).equals(getattr(b, name))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"core": 4},
        {"min_user": 3, "min_item": 2, "single_users": "keep"},
        {"rating_column": "rating", "rating_above": 2.0},
        {"rating_column": "rating", "rating_above": 3.0, "rating_filter": "targets"},
        {"events": "buy", "duplicates": "last"},
        {"duplicates": "drop"},
        {"split": "time_fraction", "known_items_only": True},
        {"split": "interaction_fraction", "min_history": 2},
    ],
)
def test_parts_give_the_arrays_of_the_whole(frame, tmp_path, in_parts, caplog, kind, options):
    path = write(frame, tmp_path / "data", kind)
    config = DataConfig(source="table", path=path, cache_dir=str(tmp_path), **options)
    with caplog.at_level(logging.INFO):
        whole = build(config)
        said = list(caplog.messages)
        caplog.clear()
        in_parts()
        found = build(config)
        messages = list(caplog.messages)
        assert len(list(read_parts(config))) > 5
    same(found, whole)
    assert messages == said and said
    assert found.limits().tolist() == whole.limits().tolist()
    assert [path.name for path in tmp_path.iterdir()] == ["data"]  # nothing is left of the parts


@pytest.mark.parametrize("timed", [True, False])
def test_a_row_a_user(frame, tmp_path, in_parts, timed):
    columns = ["item_id", "timestamp"] if timed else ["item_id"]
    by_user = frame.sort("timestamp").group_by("user_id", maintain_order=True).agg(columns)
    by_user = by_user.rename({"item_id": "items"})
    path = write(by_user, tmp_path / "data", "parquet")
    whole = build(DataConfig(source="table", path=path))
    in_parts()
    same(build(DataConfig(source="table", path=path)), whole)
    if timed:
        plain = write(frame.sort("timestamp"), tmp_path / "plain", "parquet")
        same(whole, build(DataConfig(source="table", path=plain)))


@pytest.mark.parametrize("numbers", ["all", "of some files"])
def test_whole_numbers_are_the_ids_that_their_text_is(frame, tmp_path, in_parts, numbers):
    text = frame.with_columns(pl.col("item_id").str.slice(1), pl.col("user_id").cast(pl.String))
    path = write(text, tmp_path / "text", "parquet")
    whole = build(DataConfig(source="table", path=path))
    typed = text.with_columns(pl.col("user_id", "item_id").cast(pl.Int32))
    path = write(typed, tmp_path / "typed", "parquet")
    if numbers != "all":
        text[500:].write_parquet(tmp_path / "typed" / "1.parquet")
    in_parts()
    same(build(DataConfig(source="table", path=path)), whole)


def test_a_wrong_row_of_any_part_is_named(frame, tmp_path, in_parts):
    in_parts()
    wrong = frame.with_columns(
        item_id=pl.when(pl.int_range(pl.len()) == 700).then(None).otherwise("item_id")
    )
    path = write(wrong, tmp_path / "data", "parquet")
    with pytest.raises(UserError, match=r"1\.parquet, row 201: column 'item_id' is empty"):
        build(DataConfig(source="table", path=path))


def test_times_of_another_unit_in_some_part_are_an_error(frame, tmp_path, in_parts):
    in_parts()
    later = pl.when(pl.col("user_id") == 7).then(pl.col("timestamp") * 1000)
    mixed = frame.with_columns(timestamp=later.otherwise("timestamp"))
    path = write(mixed, tmp_path / "data", "csv")
    with pytest.raises(UserError, match="in seconds"):
        build(DataConfig(source="table", path=path))


def test_an_event_that_no_part_has(frame, tmp_path, in_parts):
    in_parts()
    path = write(frame, tmp_path / "data", "csv")
    with pytest.raises(UserError, match=r"is rent .*there are buy, view"):
        build(DataConfig(source="table", path=path, events="buy,rent"))


@pytest.mark.parametrize("option", ["file", "untied", "expected"])
def test_ties_in_parts(frame, tmp_path, in_parts, option):
    path = write(frame, tmp_path / "data", "parquet")
    config = DataConfig(source="table", path=path, ties=option)
    data = build(config)
    whole = ties.decided(data, config)
    in_parts()
    found = ties.decided(data, config)
    same(found, whole)
    assert found.tied_users == whole.tied_users > 0
    assert found.training_counts().tolist() == whole.training_counts().tolist()


def test_a_full_disk_is_said(frame, tmp_path, monkeypatch):
    def append(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(gathering.GrowingArrays, "append", append)
    path = write(frame, tmp_path / "data", "csv")
    with pytest.raises(UserError, match=r"No space left.*data\.cache_dir"):
        prepare(DataConfig(source="table", path=path, cache_dir=str(tmp_path / "cache")))
    assert not (tmp_path / "cache").exists()
