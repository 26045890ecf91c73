"""Tiny configurations, parameters, batches and data that the tests share."""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import math
from typing import Any

from hypothesis import strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from rearec_jax import config as options
from rearec_jax.config import Config
from rearec_jax.data.interactions import CONTEXT, TEST, TRAIN, VALIDATION, Interactions
from rearec_jax.devices.mesh import ONE, Devices
from rearec_jax.models import backbones
from rearec_jax.models.backbones import Backbone, Variables
from rearec_jax.training.task import Task
from rearec_jax.types import Batch, Features

METHODS = ("base", "naive", "rpe", "erl", "prl")
BACKBONES = ("sasrec", "bert4rec", "unisrec", "morec")
SMALL = {
    "model.width": 8,
    "model.hidden": 12,
    "model.heads": 2,
    "model.layers": 2,
    "model.max_length": 6,
    "model.dropout": 0.0,
    "model.embedding_dropout": 0.0,
    # Not left to the defaults: every term of every loss is there.
    "method.kl_weight": 0.05,
    "method.contrastive_weight": 1.0,
}


@contextlib.contextmanager
def float64() -> Iterator[None]:
    """64-bit arrays, and Flax's LayerNorm asks for promote_types, which strict promotion refuses.

    Ranks stay strict; so do types in all tests of float32.
    """
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        yield


def arrays(*shape: int) -> st.SearchStrategy[np.ndarray]:
    """Arrays of this shape with numbers from -30 to 30, for hypothesis."""
    size = math.prod(shape)
    numbers = st.lists(st.floats(-30, 30, width=32), min_size=size, max_size=size)
    return numbers.map(lambda values: np.array(values).reshape(shape))


def jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiled in half the time, and the code is slow: it runs once."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


def config(method: str = "prl", steps: int = 2, **changes: Any) -> Config:
    """A resolved configuration without dropout; ``changes`` are dotted, with __ for the dot."""
    chosen = options.default()
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    values = SMALL | {"method.name": method, "method.steps": steps} | dotted
    chosen.update_from_flattened_dict(values)
    return options.resolve(chosen)


def task(config: Config, items: int, batch: Batch, devices: Devices = ONE) -> Task:
    """What is trained on batches of this shape."""
    return Task(config, items, *batch.targets.shape, devices)


def random_like(tree: Any, seed: int = 0, scale: float = 0.4) -> Any:
    """Weights large enough to make every part of the network matter; LayerNorm scales about 1."""
    rng = np.random.default_rng(seed)

    def draw(path: Any, leaf: Any) -> jax.Array:
        centre = 1.0 if "scale" in jax.tree_util.keystr(path) else 0.0
        return jnp.asarray(centre + scale * rng.normal(size=leaf.shape), leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, tree)


def build(config: Config, items: int, seed: int = 0) -> tuple[Backbone, Variables]:
    """The model that ``config`` names, with random parameters."""
    model = backbones.build(config, items)
    shapes = jax.eval_shape(model.init, jax.random.key(0), text_of(config, items))
    return model, random_like(shapes, seed)


def features_of(items: int, seed: int = 0, count: int = 5) -> Features:
    """Up to three values of each item, with weights as of one column."""
    rng = np.random.default_rng(seed)
    used = np.arange(3) < rng.integers(1, 4, size=(items, 1))
    weights = (used / used.sum(axis=1, keepdims=True)).astype(np.float32)
    codes = np.where(used, rng.integers(0, count, size=(items, 3)), 0).astype(np.int32)
    return Features(jnp.asarray(codes), jnp.asarray(weights), count)


def text_of(config: Config, items: int) -> Any:
    """What the item encoder reads: text vectors [items, 5], features, or None."""
    if config.model.items == "ids":
        return features_of(items) if config.data.item_features else None
    vectors = np.random.default_rng(7).normal(size=(items, 5))
    return jnp.asarray(vectors, config.model.dtype)


def sequences(lengths: Sequence[int], items: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, items, length) for length in lengths]


def pack(
    rows: Sequence[Sequence[np.ndarray]],
    tokens: int,
    items: int,
    every_position: bool = False,
    queries: int = 0,
    seed: int = 0,
) -> Batch:
    """Rows of sequences, packed by hand. Each sequence is another user.

    Queries are every position, or the last of each sequence; padded to ``queries`` a row with
    weight 0 and user -1. Targets are random.
    """
    rng = np.random.default_rng(seed)
    count = len(rows)
    asked: list[list[tuple[int, int]]] = []
    arrays = np.zeros((3, count, tokens), int)
    user = 0
    for b, row in enumerate(rows):
        at, asked_here = 0, []
        for number, sequence in enumerate(row, start=1):
            end = at + len(sequence)
            arrays[:2, b, at:end] = sequence, np.arange(len(sequence))
            arrays[2, b, at:end] = number
            first = at if every_position else end - 1
            asked_here += [(place, user) for place in range(first, end)]
            at, user = end, user + 1
        asked.append(asked_here)
    width = max(queries, *map(len, asked))
    places = np.zeros((count, width), int)
    users = np.full((count, width), -1)
    for b, row_queries in enumerate(asked):
        for q, (place, user) in enumerate(row_queries):
            places[b, q], users[b, q] = place, user
    weights = (users >= 0).astype(np.float32)
    targets = rng.integers(0, items, places.shape)
    return to_device(Batch(*arrays, places, targets, weights, users))


def to_device(batch: Batch) -> Batch:
    return jax.tree.map(jnp.asarray, batch)


def interactions(users: Sequence[np.ndarray], items: int) -> Interactions:
    """Leave-one-out data: first position context, last test, the one before it validation."""
    offsets = np.append(0, np.cumsum([len(user) for user in users])).astype(np.int64)
    split = np.full(offsets[-1], TRAIN, np.uint8)
    split[offsets[:-1]] = CONTEXT
    split[offsets[1:] - 2], split[offsets[1:] - 1] = VALIDATION, TEST
    return Interactions(
        items=np.concatenate(users).astype(np.int32),
        offsets=offsets,
        split=split,
        timestamps=None,
        user_ids=pl.Series([f"u{i}" for i in range(len(users))]),
        item_ids=pl.Series([f"i{i}" for i in range(items)]),
        item_text=None,
        name="tiny",
    )
