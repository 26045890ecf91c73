"""Batches for the device: the only part of ``data/`` that imports JAX.

A batch is a pure function of (data, seed, epoch, index), so there is no iterator state to save:
resuming asks for the next index.
"""

from collections import OrderedDict, deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
import dataclasses
import itertools
import threading
from typing import Any, TypeVar

import jax
from jaxtyping import Int32, Int64, UInt8
import numpy as np

from rearec_jax.data.batches import cloze, packing
from rearec_jax.data.batches.cloze import Masking
from rearec_jax.data.batches.packing import Share
from rearec_jax.data.batches.windows import (
    Windows,
    count_targets,
    evaluation_windows,
    latest_windows,
    training_windows,
)
from rearec_jax.data.interactions import TRAIN
from rearec_jax.errors import UserError
from rearec_jax.types import Batch

T = TypeVar("T")
_END = object()


class _EpochOrders:
    """The orders of the two newest epochs: prefetching is one epoch ahead at the border."""

    def __init__(self, plan: packing.Plan, seed: int):
        self._plan, self._seed = plan, seed
        self._orders: OrderedDict[int, packing.Order] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, epoch: int) -> packing.Order:
        with self._lock:
            if epoch not in self._orders:
                self._orders[epoch] = packing.epoch_order(self._plan, self._seed, epoch)
            self._orders.move_to_end(epoch)
            if len(self._orders) > 2:
                self._orders.popitem(last=False)
            return self._orders[epoch]


