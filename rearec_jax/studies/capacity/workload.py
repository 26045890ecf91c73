"""The training to be compiled: its set-up on real or generated data, and shapes for its arrays."""

from collections.abc import Sequence
import dataclasses
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from rearec_jax.config import Config, MeshConfig
from rearec_jax.data import item_features
from rearec_jax.data.interactions import CONTEXT, TEST, TRAIN, VALIDATION, Interactions
from rearec_jax.data.prepare import prepare
from rearec_jax.devices.mesh import Devices, make_devices
from rearec_jax.evaluation import evaluator
from rearec_jax.evaluation.seen import width
from rearec_jax.methods import METHODS
from rearec_jax.studies.capacity.options import Options
from rearec_jax.training.setup import Setup, make_setup
from rearec_jax.training.step import TrainState
from rearec_jax.types import Batch, Catalogue, Features


class Workload(NamedTuple):
    """A training to be compiled. Every array is only a shape and a type."""

    setup: Setup  # the set-up of the training
    catalogue: Catalogue  # what an update reads of the items
    state: TrainState  # the parameters and moments
    batch: Batch  # a batch of training
    ranked: Batch  # a batch of evaluation
    seen: jax.ShapeDtypeStruct  # the items that evaluation leaves out of the ranking, [B, Q, L]
    targets_per_update: float  # the mean number of targets in a batch
    targets: int  # the number of targets in an epoch; 0 for unknown


def workload(options: Options, devices: Sequence[jax.Device]) -> Workload:
    """Makes the workload of ``options.config`` on ``devices``.

    Its data are those of the configuration, or with ``options.items`` those of generated users.

    Raises:
        UserError: the data are not there or leave no example, or the mesh does not fit the devices.
    """
    config = options.config
    is_real = not options.items
    data = prepare(config.data) if is_real else generated(config, options.items, options.history)
    shared = make_devices(config.mesh.data, config.mesh.model, devices)
    shared.check_catalogue(data.num_items)
    here, setup = _setups(config, data, shared)
    batches, validation = setup.batches, setup.validate.batches
    parts = shared.data
    ranked = _batch(validation.shape, parts)
    features = options.features
    if is_real and config.data.item_features:
        features = _features_shape(config, data)
    catalogue = _catalogue(config, data.num_items, options.text_width, features)
    longest = 0
    if config.eval.exclude_seen:
        longest = width(int(data.lengths.max()), data.num_items)
    per_update = batches.targets_per_epoch / batches.steps_per_epoch
    if not is_real:  # its last batch may be half empty
        per_update = batches.targets_per_epoch / (batches.plan.rows / batches.rows_per_batch)
    return Workload(
        setup=setup,
        catalogue=catalogue,
        state=jax.eval_shape(lambda c: here._replace(catalogue=c).initial_state(), catalogue),
        batch=_batch(batches.shape, parts),
        ranked=ranked,
        seen=jax.ShapeDtypeStruct((*ranked.queries.shape, longest), jnp.int32),
        targets_per_update=per_update,
        targets=options.targets or (batches.targets_per_epoch if is_real else 0),
    )


def _setups(config: Config, data: Interactions, shared: Devices) -> tuple[Setup, Setup]:
    """Returns the set-up on one device of this machine, and that on ``shared``."""
    alone = dataclasses.replace(config, mesh=MeshConfig(data=1, model=1))
    here = make_setup(alone, data)
    task = dataclasses.replace(here.task, config=config, devices=shared)
    validate = evaluator.make_evaluator(task.model, config, data, VALIDATION, None, shared)
    return here, here._replace(task=task, validate=validate)


def generated(config: Config, items: int, history: int) -> Interactions:
    """Generates enough users for two batches of either kind, split by leaving one out.

    Each user has ``history`` training interactions.
    """
    users = 2 * max(-(-config.train.batch_size // (history - 1)), config.eval.batch_size) + 1
    split = np.full((users, history + 2), TRAIN, np.uint8)
    split[:, 0], split[:, -2], split[:, -1] = CONTEXT, VALIDATION, TEST
    offsets = np.arange(users + 1, dtype=np.int64) * (history + 2)
    # Only the number of the raw ids is ever read.
    ids = cast(Any, (range(users), range(items)))
    bought = np.zeros(split.size, np.int32)
    return Interactions(bought, offsets, split.ravel(), None, *ids, item_text=None, name="planned")


def _features_shape(config: Config, data: Interactions) -> tuple[int, int]:
    """Returns the number of values of the features in the file, and the most of an item."""
    numbered = item_features.numbered(
        item_features.read(config.data, data.item_ids), data.num_items
    )
    return numbered.count, numbered.codes.shape[1]


def _catalogue(
    config: Config, items: int, text_width: int, features: tuple[int, int] | None
) -> Catalogue:
    """Returns the shapes of what an update reads of the items."""
    shape = cast(Any, jax.ShapeDtypeStruct)  # stands for an array, in types too
    loss = config.train.loss
    text = None
    if config.model.items != "ids":
        text = shape((items, text_width or config.text.width), jnp.float32)
    elif features is not None:
        count, most = features
        text = Features(shape((items, most), jnp.int32), shape((items, most), jnp.float32), count)
    near = METHODS[config.method.name].neighbours(config.method)
    return Catalogue(
        text=text,
        cumulative=shape((items,), jnp.uint32) if loss == "sampled" else None,
        log_probability=shape((items,), jnp.float32) if loss != "full" else None,
        neighbours=shape((items, near), jnp.int32) if near else None,
    )


def _batch(sizes: tuple[int, int, int], parts: int) -> Batch:
    """Returns the shapes of a batch, with its rows filled up to a multiple of ``parts``."""
    shape = cast(Any, jax.ShapeDtypeStruct)
    rows, tokens, queries = sizes
    rows += -rows % parts
    of_tokens = shape((rows, tokens), jnp.int32)
    of_queries = shape((rows, queries), jnp.int32)
    weights = shape((rows, queries), jnp.float32)
    return Batch(
        tokens=of_tokens,
        positions=of_tokens,
        segments=of_tokens,
        queries=of_queries,
        targets=of_queries,
        weights=weights,
        users=of_queries,
    )
