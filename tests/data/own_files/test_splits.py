"""Split codes, against a loop over every position: no target is learned from its future."""

import itertools

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from rearec_jax.config import DataConfig
from rearec_jax.data.interactions import CONTEXT, TEST, TRAIN, VALIDATION
from rearec_jax.data.own_files.splits import Given, assign, leave_one_out, time_cuts
from rearec_jax.errors import UserError

DAY = 86_400


@st.composite
def data(draw):
    """items, offsets, timestamps (rising within a user), target_ok, given (rising periods)."""
    lengths = draw(st.lists(st.integers(1, 7), min_size=1, max_size=6))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    total = int(offsets[-1])

    def array(values, dtype):
        return np.array(draw(st.lists(values, min_size=total, max_size=total)), dtype)

    items = array(st.integers(0, 5), np.int32)
    timestamps = array(st.integers(0, 30), np.int64) * DAY
    given_split = array(st.sampled_from([TRAIN, VALIDATION, TEST]), np.uint8)
    for start, end in itertools.pairwise(offsets):
        timestamps[start:end].sort()
        given_split[start:end].sort()
    return items, offsets, timestamps, array(st.booleans(), bool), given_split


def brute_force(config, items, offsets, timestamps, target_ok, given_split):
    """The definition, position by position."""
    valid_from, test_from = 0.0, 0.0
    if config.split in ("time", "time_fraction"):
        valid_from, test_from = time_cuts(config, timestamps)

    def period(start, end, place):
        if config.split == "given":
            return given_split[place]
        if config.split == "leave_one_out":
            if end - start < 3:
                return TRAIN
            return {end - 1: TEST, end - 2: VALIDATION}.get(place, TRAIN)
        time = timestamps[place]
        return TRAIN if time < valid_from else VALIDATION if time < test_from else TEST

    users = list(itertools.pairwise(offsets))
    periods = [period(start, end, place) for start, end in users for place in range(start, end)]
    known = {items[place] for place, p in enumerate(periods) if p == TRAIN}
    codes = list(periods)
    for start, end in users:
        for place in range(start, end):
            unknown = not set(items[start : place + 1]) <= known
            if (
                place - start < config.min_history
                or not target_ok[place]
                or (config.known_items_only and periods[place] != TRAIN and unknown)
            ):
                codes[place] = CONTEXT
    return codes


TIMES = {"source": "table", "valid_from": "1970-01-12", "test_from": "1970-01-20"}
SHARES = {"valid_fraction": 0.5, "test_fraction": 0.7}
OPTIONS = st.fixed_dictionaries(
    {
        "split": st.sampled_from(["leave_one_out", "time", "time_fraction", "given"]),
        "min_history": st.integers(1, 3),
        "known_items_only": st.booleans(),
    }
)


@given(data=data(), options=OPTIONS)
def test_codes_equal_the_definition(data, options):
    """So a user's training targets come before those of validation, and these before the test's."""
    config = DataConfig(**TIMES, **SHARES, **options)
    items, offsets, timestamps, target_ok, given_split = data
    expected = brute_force(config, items, offsets, timestamps, target_ok, given_split)
    try:
        result = assign(config, items, offsets, Given(timestamps, given_split, target_ok))
    except UserError as error:
        assert "no target is left for" in str(error)
        assert not {TRAIN, VALIDATION, TEST} <= set(expected)
        return
    assert result.codes.tolist() == expected
    for user, (start, end) in enumerate(itertools.pairwise(offsets)):
        of_user = result.codes[start:end]
        assert (np.diff(of_user[of_user != CONTEXT].astype(int)) >= 0).all()
        length = result.training_lengths[user]
        assert not np.isin(of_user[:length], [VALIDATION, TEST]).any()
        assert not (of_user[length:] == TRAIN).any()


@given(data=data(), options=OPTIONS)
def test_a_later_interaction_changes_no_earlier_training_target(data, options):
    """Taking away each user's last interaction leaves training targets before it as they were.

    For cuts at fixed times; the others move with what is there.
    """
    config = DataConfig(**TIMES, **options)
    items, offsets, timestamps, ok, given_split = data
    if config.split not in ("time", "given") or config.known_items_only:
        return
    keep = np.ones(len(items), bool)
    keep[offsets[1:] - 1] = False
    lengths = np.diff(offsets) - 1
    shorter = np.concatenate([[0], np.cumsum(lengths)])
    try:
        whole = assign(config, items, offsets, Given(timestamps, given_split, ok))
        kept = Given(timestamps[keep], given_split[keep], ok[keep])
        less = assign(config, items[keep], shorter, kept)
    except UserError:
        return
    np.testing.assert_array_equal(whole.codes[keep], less.codes)


