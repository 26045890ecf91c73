"""What `data.ties` makes of held-out targets that share their time, and of what others train on."""

import dataclasses

import numpy as np
import pytest

from rearec_jax.config import DataConfig
from rearec_jax.data import prepare, ties
from rearec_jax.data.interactions import CONTEXT, TEST, TRAIN, VALIDATION
from rearec_jax.errors import UserError
from tests import tiny

TIMES = ([1, 2, 2, 3], [3, 4, 4], [4, 5, 6, 6, 6], [1, 1, 2, 3, 3], [7, 7, 7], [5, 6, 7])


@pytest.fixture
def data():
    users = tiny.sequences([len(times) for times in TIMES], 9)
    times = np.concatenate(TIMES).astype(np.int64)
    return dataclasses.replace(tiny.interactions(users, 9), timestamps=times)


def decided(data, choice):
    return ties.decided(data, DataConfig(ties=choice))


def test_the_order_of_the_file_changes_nothing_but_the_count(data):
    found = decided(data, "file")
    assert found.tied_users == 4  # the last interactions of the first and the last are alone
    assert found.split is data.split and found.training_lengths is None


def test_untied_leaves_out_tied_targets_of_both_splits(data):
    split = decided(data, "untied").split
    shared = ties.tied(data)
    held_out = (data.split == VALIDATION) | (data.split == TEST)
    np.testing.assert_array_equal(split[shared & held_out], CONTEXT)
    np.testing.assert_array_equal(split[~shared], data.split[~shared])
    np.testing.assert_array_equal(split == TRAIN, data.split == TRAIN)


def test_expected_trains_on_nothing_that_another_order_holds_out(data):
    found = decided(data, "expected")
    for start, end in zip(data.offsets, data.offsets[1:], strict=False):
        times, old, new = (x[start:end] for x in (data.timestamps, data.split, found.split))
        held_out = np.isin(old, (VALIDATION, TEST))
        leaks = np.isin(times, times[held_out]) & ~held_out
        np.testing.assert_array_equal(new, np.where(leaks, CONTEXT, old))
    counts = [1, 1, 2, 3, 0, 1]  # of each user, what is before every time of a held-out target
    np.testing.assert_array_equal(found.training_lengths, counts)


def test_popularity_counts_no_item_that_another_order_holds_out(data):
    found = decided(data, "expected")
    early = [data.items[s : s + n] for s, n in zip(data.offsets, [1, 1, 2, 3, 0, 1], strict=False)]
    expected = np.bincount(np.concatenate(early), minlength=data.num_items)
    np.testing.assert_array_equal(found.training_counts(), expected)


@pytest.mark.parametrize(
    ("source", "remedy"), [("sequences", "data.times_path"), ("table", "data.timestamp_column")]
)
@pytest.mark.parametrize("choice", ["untied", "expected"])
def test_without_times_the_error_says_where_they_come_from(data, choice, source, remedy):
    bare = dataclasses.replace(data, timestamps=None)
    assert ties.decided(bare, DataConfig(source=source)) is bare
    with pytest.raises(UserError, match=rf"data\.ties={choice} needs times.*{remedy}"):
        ties.decided(bare, DataConfig(source=source, ties=choice))


def test_a_split_that_loses_every_target_is_an_error(data):
    same = dataclasses.replace(data, timestamps=np.ones_like(data.timestamps))
    with pytest.raises(UserError, match="no target for validation"):
        decided(same, "untied")
    with pytest.raises(UserError, match="no training target"):
        decided(same, "expected")


def test_one_preparation_serves_every_choice(tmp_path):
    path = tmp_path / "table.csv"
    rows = [(u, i, t) for u in range(4) for i, t in enumerate((1, 2, 3, 4, 4 + u % 2))]
    lines = ["user_id,item_id,timestamp", *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    cache = tmp_path / "cache"
    config = DataConfig(source="table", path=str(path), cache_dir=str(cache))
    tests = {}
    for choice in ("file", "untied", "expected"):
        data = prepare.prepare(dataclasses.replace(config, ties=choice))
        tests[choice] = int((data.split == TEST).sum())
        assert data.tied_users == 2
    assert tests == {"file": 4, "untied": 2, "expected": 4}
    assert len(list(cache.iterdir())) == 1
