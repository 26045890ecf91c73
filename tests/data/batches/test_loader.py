"""Batches as the training loop sees them, and the thread that makes them ahead of time."""

import itertools
import threading

import jax
import numpy as np
import pytest

from rearec_jax.data.batches.loader import (
    BatchSize,
    evaluation_batches,
    latest_batches,
    prefetch,
    training_batches,
)
from rearec_jax.data.interactions import CONTEXT, TEST, TRAIN, VALIDATION, Sequences
from rearec_jax.errors import UserError
from rearec_jax.types import Batch


def leave_one_out(seed=0, users=40):
    random = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(random.integers(4, 20, users))]).astype(np.int64)
    items = random.integers(0, 30, offsets[-1]).astype(np.int32)
    split = np.full(offsets[-1], TRAIN, np.uint8)
    split[offsets[:-1]] = CONTEXT
    split[offsets[1:] - 2], split[offsets[1:] - 1] = VALIDATION, TEST
    return Sequences(items, offsets, split)


def make(seed=0, **options):
    return training(leave_one_out(), seed=seed, **{"max_length": 8, "batch_size": 32} | options)


def training(data, max_length, batch_size, rows_multiple=0, **options):
    return training_batches(data, BatchSize(max_length, batch_size, rows_multiple), **options)


def full_rows(**options):
    """Of users with five training items each: one window a row, four targets in it."""
    users = 1100
    split = np.tile(np.array([CONTEXT, TRAIN, TRAIN, TRAIN, TRAIN], np.uint8), users)
    offsets = np.arange(users + 1, dtype=np.int64) * 5
    return training(Sequences(np.zeros(5 * users, np.int32), offsets, split), seed=0, **options)


def same(one, other):
    return all((a == b).all() for a, b in zip(one, other, strict=True))


def prefetch_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


@pytest.mark.parametrize("stride", [0, 1, 3])
def test_an_epoch_has_every_target_and_constant_shapes(stride):
    batches = make(stride=stride)
    rows, tokens, queries = batches.shape
    for epoch in range(2):
        total = 0
        for index in range(batches.steps_per_epoch):
            batch = batches.batch(epoch, index)
            assert batch.tokens.shape == batch.segments.shape == (rows, tokens)
            assert batch.queries.shape == batch.weights.shape == (rows, queries)
            total += batch.weights.sum()
        assert total == batches.targets_per_epoch == (leave_one_out()[2] == TRAIN).sum()


def test_a_batch_holds_about_the_targets_asked_for():
    batches = make(batch_size=64)
    mean = np.mean([batches.batch(0, i).weights.sum() for i in range(batches.steps_per_epoch - 1)])
    assert abs(mean - 64) <= 8


def test_a_batch_is_a_pure_function_of_seed_epoch_and_index():
    one, other = make(), make()
    for epoch, index in ((0, 0), (3, 2), (0, 1), (1, 0), (0, 0)):  # back and forth over the cache
        assert same(one.batch(epoch, index), other.batch(epoch, index))
        assert same(one.batch(epoch, index), make().batch(epoch, index))
    assert not same(one.batch(0, 0), one.batch(1, 0))
    assert not same(one.batch(0, 0), one.batch(0, 1))
    assert not same(one.batch(0, 0), make(seed=1).batch(0, 0))


