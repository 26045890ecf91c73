"""No target is learned from its future: for every way of splitting, on any data."""

import itertools

from hypothesis import given
from hypothesis import strategies as st
import numpy as np

from rearec_jax.config import DataConfig
from rearec_jax.data.interactions import CONTEXT, TEST, TRAIN, VALIDATION
from rearec_jax.data.own_files.splits import Given, assign, time_cuts
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


OPTIONS = st.fixed_dictionaries(
    {
        "split": st.sampled_from(["leave_one_out", "time", "time_fraction", "given"]),
        "min_history": st.integers(1, 3),
        "known_items_only": st.booleans(),
    }
)
TIMES = {"source": "table", "valid_from": "1970-01-12", "test_from": "1970-01-20"}


@given(data=data(), options=OPTIONS)
def test_no_target_leaks(data, options):
    config = DataConfig(**TIMES, **options)
    items, offsets, timestamps, ok, given_split = data
    try:
        split = assign(config, items, offsets, Given(timestamps, given_split, ok))
    except UserError as error:
        assert "no target is left for" in str(error)
        return
    codes = split.codes
    trained = training_items(items, offsets, split.training_lengths)
    for start, end in itertools.pairwise(offsets):
        own = codes[start:end]
        targets = own[own != CONTEXT]
        assert (np.diff(targets.astype(int)) >= 0).all()  # training, then validation, then test
        for position in np.flatnonzero(own != CONTEXT):
            assert position >= config.min_history
            assert ok[start + position]
            history = items[start : start + position + 1]
            if config.known_items_only and own[position] != TRAIN:
                assert set(history.tolist()) <= trained
    check_periods(config, data, codes)


def training_items(items, offsets, lengths):
    return {
        int(item)
        for start, count in zip(offsets[:-1], lengths, strict=True)
        for item in items[start : start + count]
    }


def check_periods(config, data, codes):
    _, offsets, timestamps, _, given_split = data
    of = {code: codes == code for code in (TRAIN, VALIDATION, TEST)}
    if config.split == "given":
        for code, where in of.items():
            assert (given_split[where] == code).all()
    elif config.split == "leave_one_out":
        for code in (VALIDATION, TEST):
            users = np.searchsorted(offsets, np.flatnonzero(of[code]), side="right")
            assert len(set(users.tolist())) == len(users)  # one each
        assert set(np.flatnonzero(of[TEST]).tolist()) <= set((offsets[1:] - 1).tolist())
    else:
        valid_from, test_from = time_cuts(config, timestamps)
        assert (timestamps[of[TRAIN]] < valid_from).all()
        assert ((timestamps >= valid_from) & (timestamps < test_from))[of[VALIDATION]].all()
        assert (timestamps[of[TEST]] >= test_from).all()


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
        less = assign(
            config, items[keep], shorter, Given(timestamps[keep], given_split[keep], ok[keep])
        )
    except UserError:
        return
    np.testing.assert_array_equal(whole.codes[keep], less.codes)
