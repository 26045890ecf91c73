"""Windows, rows and batches, against a brute force over every (prefix, next item) pair."""

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from rearec_jax.data.batches.packing import epoch_order, fixed_order, pack_batch, plan
from rearec_jax.data.batches.windows import (
    count_targets,
    evaluation_windows,
    latest_windows,
    training_windows,
)
from rearec_jax.data.interactions import CONTEXT, TEST, TRAIN, VALIDATION, Sequences


def ragged(seed, users=12, longest=23):
    """Users of 0 to ``longest`` items with a random split; items are all different."""
    random = np.random.default_rng(seed)
    lengths = random.integers(0, longest + 1, users)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    items = random.permutation(offsets[-1]).astype(np.int32)
    shares = random.dirichlet([0.5, 2, 0.5, 0.5])
    split = random.choice([CONTEXT, TRAIN, VALIDATION, TEST], offsets[-1], p=shares)
    return Sequences(items, offsets, split.astype(np.uint8))


@st.composite
def users(draw):
    """items (no two alike, so that each tells where it is from), offsets, split."""
    lengths = draw(st.lists(st.integers(0, 14), min_size=1, max_size=8))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    total = int(offsets[-1])
    codes = st.sampled_from([TRAIN, TRAIN, TRAIN, CONTEXT, VALIDATION, TEST])
    split = draw(st.lists(codes, min_size=total, max_size=total))
    items = np.arange(100, 100 + total, dtype=np.int32)
    return Sequences(items, offsets, np.array(split, np.uint8))


def expected_examples(offsets, split, which):
    """{target position: user} of all targets with a history."""
    return {
        position: user
        for user in range(len(offsets) - 1)
        for position in range(offsets[user] + 1, offsets[user + 1])
        if split[position] == which
    }


