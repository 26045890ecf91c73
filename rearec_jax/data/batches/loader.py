"""Makes batches and puts them on the device; no other part of ``data/`` imports JAX.

A batch is a pure function of (data, seed, epoch, index), so there is no iterator state to save: a
run that is resumed goes on with the next index.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
import dataclasses
import functools
import itertools
from typing import Any, TypeVar

import jax
from jaxtyping import Float64, Int32, Int64
import numpy as np

from rearec_jax.data.batches import cloze, packing
from rearec_jax.data.batches.cloze import Masking
from rearec_jax.data.batches.packing import Share
from rearec_jax.data.batches.windows import (
    Windows,
    count_targets,
    evaluation_windows,
    latest_windows,
    sums_over,
    training_windows,
)
from rearec_jax.data.interactions import TRAIN, Sequences
from rearec_jax.errors import UserError
from rearec_jax.types import Batch

T = TypeVar("T")
_END = object()


@dataclasses.dataclass(frozen=True)
class BatchSize:
    """The size of batches.

    max_length:    the items of a window, and the tokens of a row.
    targets:       the targets or examples of a batch, on average; rounded to whole rows. A batch
        has no more rows than all of them need.
    rows_multiple: the rows of a batch are a multiple of it, so that devices divide them. 0: 1, and
        in training the largest power of two that is at most a quarter of the rows (41 rows become
        40, 328 become 320, 3 stay). That depends on the data and ``targets`` alone: batches are
        the same on every mesh.
    """

    max_length: int
    targets: int
    rows_multiple: int = 0

    def rows(self, targets: int, plan: packing.Plan, training: bool) -> int:
        """Returns the rows of a batch, where the plan's rows hold ``targets`` of them."""
        asked = self.targets / max(1.0, targets / max(1, plan.rows))
        multiple = self.rows_multiple or 1
        if training and not self.rows_multiple:
            quarter = round(min(asked, plan.rows)) // 4
            multiple = 1 << max(0, quarter.bit_length() - 1)
        return multiple * max(1, min(round(asked / multiple), -(-plan.rows // multiple)))


@dataclasses.dataclass(frozen=True)
class TrainingBatches:
    """The batches of training: every target once an epoch. Made by ``training_batches``.

    data:              the users' sequences.
    plan:              the rows of an epoch.
    rows_per_batch:    the rows of a batch, B.
    targets_per_epoch: the number of targets of an epoch.
    orders:            returns the order of an epoch.
    seed:              the seed of the masks.
    masking:           the settings of the cloze objective; None for the next item.
    """

    data: Sequences
    plan: packing.Plan
    rows_per_batch: int
    targets_per_epoch: int
    orders: Callable[[int], packing.Order]
    seed: int
    masking: Masking | None

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape (B, T, Q) of every batch."""
        return self.rows_per_batch, self.plan.tokens_per_row, self.plan.queries_per_row

    @property
    def steps_per_epoch(self) -> int:
        """The number of batches of an epoch; the last one may hold empty rows."""
        return -(-self.plan.rows // self.rows_per_batch)

    def expected_targets(self) -> Float64[np.ndarray, " total"]:
        """Returns how often an epoch has each position of the data as a target, on average."""
        windows, is_target = self.plan.windows, self.data.split == TRAIN
        if self.masking:
            return cloze.expected_targets(windows, is_target, self.masking.last_only)
        end = windows.start + windows.length + 1
        return is_target * sums_over(end - windows.queries, end, np.ones(len(end)), len(is_target))

    def batch(self, epoch: int, index: int, share: Share | None = None) -> Batch:
        """Returns batch ``index`` of ``epoch``, as numpy arrays; several threads may call it.

        ``share``: the rows to return, all where it is None.

        Raises:
            IndexError: unless 0 <= index < steps_per_epoch.
        """
        _check_index(index, self.steps_per_epoch)
        packed = packing.pack_batch(
            self.data, self.orders(epoch), TRAIN, index, self.rows_per_batch, share
        )
        if self.masking:
            packed = cloze.mask_some(packed, self.data, self.masking, self.seed, epoch)
        return Batch._make(packed[: len(Batch._fields)])

    def from_step(self, step: int = 0, share: Share | None = None) -> Iterator[Batch]:
        """Yields batches without end, epoch after epoch, from update ``step`` (0 = the first)."""
        for number in itertools.count(step):
            yield self.batch(*divmod(number, self.steps_per_epoch), share)


@dataclasses.dataclass(frozen=True)
class EvaluationBatches:
    """The batches of evaluation: every example of a split once.

    Made by ``evaluation_batches`` or ``latest_batches``.

    data:           the users' sequences.
    plan:           the rows.
    rows_per_batch: the rows of a batch, B.
    which:          the split; None where the future is unknown.
    order:          the order of the rows.
    mask:           the id of the mask token in the position of the next item (cloze objective);
        None where the last state predicts the next item.
    """

    data: Sequences
    plan: packing.Plan
    rows_per_batch: int
    which: int | None
    order: packing.Order
    mask: int | None

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape (B, T, Q) of every batch."""
        return self.rows_per_batch, self.plan.tokens_per_row, self.plan.queries_per_row

    @property
    def examples(self) -> int:
        """The number of examples in all the batches together."""
        return len(self.plan.windows)

    def __len__(self) -> int:
        return -(-self.plan.rows // self.rows_per_batch)

    def __iter__(self) -> Iterator[tuple[Batch, Int64[np.ndarray, "B Q"]]]:
        return (self.batch(index) for index in range(len(self)))

    def batch(self, index: int) -> tuple[Batch, Int64[np.ndarray, "B Q"]]:
        """Returns a batch and, for each query, its target's index in ``items`` (-1: no query).

        Raises:
            IndexError: unless 0 <= index < len(self).
        """
        _check_index(index, len(self))
        packed = packing.pack_batch(self.data, self.order, self.which, index, self.rows_per_batch)
        if self.mask is not None:
            future = None if self.which is None else self.data.items
            packed = cloze.mask_last(packed, future, self.mask)
        return Batch._make(packed[: len(Batch._fields)]), packed.examples


def training_batches(
    data: Sequences,
    size: BatchSize,
    *,
    seed: int,
    stride: int = 0,
    prefixes: bool = False,
    masking: Masking | None = None,
) -> TrainingBatches:
    """Returns the batches of training.

    Args:
        data: the users' sequences.
        size: the size of the batches.
        seed: the seed of the order.
        stride: the new targets of a window; 0: ``max_length``, no overlap.
        prefixes: whether each target has a window of its own instead, the last ``max_length`` items
            before it: where attention is bidirectional, prefixes share no states.
        masking: the settings by which masked items are the targets instead (cloze objective).

    Raises:
        UserError: no training target has a history.
    """
    length, stride = size.max_length, stride or size.max_length
    if masking:
        windows = cloze.masked_windows(data.offsets, data.split, length, stride, masking.rate)
        data = _with_room(data)
    elif prefixes:
        windows = evaluation_windows(data.offsets, data.split, TRAIN, length)
    else:
        windows = training_windows(data.offsets, data.split, length, stride)
    if not len(windows):
        raise UserError(
            "no user has a training target with an item before it; check data.split and the filters"
        )
    plan = packing.plan(windows, length)
    targets = int(windows.queries.sum()) if masking else count_targets(data.split, windows, TRAIN)
    rows = size.rows(targets, plan, training=True)
    # The two newest orders stay, because prefetching may be one epoch ahead.
    orders = functools.lru_cache(2)(functools.partial(packing.epoch_order, plan, seed))
    return TrainingBatches(data, plan, rows, targets, orders, seed, masking)


def evaluation_batches(
    data: Sequences, which: int, size: BatchSize, *, max_users: int = 0, mask: int | None = None
) -> EvaluationBatches:
    """Returns the batches of a split's examples, each with the last ``max_length`` items before it.

    Args:
        data: the users' sequences.
        which: the split; one without examples has no batches.
        size: the size of the batches.
        max_users: the size of a random sample of the examples, always the same; 0: all.
        mask: the id of the mask token, which stands in the target's position (models of the cloze
            objective); None for other models.
    """
    seen = size.max_length - (mask is not None)
    windows = evaluation_windows(data.offsets, data.split, which, seen)
    if 0 < max_users < len(windows):
        words = np.random.Philox(key=0).random_raw(len(windows))
        windows = windows.take(np.sort(np.argsort(words, kind="stable")[:max_users]))
    return _last_positions(data, windows, which, size, mask)


def latest_batches(
    items: Int32[np.ndarray, "total"],
    offsets: Int64[np.ndarray, "users_plus_1"],
    size: BatchSize,
    mask: int | None = None,
) -> EvaluationBatches:
    """Returns batches of one example a user with items, to recommend from.

    The future is unknown: examples weigh 1, and their targets are 0.
    """
    windows = latest_windows(offsets, size.max_length - (mask is not None))
    data = Sequences(items, offsets, np.zeros(len(items), np.uint8))
    return _last_positions(data, windows, None, size, mask)


def prefetch(
    source: Iterable[T],
    depth: int = 2,
    sharding: jax.sharding.Sharding | None = None,
    share: Share | None = None,
) -> Generator[T, None, None]:
    """Yields the items of ``source``, each ``Batch`` on the device, computed ahead in a thread.

    In a tuple, a ``Batch`` is placed and the rest stays as it is. An exception of ``source`` is
    raised here, after the items before it. The thread ends with the source, or when the generator
    is closed or dropped (leaving a ``for`` loop drops it).

    Args:
        source: the items.
        depth: the number of items that are computed ahead.
        sharding: the sharding of every array of a batch; on several hosts, each copies only the
            rows of its devices.
        share: the rows of the whole batch that the batches of ``source`` hold; None: all.
    """
    iterator = iter(source)

    def fetch() -> Any:
        item = next(iterator, _END)
        return item if item is _END else place(item, sharding, share)

    pool = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
    try:
        ahead = deque(pool.submit(fetch) for _ in range(max(1, depth)))
        while (item := ahead.popleft().result()) is not _END:
            ahead.append(pool.submit(fetch))
            yield item
    finally:
        pool.shutdown(cancel_futures=True)


def place(
    item: Any, sharding: jax.sharding.Sharding | None = None, share: Share | None = None
) -> Any:
    """Returns a ``Batch``, or a tuple with its batches, on the device; see ``prefetch``."""
    if isinstance(item, Batch):
        return Batch(*(_place_array(array, sharding, share) for array in item))
    if type(item) is tuple:
        return tuple(
            place(part, sharding, share) if isinstance(part, Batch) else part for part in item
        )
    return item


def _place_array(
    array: jax.Array | np.ndarray, sharding: jax.sharding.Sharding | None, share: Share | None
) -> jax.Array:
    if sharding is None or sharding.is_fully_addressable:
        return jax.device_put(array, sharding)
    start, _, total = share or Share(0, len(array), len(array))

    def rows(index: tuple[slice, ...] | None) -> Any:
        first, end, _ = (index or (slice(None),))[0].indices(total)
        return array[first - start : end - start]

    return jax.make_array_from_callback((total, *array.shape[1:]), sharding, rows)


def _last_positions(
    data: Sequences, windows: Windows, which: int | None, size: BatchSize, mask: int | None
) -> EvaluationBatches:
    if mask is not None:
        data, windows = _with_room(data), cloze.one_longer(windows)
    plan = packing.plan(windows, size.max_length)
    rows = size.rows(len(windows), plan, training=False)
    return EvaluationBatches(data, plan, rows, which, packing.fixed_order(plan), mask)


def _with_room(data: Sequences) -> Sequences:
    return Sequences(cloze.with_room(data.items), data.offsets, cloze.with_room(data.split))


def _check_index(index: int, count: int) -> None:
    if not 0 <= index < count:
        raise IndexError(f"batch {index} of {count}")
