"""The whole way from a file to arrays, the cache, and the real data sets."""

import dataclasses
import logging
from multiprocessing import get_context
import os
import pathlib

import numpy as np
import pytest

from rearec_jax.config import DataConfig
from rearec_jax.data.interactions import TEST, TRAIN, VALIDATION, Interactions
from rearec_jax.data.own_files import readers
from rearec_jax.data.prepare import build, prepare
from rearec_jax.errors import UserError


@pytest.fixture
def config(tmp_path):
    """Four users in no order; raw ids that text order would sort otherwise than numbers."""
    rows = [(10, 100, 1), (9, 20, 1), (10, 3, 2), (9, 100, 3), (10, 20, 3), (9, 3, 2), (2, 3, 1)]
    rows += [(2, 20, 2), (2, 3, 9), (2, 100, 4)]
    text = "user_id\titem_id\ttimestamp\n" + "".join(f"{u}\t{i}\t{t}\n" for u, i, t in rows)
    path = tmp_path / "data.tsv"
    path.write_text(text)
    (tmp_path / "text.tsv").write_text("item_id\ttitle\n20\ttwenty\n")
    return DataConfig(
        name="small",
        source="table",
        path=str(path),
        item_text=str(tmp_path / "text.tsv"),
        cache_dir=str(tmp_path / "cache"),
    )


def entries(config):
    return os.listdir(config.cache_dir)


def same(a, b):
    return all(
        np.array_equal(getattr(a, key), getattr(b, key))
        for key in ("items", "offsets", "split", "timestamps", "training_lengths")
    ) and all(
        getattr(a, key).equals(getattr(b, key), null_equal=True)
        for key in ("user_ids", "item_ids", "item_text")
    )


def test_ids_are_dense_sorted_and_lead_back_to_the_file(config):
    data = build(config)
    assert data.user_ids.to_list() == ["2", "9", "10"]
    assert data.item_ids.to_list() == ["3", "20", "100"]
    assert data.item_text.to_list() == [None, "twenty", None]
    assert data.lengths.tolist() == [4, 3, 3]
    assert data.items.tolist() == [0, 1, 2, 0, 1, 0, 2, 2, 0, 1]
    assert data.timestamps.tolist() == [1, 2, 4, 9, 1, 2, 3, 1, 2, 3]
    assert data.split.tolist() == [0, 1, 2, 3, 0, 2, 3, 0, 2, 3]
    assert (data.num_users, data.num_items, data.num_interactions) == (3, 3, 10)


def test_ids_that_are_no_numbers_sort_as_text(config, tmp_path):
    path = tmp_path / "letters.txt"
    path.write_text("b 10 9 x\na 9 x 10\n9 x 9 10 x\n")
    config = dataclasses.replace(config, source="sequences", path=str(path), item_text="")
    data = build(config)
    assert data.user_ids.to_list() == ["9", "a", "b"]
    assert data.item_ids.to_list() == ["10", "9", "x"]
    assert data.items[: data.offsets[1]].tolist() == [2, 1, 0, 2]
    assert data.timestamps is None
    assert data.item_text is None


def test_popularity_counts_nothing_from_the_held_out_periods(config):
    timed = dataclasses.replace(
        config, split="time", valid_from="1970-01-01T00:00:03", test_from="1970-01-01T00:00:04"
    )
    data = build(timed)
    assert data.training_counts().tolist() == [3, 2, 1]
    # What filters turn from a held-out target into context counts as little.
    codes = data.split.copy()
    codes[data.split == TEST] = 0
    assert dataclasses.replace(data, split=codes).training_counts().tolist() == [3, 2, 1]
    without = dataclasses.replace(data, training_lengths=None)
    assert without.training_counts().tolist() == [3, 2, 1]


def test_the_core_is_taken_before_ids_are_given(config, tmp_path):
    with open(config.path, "a") as file:
        file.write("77\t55\t1\n")
    assert build(config).user_ids.to_list() == ["2", "9", "10"]
    data = build(dataclasses.replace(config, core=2))
    assert data.user_ids.to_list() == ["2", "9", "10"]
    assert data.item_ids.to_list() == ["3", "20", "100"]
    with pytest.raises(UserError, match=r"4-core is empty.*lower data\.core"):
        build(dataclasses.replace(config, core=4))


def test_a_second_call_reads_the_kept_arrays_and_no_file(config, monkeypatch):
    first = prepare(config)
    monkeypatch.setattr(readers, "read", lambda _: pytest.fail("read again"))
    second = prepare(dataclasses.replace(config, name="other name"))
    assert same(first, second)
    assert second.name == "other name"
    assert isinstance(second.items, np.memmap)
    assert not second.items.flags.writeable


def test_content_and_options_make_the_key_but_not_the_place(config, tmp_path):
    prepare(config)
    moved = tmp_path / "elsewhere.tsv"
    os.rename(config.path, moved)
    prepare(dataclasses.replace(config, path=str(moved), hint="x"))
    assert len(entries(config)) == 1
    moved.write_text(moved.read_text().replace("20\t3", "20\t4"))
    prepare(dataclasses.replace(config, path=str(moved)))
    assert len(entries(config)) == 2
    prepare(dataclasses.replace(config, path=str(moved), core=2))
    assert len(entries(config)) == 3
    with open(config.item_text, "a") as file:
        file.write("3\tthree\n")
    assert prepare(dataclasses.replace(config, path=str(moved))).item_text[0] == "three"


