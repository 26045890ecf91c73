"""The sample histories of a run are those of test users, without their ids."""

import numpy as np
import pytest

from rearec_jax.errors import UserError
from rearec_jax.recommend.samples import (
    LONGEST,
    SAMPLES_FILE,
    USERS,
    load_samples,
    samples_of_data,
    save_samples,
)
from tests import tiny

ITEMS = 40


@pytest.fixture(scope="module")
def data():
    lengths = [2 + user % 7 for user in range(USERS)] * 2
    return tiny.interactions(tiny.sequences(lengths, ITEMS), ITEMS)


def test_each_is_a_test_users_past_and_next_item(data):
    found = samples_of_data(data)
    whole = {
        tuple(f"i{n}" for n in data.items[a:b])
        for a, b in zip(data.offsets[:-1], data.offsets[1:], strict=True)
    }
    assert len(found) == USERS
    assert all((*one.history, one.target) in whole for one in found)
    assert found == samples_of_data(data)  # the same users every time


def test_few_users_long_histories_and_users_without_a_past():
    first_alone = tiny.interactions(tiny.sequences([3, LONGEST + 9], ITEMS), ITEMS)
    first_alone.split[0] = first_alone.split[2]  # a test target with nothing before it
    first_alone.split[1:3] = 0
    (one,) = samples_of_data(first_alone)
    assert one.history == tuple(f"i{n}" for n in first_alone.items[-LONGEST - 1 : -1])


def test_read_as_written(data, tmp_path):
    path = tmp_path / SAMPLES_FILE
    assert load_samples(path) == ()
    for some in (samples_of_data(data), ()):
        save_samples(some, path)
        assert load_samples(path) == some


def test_damage_is_said(tmp_path):
    path = tmp_path / SAMPLES_FILE
    path.write_bytes(np.random.default_rng(0).bytes(99))
    with pytest.raises(UserError, match=r"samples.parquet cannot be read .*may be deleted"):
        load_samples(path)
