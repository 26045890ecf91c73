"""Generated data and whole updates that the benchmarks share. Needs neither Polars nor files."""

from collections.abc import Callable
import time
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from rearec_jax import config as config_lib
from rearec_jax.config import Config
from rearec_jax.data.batches.loader import BatchSize, training_batches
from rearec_jax.data.interactions import CONTEXT, TEST, TRAIN, VALIDATION, Interactions, Sequences
from rearec_jax.training import catalogue_sample, optimizer
from rearec_jax.training.step import TrainState, UpdateFunction, initial_state, update_function
from rearec_jax.training.task import Task
from rearec_jax.types import Batch, Catalogue

TOKENS, SEGMENT, TARGETS = 50, 10, 2050  # 41 rows of five users: what Beauty's rows look like
USERS, ITEMS = 22_363, 12_101  # of Beauty, whose sequences have 8.9 items on average


class Ready(NamedTuple):
    """All that an update needs, before the first of them."""

    update: UpdateFunction
    state: TrainState
    batch: Batch

    @property
    def targets(self) -> int:
        """Targets that count."""
        return int(self.batch.weights.sum())


def configuration(**changes: Any) -> Config:
    """The defaults with ``changes``; their names have __ for the dot."""
    options = config_lib.default()
    for name, value in changes.items():
        section, option = name.split("__")
        options[section][option] = value
    return config_lib.resolve(options)


def product_clock(rows: int = 2048, dtype: str = "float32") -> Callable[[], float]:
    """A function that makes a product of two matrices of ``rows`` x ``rows``: seconds that it took.

    2 rows³ over them is the rate that speeds are compared with, on a host that changes its own.
    """
    matrix = jnp.ones((rows, rows), dtype)
    multiply = jax.jit(jnp.matmul)

    def clock() -> float:
        started = time.perf_counter()
        multiply(matrix, matrix).block_until_ready()
        return time.perf_counter() - started

    clock()  # compiles it
    return clock


def ready(
    config: Config,
    items: int,
    text_width: int = 768,
    targets: int = TARGETS,
    segment: int = SEGMENT,
) -> Ready:
    """A compiled-when-called update with its first state and a batch of random items."""
    transform = optimizer.build(config.train, total_steps=config.train.warmup_steps + 1)
    batch = training_batch(config, items, targets, segment)
    catalogue = catalogue_of(config, items, text_width)
    task = Task(config, items, rows=batch.targets.shape[0], queries=batch.targets.shape[1])
    state = initial_state(task, transform, catalogue)
    update = update_function(task, transform, catalogue, contrast=True)
    return Ready(update, state, batch)


def training_batch(config: Config, items: int, targets: int, segment: int) -> Batch:
    """Users of ``segment`` + 1 random items: the first of many batches."""
    users = 10 * -(-targets // segment)
    drawn = np.random.default_rng(0).integers(0, items, users * (segment + 1), dtype=np.int32)
    offsets = np.arange(users + 1, dtype=np.int64) * (segment + 1)
    split = np.full(len(drawn), TRAIN, np.uint8)
    split[offsets[:-1]] = CONTEXT
    batches = training_batches(
        Sequences(drawn, offsets, split),
        BatchSize(config.model.max_length, targets, rows_multiple=1),  # just so many targets
        seed=0,
        prefixes=config.model.attention == "bidirectional",
    )
    return Batch._make(map(jnp.asarray, batches.batch(0, 0)))


def catalogue_of(config: Config, items: int, text_width: int) -> Catalogue:
    """Random text vectors where they are read, and a uniform distribution of negatives."""
    text = None
    if config.model.items != "ids":
        vectors = np.random.default_rng(1).normal(size=(items, text_width)) / np.sqrt(text_width)
        text = jnp.asarray(vectors, jnp.float32)
    drawn = catalogue_sample.distribution(np.ones(items, np.int64), 1.0)
    return Catalogue(text, jnp.asarray(drawn.cumulative), jnp.asarray(drawn.log_probability))


def like_beauty(users: int = USERS, items: int = ITEMS) -> Interactions:
    """Users of at least five random items, 8.9 on average, up to some 200; leave-one-out."""
    rng = np.random.default_rng(0)
    lengths = 5 + rng.lognormal(np.log(4.38) - 1.1**2 / 2, 1.1, users).astype(np.int64)
    offsets = np.append(0, np.cumsum(lengths))
    split = np.full(offsets[-1], TRAIN, np.uint8)
    split[offsets[:-1]] = CONTEXT
    split[offsets[1:] - 2], split[offsets[1:] - 1] = VALIDATION, TEST
    drawn = rng.integers(0, items, offsets[-1], dtype=np.int32)
    return interactions(drawn, offsets, split, items)


def interactions(
    items: np.ndarray, offsets: np.ndarray, split: np.ndarray, num_items: int
) -> Interactions:
    """Arrays as a data set; of the raw ids, only how many there are is ever asked."""
    ids = cast(Any, (np.arange(len(offsets) - 1), np.arange(num_items)))
    return Interactions(items, offsets, split, None, *ids, item_text=None, name="generated")


def machine() -> dict[str, Any]:
    """What a number was measured on."""
    return {"device": jax.devices()[0].device_kind, "jax": jax.__version__}