@dataclasses.dataclass(frozen=True)
class TrainingBatches:
    """Every training target once an epoch. Made by ``training_batches``."""

    items: Int32[np.ndarray, "total"]
    split: UInt8[np.ndarray, "total"]
    plan: packing.Plan
    rows_per_batch: int
    targets_per_epoch: int
    orders: _EpochOrders
    seed: int
    masking: Masking | None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(B, T, Q) of every batch."""
        return self.rows_per_batch, self.plan.tokens_per_row, self.plan.queries_per_row

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch; the last one may hold empty rows."""
        return -(-self.plan.rows // self.rows_per_batch)

    @property
    def fill(self) -> float:
        """Share in use of the places (tokens or queries) that limit the number of rows."""
        return self.plan.fill

    def batch(self, epoch: int, index: int, share: Share | None = None) -> Batch:
        """Batch ``index`` of ``epoch``, numpy arrays. Safe to call from several threads.

        ``share``: only those of its rows.

        Raises:
            IndexError: unless 0 <= index < steps_per_epoch.
        """
        _check_index(index, self.steps_per_epoch)
        packed = packing.pack_batch(
            self.items,
            self.split,
            self.plan,
            self.orders(epoch),
            TRAIN,
            index,
            self.rows_per_batch,
            share,
        )
        if self.masking:
            packed = cloze.mask_some(packed, self.items, self.split, self.masking, self.seed, epoch)
        return Batch._make(packed[: len(Batch._fields)])

    def from_step(self, step: int = 0, share: Share | None = None) -> Iterator[Batch]:
        """Batches without end, epoch after epoch, from update ``step`` (0 = the very first)."""
        for number in itertools.count(step):
            yield self.batch(*divmod(number, self.steps_per_epoch), share)


@dataclasses.dataclass(frozen=True)
class EvaluationBatches:
    """Every example of a split once. Made by ``evaluation_batches`` or ``latest_batches``."""

    items: Int32[np.ndarray, "total"]
    split: UInt8[np.ndarray, "total"]
    plan: packing.Plan
    rows_per_batch: int
    which: int | None
    order: packing.Order
    mask: int | None  # the id of the mask that asks for the next item; None: the last state does

    @property
    def shape(self) -> tuple[int, int, int]:
        """(B, T, Q) of every batch."""
        return self.rows_per_batch, self.plan.tokens_per_row, self.plan.queries_per_row

    @property
    def examples(self) -> int:
        """Examples in all the batches together."""
        return len(self.plan.windows)

    def __len__(self) -> int:
        return -(-self.plan.rows // self.rows_per_batch)

    def __iter__(self) -> Iterator[tuple[Batch, Int64[np.ndarray, "B Q"]]]:
        return (self.batch(index) for index in range(len(self)))

    def batch(self, index: int) -> tuple[Batch, Int64[np.ndarray, "B Q"]]:
        """The batch and, for each query, its target's index in ``items`` (-1: no query).

        Raises:
            IndexError: unless 0 <= index < len(self).
        """
        _check_index(index, len(self))
        packed = packing.pack_batch(
            self.items, self.split, self.plan, self.order, self.which, index, self.rows_per_batch
        )
        if self.mask is not None:
            future = None if self.which is None else self.items
            packed = cloze.mask_last(packed, future, self.mask)
        return Batch._make(packed[: len(Batch._fields)]), packed.examples


def training_batches(
    items: Int32[np.ndarray, "total"],
    offsets: Int64[np.ndarray, "users_plus_1"],
    split: UInt8[np.ndarray, "total"],
    *,
    max_length: int,
    batch_size: int,
    seed: int,
    stride: int = 0,
    prefixes: bool = False,
    masking: Masking | None = None,
    queries_per_row: int = 0,
    rows_multiple: int = 0,
) -> TrainingBatches:
    """Rows of ``max_length`` tokens with about ``batch_size`` targets a batch.

    Args:
        items: of all users, one after another.
        offsets: where each user begins.
        split: what each position is as a target.
        max_length: items of a window, tokens of a row.
        batch_size: targets an update, on average; rounded to whole rows.
        seed: of the order.
        stride: new targets a window; 0 = ``max_length``, no overlap.
        prefixes: a window for each target instead, the last ``max_length`` items before it: where
            attention is bidirectional, prefixes share no states.
        masking: masked items are the targets instead (the cloze objective).
        queries_per_row: 0 = chosen; ``max_length`` if windows do not overlap.
        rows_multiple: rows of a batch are a multiple of this; 0 = the largest power of two that is
            at most a quarter of them (41 rows become 40, 328 become 320, 3 stay), so that devices
            divide them. Of the data and ``batch_size`` alone: the same batches on every mesh.

    Raises:
        UserError: no training target has a history.
    """
    if masking:
        stride = stride or max_length
        windows = cloze.masked_windows(offsets, split, max_length, stride, masking.rate)
        items, split = cloze.with_room(items), cloze.with_room(split)
    elif prefixes:
        windows = evaluation_windows(offsets, split, TRAIN, max_length)
    else:
        windows = training_windows(offsets, split, max_length, stride or max_length)
    if not len(windows):
        raise UserError(
            "no user has a training target with an item before it; check data.split and the filters"
        )
    plan = packing.plan(windows, max_length, queries_per_row)
    targets = int(windows.queries.sum()) if masking else count_targets(split, windows, TRAIN)
    per_row = targets / plan.rows
    multiple = rows_multiple or _power_of_two(_rows_per_batch(batch_size, per_row, 1) // 4)
    rows = _rows_per_batch(batch_size, per_row, multiple)
    return TrainingBatches(
        items, split, plan, rows, targets, _EpochOrders(plan, seed), seed, masking
    )


def evaluation_batches(
    items: Int32[np.ndarray, "total"],
    offsets: Int64[np.ndarray, "users_plus_1"],
    split: UInt8[np.ndarray, "total"],
    which: int,
    *,
    max_length: int,
    batch_size: int,
    max_users: int = 0,
    mask: int | None = None,
    rows_multiple: int = 1,
) -> EvaluationBatches:
    """About ``batch_size`` examples a batch, each with the last ``max_length`` items before it.

    ``max_users`` keeps a random sample of so many examples, always the same one; 0 = all. A split
    without examples has no batches. ``mask``: the last token is this one, in the target's place
    (models of the cloze objective).
    """
    if mask is None:
        windows = evaluation_windows(offsets, split, which, max_length)
    else:
        windows = cloze.evaluation_windows_with_target(offsets, split, which, max_length)
    if 0 < max_users < len(windows):
        words = np.random.Philox(key=0).random_raw(len(windows))
        windows = windows.take(np.sort(np.argsort(words, kind="stable")[:max_users]))
    return _last_positions(
        items, split, windows, which, max_length, batch_size, mask, rows_multiple
    )


def latest_batches(
    items: Int32[np.ndarray, "total"],
    offsets: Int64[np.ndarray, "users_plus_1"],
    *,
    max_length: int,
    batch_size: int,
    mask: int | None = None,
    rows_multiple: int = 1,
) -> EvaluationBatches:
    """One example a user with items, the future unknown: weight 1, target 0. To recommend from."""
    split = np.zeros(len(items), np.uint8)
    if mask is None:
        windows = latest_windows(offsets, max_length)
    else:
        windows = cloze.latest_windows_with_target(offsets, max_length)
    return _last_positions(items, split, windows, None, max_length, batch_size, mask, rows_multiple)


def prefetch(
    source: Iterable[T],
    depth: int = 2,
    sharding: jax.sharding.Sharding | None = None,
    share: Share | None = None,
) -> Generator[T, None, None]:
    """The items of ``source``, each ``Batch`` on the device, computed ``depth`` ahead in a thread.

    In a tuple, a ``Batch`` is placed and the rest stays as it is. ``sharding`` holds for every
    array of the batch; on several hosts, each copies only what its own devices hold. ``share``: the
    batches of ``source`` are only these rows of the whole. What
    ``source`` raises is raised here, in its turn. The thread ends with the source, or when the
    generator is closed or dropped (leaving a ``for`` loop drops it).
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
    """A ``Batch``, or those of a tuple, on the device; see ``prefetch``."""
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
    items: np.ndarray,
    split: np.ndarray,
    windows: Windows,
    which: int | None,
    max_length: int,
    batch_size: int,
    mask: int | None,
    rows_multiple: int,
) -> EvaluationBatches:
    if mask is not None:
        items, split = cloze.with_room(items), cloze.with_room(split)
    plan = packing.plan(windows, max_length)
    rows = _rows_per_batch(batch_size, len(windows) / max(1, plan.rows), rows_multiple)
    return EvaluationBatches(items, split, plan, rows, which, packing.fixed_order(plan), mask)


def _rows_per_batch(batch_size: int, per_row: float, multiple: int) -> int:
    return multiple * max(1, round(batch_size / max(1.0, per_row) / multiple))


def _power_of_two(most: int) -> int:
    """The largest that is at most ``most``; 1 where there is none."""
    return 1 << max(0, most.bit_length() - 1)


def _check_index(index: int, count: int) -> None:
    if not 0 <= index < count:
        raise IndexError(f"batch {index} of {count}")