def batches(data, order, which, rows=3):
    for index in range(-(-order.plan.rows // rows)):
        yield pack_batch(data, order, which, index, rows)


def histories(data, order, which, rows=3):
    """[(target position, user, items of the query's segment up to the query)] of weight 1."""
    found = []
    items, offsets, _ = data
    for batch in batches(data, order, which, rows):
        check_segments(batch, items, offsets)
        for row, place in np.argwhere(batch.users >= 0):
            query, example = batch.queries[row, place], batch.examples[row, place]
            user = batch.users[row, place]
            same = batch.segments[row, : query + 1] == batch.segments[row, query]
            history = batch.tokens[row, : query + 1][same]
            if which is not None:
                assert offsets[user] < example < offsets[user + 1]
                assert batch.targets[row, place] == items[example]
                assert history[-1] == items[example - 1]
            if batch.weights[row, place] == 1:
                found.append((example, user, history))
    return found


def check_segments(batch, items, offsets):
    """Each segment is a stretch of one user's items, counted from 0."""
    for row in range(len(batch.tokens)):
        for number in range(1, batch.segments[row].max(initial=0) + 1):
            inside = np.flatnonzero(batch.segments[row] == number)
            np.testing.assert_array_equal(np.diff(inside), 1)
            np.testing.assert_array_equal(batch.positions[row, inside], np.arange(len(inside)))
            start = int(np.flatnonzero(items == batch.tokens[row, inside[0]])[0])
            stretch = items[start : start + len(inside)]
            np.testing.assert_array_equal(batch.tokens[row, inside], stretch)
            user = np.searchsorted(offsets, start, "right") - 1
            assert start + len(inside) <= offsets[user + 1]


shapes = st.tuples(
    st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 9), st.booleans()
).filter(lambda shape: shape[2] <= shape[1])


@given(users(), shapes, st.integers(1, 5))
def test_every_training_target_once_with_its_latest_history(data, shape, rows):
    seed, length, stride, choose = shape
    items, offsets, split = data
    windows = training_windows(offsets, split, length, stride)
    packing = plan(windows, length, 0 if choose else stride)
    assert 0 <= packing.fill <= 1
    found = histories(data, epoch_order(packing, seed, 1), TRAIN, rows)
    expected = expected_examples(offsets, split, TRAIN)
    assert sorted(example for example, _, _ in found) == sorted(expected)
    assert count_targets(split, windows, TRAIN) == len(expected)
    for example, user, history in found:
        assert user == expected[example]
        np.testing.assert_array_equal(history, items[example - len(history) : example])
        available = example - offsets[user]
        assert min(available, length - stride + 1) <= len(history) <= min(available, length)


@given(users(), st.integers(1, 9))
def test_stride_one_is_the_last_items_of_each_prefix(data, length):
    items, offsets, split = data
    packing = plan(training_windows(offsets, split, length, 1), length)
    found = histories(data, epoch_order(packing, 0, 0), TRAIN)
    check_last_items(found, items, offsets, expected_examples(offsets, split, TRAIN), length)


@given(users(), st.integers(1, 9), st.sampled_from([VALIDATION, TEST]))
def test_every_evaluation_example_once_with_its_history(data, length, which):
    items, offsets, split = data
    packing = plan(evaluation_windows(offsets, split, which, length), length)
    found = histories(data, fixed_order(packing), which, rows=2)
    check_last_items(found, items, offsets, expected_examples(offsets, split, which), length)


def check_last_items(found, items, offsets, expected, length):
    """Every expected example occurs once, with the last ``length`` items before it."""
    assert sorted(example for example, _, _ in found) == sorted(expected)
    for example, user, history in found:
        assert user == expected[example]
        first = max(offsets[user], example - length)
        np.testing.assert_array_equal(history, items[first:example])


def test_without_overlap_no_item_is_encoded_twice():
    _, offsets, split = ragged(3, users=40)
    split[:] = TRAIN
    windows = training_windows(offsets, split, 5, 5)
    np.testing.assert_array_equal(windows.length, windows.queries)
    assert windows.length.sum() == sum(max(0, n - 1) for n in np.diff(offsets))


def test_windows_end_at_the_last_training_target():
    offsets = np.array([0, 7])
    split = np.array([TRAIN, TRAIN, TRAIN, TRAIN, TRAIN, VALIDATION, TEST], np.uint8)
    windows = training_windows(offsets, split, 3, 3)
    np.testing.assert_array_equal(windows.start, [0, 1])
    np.testing.assert_array_equal(windows.length, [1, 3])


def test_latest_windows_are_the_last_items_of_every_user():
    items, offsets, _ = data = ragged(7)
    packing = plan(latest_windows(offsets, 6), 6)
    found = histories(data, fixed_order(packing), None)
    assert sorted(user for _, user, _ in found) == list(np.flatnonzero(np.diff(offsets)))
    for _, user, history in found:
        np.testing.assert_array_equal(history, items[offsets[user] : offsets[user + 1]][-6:])


@given(users(), shapes, st.integers(0, 7), st.integers(0, 7))
def test_rows_keep_to_their_capacities(data, shape, more_tokens, more_queries):
    seed, length, stride, _ = shape
    _, offsets, split = data
    windows = training_windows(offsets, split, length, stride)
    packing = plan(windows, length + more_tokens, stride + more_queries)
    order = epoch_order(packing, seed, 0)
    assert sorted(order.windows) == list(range(len(windows)))
    assert sorted(order.rows) == list(range(packing.rows))
    row = np.repeat(np.arange(packing.rows), np.diff(packing.row_starts))
    tokens = np.bincount(row, windows.length[order.windows], packing.rows)
    queries = np.bincount(row, windows.queries[order.windows], packing.rows)
    assert (np.diff(packing.row_starts) > 0).all()
    assert (tokens <= length + more_tokens).all()
    assert (queries <= stride + more_queries).all()


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


@pytest.mark.parametrize("stride", [1, 4, 8])
def test_segments_positions_and_padding(stride):
    items, offsets, split = data = ragged(11, users=30)
    packing = plan(training_windows(offsets, split, 8, stride), 8)
    for batch in batches(data, epoch_order(packing, 0, 0), TRAIN, rows=4):
        padding = batch.segments == 0
        assert not batch.tokens[padding].any() and not batch.positions[padding].any()
        check_segments(batch, items, offsets)
        for segments in batch.segments:
            used = segments[segments > 0]
            np.testing.assert_array_equal(segments[: len(used)], used)  # padding comes last
            np.testing.assert_array_equal(np.unique(used), np.arange(1, 1 + used.max(initial=0)))
        unused = batch.examples == -1
        assert not batch.weights[unused].any() and not batch.queries[unused].any()
        assert (batch.users[unused] == -1).all() and not batch.targets[unused].any()
        for row, queries in enumerate(batch.queries):
            real = queries[~unused[row]]
            assert (batch.segments[row, real] > 0).all()
            assert (np.diff(real) > 0).all()


def test_targets_of_other_splits_weigh_nothing():
    _, offsets, split = data = ragged(5, users=30)
    packing = plan(training_windows(offsets, split, 8, 8), 8)
    seen = set()
    for batch in batches(data, epoch_order(packing, 0, 0), TRAIN):
        real = batch.examples >= 0
        np.testing.assert_array_equal(batch.weights[real], split[batch.examples[real]] == TRAIN)
        seen |= set(split[batch.examples[real]])
    assert len(seen) > 1, "the case must have queries of other splits"


def test_an_order_depends_on_seed_and_epoch_only():
    _, offsets, split = ragged(1, users=60)
    packing = plan(training_windows(offsets, split, 6, 6), 6)
    first = epoch_order(packing, 3, 4)
    again = epoch_order(plan(training_windows(offsets, split, 6, 6), 6), 3, 4)
    np.testing.assert_array_equal(first.rows, again.rows)
    np.testing.assert_array_equal(first.windows, again.windows)
    for seed, epoch in ((3, 5), (4, 4), (4, 3)):
        other = epoch_order(packing, seed, epoch)
        assert (other.rows != first.rows).any()
        assert (other.windows != first.windows).any()


def test_nothing_to_pack_gives_no_rows():
    offsets, split = np.array([0, 1, 1]), np.array([TRAIN], np.uint8)
    packing = plan(training_windows(offsets, split, 4, 2), 4)
    assert packing.rows == 0 and packing.fill == 0
    assert len(epoch_order(packing, 0, 0).rows) == 0
    batch = pack_batch(
        Sequences(np.zeros(1, np.int32), offsets, split), fixed_order(packing), TRAIN, 0, 2
    )
    assert batch.tokens.shape == (2, 4) and not batch.weights.any()


def test_impossible_sizes_are_refused():
    _, offsets, split = ragged(2)
    split[:] = TRAIN
    with pytest.raises(ValueError, match="stride"):
        training_windows(offsets, split, 4, 5)
    with pytest.raises(ValueError, match="do not fit"):
        plan(training_windows(offsets, split, 4, 4), 4, 3)
    with pytest.raises(ValueError, match="do not fit"):
        plan(training_windows(offsets, split, 4, 4), 3)


def test_beauty_fills_its_rows(shared_data):
    lines = (shared_data / "sequences" / "Beauty.txt").read_text().splitlines()
    lengths = np.array([line.count(" ") for line in lines])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    split = np.full(offsets[-1], TRAIN, np.uint8)
    split[offsets[:-1]] = CONTEXT
    split[offsets[1:] - 2], split[offsets[1:] - 1] = VALIDATION, TEST
    packing = plan(training_windows(offsets, split, 50, 50), 50, 50)
    assert packing.fill > 0.98
    assert plan(evaluation_windows(offsets, split, TEST, 50), 50).query_fill > 0.85