def test_users_with_fewer_than_three_only_train():
    periods = leave_one_out(np.array([0, 1, 3, 6]))
    assert periods.tolist() == [TRAIN, TRAIN, TRAIN, TRAIN, VALIDATION, TEST]


def test_dates_are_utc_and_the_cut_itself_is_held_out():
    offsets = np.array([0, 4, 5])
    timestamps = np.array([0, DAY - 1, DAY, 2 * DAY, 0])
    config = DataConfig(split="time", valid_from="1970-01-02", test_from="1970-01-03T00:00:00Z")
    codes = assign(config, np.zeros(5, np.int32), offsets, Given(timestamps)).codes
    assert codes.tolist() == [CONTEXT, TRAIN, VALIDATION, TEST, CONTEXT]


def test_given_splits_may_lack_validation():
    """Then nothing stops the training early; a filter that takes all validation is an error."""
    items, offsets = np.arange(4, dtype=np.int32), np.array([0, 4])
    codes = np.array([TRAIN, TRAIN, TRAIN, TEST], np.uint8)
    config = DataConfig(split="given")
    found = assign(config, items, offsets, Given(split=codes))
    assert found.codes.tolist() == [CONTEXT, TRAIN, TRAIN, TEST]
    with pytest.raises(UserError, match="no target is left for test"):
        assign(config, items, offsets, Given(split=np.minimum(codes, TRAIN)))
    codes[2] = VALIDATION
    ok = np.array([True, True, False, True])
    with pytest.raises(UserError, match="no target is left for validation"):
        assign(config, items, offsets, Given(split=codes, target_ok=ok))


def test_given_splits_must_not_go_back_in_time():
    items, offsets = np.zeros(6, np.int32), np.array([0, 3, 6])
    codes = np.array([TRAIN, TRAIN, VALIDATION, TRAIN, TRAIN, TEST], np.uint8)
    config = DataConfig(split="given")
    assert assign(config, items, offsets, Given(split=codes)).codes.tolist() == [0, 1, 2, 0, 1, 3]
    codes[[1, 2]] = VALIDATION, TRAIN
    with pytest.raises(UserError, match=r"user 0: the given splits go back in time"):
        assign(config, items, offsets, Given(split=codes))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "leave_one_out"}, "no target is left for training: .* at least 4 interactions$"),
        (
            {"split": "leave_one_out", "min_history": 2},
            "at least 5 interactions, or loosen data.min_history=2$",
        ),
        ({"split": "leave_one_out", "min_history": 3}, "for training.*data.min_history=3"),
        (
            {"split": "time", "valid_from": "1970-01-05", "test_from": "1970-01-06"},
            "for validation.*from 1970-01-01 to 1970-01-03.*data.valid_from=1970-01-05",
        ),
        ({"split": "time", "valid_from": "soon", "test_from": ""}, "data.valid_from='soon'"),
        (
            {"split": "time", "valid_from": "1970-01-03", "test_from": "1970-01-02"},
            "must lie before",
        ),
        ({"split": "given"}, "needs a column 'split'"),
    ],
)
def test_an_impossible_split_says_what_to_change(options, message):
    items, offsets = np.arange(3, dtype=np.int32), np.array([0, 3])
    with pytest.raises(UserError, match=message):
        assign(DataConfig(**options), items, offsets, Given(np.arange(3) * DAY))


def test_times_of_no_calendar_do_not_hide_what_is_wrong():
    items, offsets = np.arange(3, dtype=np.int32), np.array([0, 3])
    times = np.array([-90_000_000_000, -90_000_000_000 + DAY, -90_000_000_000 + 9 * DAY])
    config = DataConfig(split="time_fraction", min_history=50)
    with pytest.raises(UserError, match=r"no target .* from -90000000000 .*valid_fraction"):
        assign(config, items, offsets, Given(times))


def test_time_splits_need_times():
    with pytest.raises(UserError, match=r"data\.timestamp_column"):
        assign(DataConfig(split="time_fraction"), np.zeros(3, np.int32), np.array([0, 3]), Given())
