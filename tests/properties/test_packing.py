"""Every target once, with the items that came before it; no two sequences mixed."""

from hypothesis import given
from hypothesis import strategies as st
import numpy as np

from rearec_jax.data.batches.packing import epoch_order, fixed_order, pack_batch, plan
from rearec_jax.data.batches.windows import evaluation_windows, training_windows
from rearec_jax.data.interactions import CONTEXT, TEST, TRAIN, VALIDATION, Sequences


@st.composite
def users(draw):
    """items (no two alike, so that a place tells whose it is), offsets, split."""
    lengths = draw(st.lists(st.integers(1, 14), min_size=1, max_size=8))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    total = int(offsets[-1])
    codes = st.sampled_from([TRAIN, TRAIN, TRAIN, CONTEXT, VALIDATION, TEST])
    split = draw(st.lists(codes, min_size=total, max_size=total))
    items = np.arange(100, 100 + total, dtype=np.int32)
    return Sequences(items, offsets, np.array(split, np.uint8))


def batches(data, order, which, rows):
    for index in range(-(-order.plan.rows // rows)):
        yield pack_batch(data, order, which, index, rows)


def check(batch, items, offsets, max_length):
    """Rows hold whole stretches of users; queries stand where they say. Targets that count."""
    for row in range(len(batch.tokens)):
        segment = batch.segments[row]
        for number in range(1, segment.max(initial=0) + 1):
            places = np.flatnonzero(segment == number)
            np.testing.assert_array_equal(np.diff(places), 1)
            np.testing.assert_array_equal(batch.positions[row, places], np.arange(len(places)))
            np.testing.assert_array_equal(np.diff(batch.tokens[row, places]), 1)  # one user's
            assert 1 <= len(places) <= max_length
        for query in np.flatnonzero(batch.users[row] >= 0):
            example, place = batch.examples[row, query], batch.queries[row, query]
            user = int(batch.users[row, query])
            assert offsets[user] < example < offsets[user + 1]
            assert batch.targets[row, query] == items[example]
            assert batch.tokens[row, place] == items[example - 1]
            first = np.flatnonzero(segment == segment[place])[0]
            assert offsets[user] <= batch.tokens[row, first] - 100  # not another user's item
    return batch.examples[batch.weights > 0].tolist()


@given(
    data=users(),
    max_length=st.integers(1, 9),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 5)),
    seed=st.integers(0, 9),
)
def test_training(data, max_length, shape, seed):
    items, offsets, split = data
    stride, rows = min(shape[0], max_length), shape[1]
    windows = training_windows(offsets, split, max_length, stride)
    packing = plan(windows, max_length)
    assert 0 <= packing.fill <= 1
    for epoch in (0, 1):
        order = epoch_order(packing, seed, epoch)
        counted = [
            example
            for batch in batches(data, order, TRAIN, rows)
            for example in check(batch, items, offsets, max_length)
        ]
        wanted = np.setdiff1d(
            np.flatnonzero(split == TRAIN), offsets
        )  # a first item has no history
        assert sorted(counted) == wanted.tolist()
    again = epoch_order(packing, seed, 1)
    np.testing.assert_array_equal(order.windows, again.windows)
    np.testing.assert_array_equal(order.rows, again.rows)


@given(data=users(), max_length=st.integers(1, 9), which=st.sampled_from([VALIDATION, TEST]))
def test_evaluation(data, max_length, which):
    """One query a target, with as much of its history as fits."""
    items, offsets, split = data
    packing = plan(evaluation_windows(offsets, split, which, max_length), max_length)
    seen = []
    for batch in batches(data, fixed_order(packing), which, rows=2):
        seen += check(batch, items, offsets, max_length)
        for row, query in zip(*np.nonzero(batch.weights), strict=True):
            example = batch.examples[row, query]
            before = example - offsets[batch.users[row, query]]
            place = batch.queries[row, query]
            assert batch.positions[row, place] == min(before, max_length) - 1
    assert sorted(seen) == np.setdiff1d(np.flatnonzero(split == which), offsets).tolist()


@given(data=users(), max_length=st.integers(2, 9), factor=st.integers(1, 3))
def test_rows_are_well_filled(data, max_length, factor):
    """No two neighbouring rows could be one: at least half of the places that limit are taken."""
    _, offsets, split = data
    packing = plan(training_windows(offsets, split, max_length, max_length), factor * max_length)
    used = packing.windows.length.sum(dtype=int), packing.windows.queries.sum(dtype=int)
    limits = packing.tokens_per_row, packing.queries_per_row
    needed = (
        max(-(-n // limit) for n, limit in zip(used, limits, strict=True))
        if len(packing.windows)
        else 0
    )
    assert needed <= packing.rows <= len(packing.windows)
