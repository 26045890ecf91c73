"""k-core and ratings, against their definitions."""

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import polars as pl
import pytest

from rearec_jax.config import DataConfig
from rearec_jax.data.own_files.filters import core_mask, filter_ratings, kept
from rearec_jax.data.own_files.gathering import gather
from rearec_jax.errors import UserError


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 1000), rows=st.integers(0, 60), core=st.integers(1, 5))
def test_the_core_is_what_one_removal_at_a_time_leaves(seed, rows, core):
    rng = np.random.default_rng(seed)
    users, items = rng.integers(0, 8, rows), rng.integers(0, 8, rows)
    left = set(range(rows))
    while True:
        poor = [
            row
            for row in left
            if sum(users[other] == users[row] for other in left) < core
            or sum(items[other] == items[row] for other in left) < core
        ]
        if not poor:
            break
        left.remove(poor[0])
    assert set(np.flatnonzero(core_mask(users, items, core))) == left


def filtered(frame, **options):
    (found,) = filter_ratings([frame], DataConfig(**options))
    return found


def test_low_ratings_go_or_stay_as_history():
    frame = pl.DataFrame({"user": ["a"] * 3, "rating": [3.0, 3.5, 5.0]})
    gone = filtered(frame, rating_above=3.0)
    assert gone["rating"].to_list() == [3.5, 5.0]
    assert gone["target_ok"].all()
    marked = filtered(frame, rating_above=3.0, rating_filter="targets")
    assert marked["target_ok"].to_list() == [False, True, True]


def test_users_are_counted_after_the_ratings_are_filtered(caplog, tmp_path):
    frame = pl.DataFrame({"user": list("aab"), "item": list("xyx"), "rating": [5.0, 4.0, 1.0]})

    def left(**options):
        config = DataConfig(**options)
        rows = gather(filter_ratings([frame], config), str(tmp_path))
        keep, _ = kept(rows, config)
        return rows.item_ids.gather(rows.items[keep]).to_list()

    assert left(rating_above=3.0) == ["x", "y"]
    assert not caplog.text  # whom the ratings took is not left out again
    assert len(left(split="time")) == 3
    assert len(left(single_users="keep")) == 3
    assert len(left()) == 2
    assert "1 users with one interaction" in caplog.text


def test_ratings_that_are_not_there_are_an_error():
    frame = pl.DataFrame({"user": ["a"]})
    with pytest.raises(UserError, match=r"data\.rating_column"):
        filtered(frame, rating_above=3.0)
    with pytest.raises(UserError, match=r"no rating is above 5"):
        filtered(frame.with_columns(rating=5.0), rating_above=5.0)


def test_one_part_may_be_without_good_ratings():
    frames = [pl.DataFrame({"user": [user], "rating": [rating]}) for user, rating in ("a1", "b5")]
    found = filter_ratings(
        (frame.cast({"rating": pl.Float64}) for frame in frames), DataConfig(rating_above=3.0)
    )
    assert [len(frame) for frame in found] == [0, 1]