def test_batches_resume_at_any_step():
    batches = make()
    steps = batches.steps_per_epoch
    for step, batch in enumerate(itertools.islice(batches.from_step(steps - 1), 3), steps - 1):
        assert same(batch, batches.batch(step // steps, step % steps))


def test_threads_see_the_same_batches():
    batches = make()
    wanted = [batches.batch(epoch, 0) for epoch in range(4)]
    found = [None] * 16

    def read(place):
        found[place] = batches.batch(place % 4, 0)

    threads = [threading.Thread(target=read, args=(place,)) for place in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(same(batch, wanted[place % 4]) for place, batch in enumerate(found))


def test_rows_are_a_multiple_where_one_is_asked_for():
    assert make(rows_multiple=4).shape[0] % 4 == 0
    assert make(batch_size=1, rows_multiple=4).shape[0] == 4


@pytest.mark.parametrize("exact", [1, 2, 3, 4, 7, 8, 9, 15, 16, 31, 32, 41, 63, 64, 328, 1000])
def test_rows_are_a_power_of_two_or_a_few_of_one(exact):
    """So that devices divide them; and few batches become much larger or smaller by it."""
    asked = {"batch_size": 4 * exact, "max_length": 4}  # windows of four targets fill the rows
    one = full_rows(rows_multiple=1, **asked)
    assert one.rows_per_batch == exact
    rows = full_rows(**asked).rows_per_batch
    multiple = max(m for m in (1, 2, 4, 8, 16, 32, 64, 128, 256) if m <= max(1, exact // 4))
    assert rows % multiple == 0
    assert abs(rows - exact) <= multiple / 2 <= exact / 8 or rows == exact


class TestLargerThanTheData:
    """A batch has the rows that the data fill, and not those that were asked for."""

    @pytest.mark.parametrize("rows_multiple", [0, 1, 4, 64])
    @pytest.mark.parametrize("asked", [2_000, 20_000, 10**6])
    def test_no_more_rows_than_all_targets_need(self, rows_multiple, asked):
        batches = make(batch_size=asked, rows_multiple=rows_multiple)
        rows = batches.rows_per_batch
        assert batches.steps_per_epoch == 1
        multiple = rows_multiple or max(m for m in (1, 2, 4, 8) if m <= max(1, rows // 4))
        assert batches.plan.rows <= rows < batches.plan.rows + multiple and not rows % multiple
        assert batches.batch(0, 0).weights.sum() == batches.targets_per_epoch

    def test_the_batches_are_those_of_a_size_that_just_fits(self):
        large = make(batch_size=10**6)
        per_row = large.targets_per_epoch / large.plan.rows
        fits = make(batch_size=int(per_row * large.rows_per_batch))
        assert fits.shape == large.shape
        for epoch in range(2):
            assert same(fits.batch(epoch, 0), large.batch(epoch, 0))

    def test_a_batch_that_is_not_larger_stays(self):
        """So that runs of earlier versions go on: rows are rounded as they were."""
        plan = make().plan
        targets = make().targets_per_epoch
        for asked in range(1, targets + 1, 7):
            exact = max(1, round(asked / (targets / plan.rows)))
            multiple = max(m for m in (1, 2, 4, 8, 16) if m <= max(1, exact // 4))
            rows = multiple * max(1, round(asked / (targets / plan.rows) / multiple))
            assert make(batch_size=asked).rows_per_batch == rows

    def test_examples_of_evaluation(self):
        batches = evaluation_batches(leave_one_out(), TEST, BatchSize(8, 10**6))
        assert len(batches) == 1 and batches.rows_per_batch == batches.plan.rows
        batches = evaluation_batches(leave_one_out(), TEST, BatchSize(8, 10**6, 8))
        assert batches.rows_per_batch == -(-batches.plan.rows // 8) * 8


@pytest.mark.parametrize("index", [-1, 10_000])
def test_an_index_out_of_range_is_refused(index):
    with pytest.raises(IndexError, match="of"):
        make().batch(0, index)


def test_no_training_target_is_the_users_mistake():
    with pytest.raises(UserError, match="training target"):
        training_batches(
            Sequences(np.zeros(1, np.int32), np.array([0, 1]), np.array([TRAIN], np.uint8)),
            BatchSize(4, 8),
            seed=0,
        )


def test_evaluation_has_every_example_once():
    items, offsets, _ = data = leave_one_out()
    batches = evaluation_batches(data, TEST, BatchSize(8, 16))
    found = []
    for batch, examples in batches:
        real = batch.weights == 1
        np.testing.assert_array_equal(examples >= 0, real)
        np.testing.assert_array_equal(batch.targets[real], items[examples[real]])
        found.extend(examples[real])
    assert sorted(found) == list(offsets[1:] - 1)
    assert batches.examples == len(found)


def test_a_sample_of_examples_is_fixed_and_part_of_all():
    data = leave_one_out()

    def examples(count):
        batches = evaluation_batches(data, TEST, BatchSize(8, 16), max_users=count)
        return {int(e) for _, examples in batches for e in examples[examples >= 0]}

    assert len(examples(10)) == 10
    assert examples(10) == examples(10) < examples(20) < examples(0) == examples(1000)


def test_recommending_takes_every_user_with_all_items():
    items, offsets, _ = leave_one_out()
    batches = latest_batches(items, offsets, BatchSize(30, 16))
    users = []
    for batch, _ in batches:
        for row, place in np.argwhere(batch.weights == 1):
            user, query = batch.users[row, place], batch.queries[row, place]
            history = batch.tokens[row][batch.segments[row] == batch.segments[row, query]]
            np.testing.assert_array_equal(history, items[offsets[user] : offsets[user + 1]])
            users.append(user)
    assert sorted(users) == list(range(len(offsets) - 1))


def test_prefetched_batches_are_the_same_and_on_the_device():
    batches = make(rows_multiple=jax.device_count())
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("data",))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    source = (batches.batch(0, index) for index in range(batches.steps_per_epoch))
    count = 0
    for index, batch in enumerate(prefetch(source, sharding=sharding)):
        assert isinstance(batch, Batch) and batch.tokens.sharding == sharding
        assert same(jax.device_get(batch), batches.batch(0, index))
        count += 1
    assert count == batches.steps_per_epoch
    assert not prefetch_threads()


def test_prefetching_leaves_what_is_not_a_batch():
    data = leave_one_out()
    batches = evaluation_batches(data, TEST, BatchSize(8, 16))
    for batch, examples in prefetch(batches):
        assert isinstance(batch.tokens, jax.Array)
        assert isinstance(examples, np.ndarray) and examples.dtype == np.int64


def test_prefetching_stays_a_fixed_number_ahead():
    made = []
    items = prefetch((made.append(i) or i for i in itertools.count()), depth=2)
    assert [next(items), next(items), next(items)] == [0, 1, 2]
    items.close()
    assert len(made) <= 3 + 2


def test_an_error_arrives_after_the_items_before_it():
    def source():
        yield 1
        yield 2
        raise RuntimeError("broken file")

    found = []
    with pytest.raises(RuntimeError, match="broken file"):
        for item in prefetch(source(), depth=3):
            found.append(item)
    assert found == [1, 2]
    assert not prefetch_threads()


def test_the_thread_ends_when_the_consumer_stops():
    for _ in prefetch(itertools.count()):
        break
    closed = prefetch(itertools.count())
    next(closed)
    closed.close()
    assert not prefetch_threads()