@pytest.mark.parametrize("name", ["items.npy", "offsets.npy", "items.parquet", "interactions.json"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_cache_is_rebuilt_with_one_warning(config, caplog, name, damage):
    first = prepare(config)
    (entry,) = entries(config)
    path = pathlib.Path(config.cache_dir, entry, name)
    content = path.read_bytes()
    path.unlink()  # not in its place: `first` maps it
    if damage == "cut":
        path.write_bytes(content[:-5])
    with caplog.at_level(logging.WARNING):
        assert same(prepare(config), first)
        assert same(prepare(config), first)
    assert len(caplog.records) == 1
    assert entries(config) == [entry]


def test_a_cache_that_cannot_be_written_costs_a_warning(config, caplog):
    config = dataclasses.replace(config, cache_dir=config.path)  # a file, not a directory
    with caplog.at_level(logging.WARNING):
        assert prepare(config).num_users == 3
    assert len(caplog.records) == 1
    assert "data.cache_dir" in caplog.text


def test_an_error_leaves_nothing_behind(config):
    with pytest.raises(UserError):
        prepare(dataclasses.replace(config, rating_above=3.0))
    assert not os.path.exists(config.cache_dir)


def _prepare_often(config, count):
    for _ in range(count):
        assert prepare(config).num_users == 3


def test_processes_at_once_do_not_disturb_each_other(config):
    context = get_context("spawn")
    workers = [context.Process(target=_prepare_often, args=(config, 5)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert len(entries(config)) == 1


def test_saving_replaces_what_was_there(config, tmp_path):
    data = build(config)
    for name in ("one", "two"):
        dataclasses.replace(data, name=name).save(tmp_path / "kept")
    for mmap in (True, False):
        loaded = Interactions.load(tmp_path / "kept", mmap=mmap)
        assert loaded.name == "two"
        assert same(loaded, data)
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]
    with pytest.raises(UserError, match="complete prepared interactions"):
        Interactions.load(tmp_path)


def test_the_demo_takes_no_filters():
    assert prepare(DataConfig(demo_users=50, demo_items=60)).num_users == 50
    with pytest.raises(UserError, match=r"data\.core"):
        prepare(DataConfig(core=5))


def test_beauty(shared_data):
    data = build(
        DataConfig(
            source="sequences",
            path=str(shared_data / "sequences" / "Beauty.txt"),
            item_text=str(shared_data / "item_text" / "Beauty.tsv"),
        )
    )
    assert (data.num_users, data.num_items, data.num_interactions) == (22_363, 12_101, 198_502)
    assert data.item_text.null_count() == 27
    assert np.bincount(data.split).tolist() == [22_363, 131_413, 22_363, 22_363]


def test_amazon_games_by_time(shared_data):
    config = DataConfig(
        source="table",
        path=str(shared_data / "amazon2018-game" / "interactions.tsv.gz"),
        item_text=str(shared_data / "amazon2018-game" / "item_titles.tsv"),
        split="time",
        valid_from="2016-05-14",
        test_from="2017-01-20",
    )
    data = build(config)
    assert (data.num_users, data.num_items, data.num_interactions) == (50_597, 16_874, 453_637)
    assert data.item_text.null_count() == 0
    ends = [data.timestamps[data.split == code].max() for code in (TRAIN, VALIDATION)]
    assert [round(float((data.timestamps <= end).mean()), 2) for end in ends] == [0.8, 0.9]


@pytest.mark.parametrize(
    ("options", "counts"),
    [
        ({}, (943, 1_682, 100_000)),
        ({"rating_above": 3.0}, (942, 1_447, 55_375)),
        ({"rating_above": 3.0, "rating_filter": "targets"}, (943, 1_682, 100_000)),
    ],
)
def test_movielens_with_ratings(shared_data, options, counts):
    config = DataConfig(
        source="recbole",
        path=str(shared_data / "ml-100k" / "ml-100k.inter"),
        item_text=str(shared_data / "ml-100k" / "ml-100k.item"),
        text_columns=("movie_title", "class"),
        rating_column="rating",
        **options,
    )
    data = build(config)
    assert (data.num_users, data.num_items, data.num_interactions) == counts
    assert data.item_text[0] == "Toy Story Animation Children's Comedy"
    times = np.diff(data.timestamps)
    inside = np.ones(len(times), bool)
    inside[data.offsets[1:-1] - 1] = False
    assert (times[inside] >= 0).all()


def test_long_and_repetitive_sequences(shared_data):
    config = DataConfig(
        source="table", path=str(shared_data / "movielens-1m" / "interactions.tsv.gz")
    )
    data = build(config)
    assert (data.num_users, data.num_items, data.num_interactions) == (6_040, 3_416, 999_611)
    assert data.lengths.max() == 2_277
    config = DataConfig(source="sequences", path=str(shared_data / "sequences" / "Yelp.txt"))
    data = build(config)
    assert (data.num_users, data.num_items, data.num_interactions) == (30_431, 20_033, 316_354)
    user = np.repeat(np.arange(data.num_users), data.lengths)
    assert data.num_interactions - len(np.unique(user * data.num_items + data.items)) == 11_830
