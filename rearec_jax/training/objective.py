"""The loss of a batch as a function of the parameters: encode, reason, score, and compare."""

from collections.abc import Callable
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rearec_jax.config import Config
from rearec_jax.devices.mesh import ONE, Devices
from rearec_jax.losses.sampled import Sample
from rearec_jax.losses.similarity import comparable
from rearec_jax.methods import METHODS
from rearec_jax.methods.reasoned import Blocks, Numbers, Parts, Reasoned, numbers_of
from rearec_jax.models.backbones import Variables, item_table
from rearec_jax.models.reasoning import encode_and_reason
from rearec_jax.ops import random_arrays
from rearec_jax.training import catalogue_sample
from rearec_jax.training.task import Task
from rearec_jax.types import Batch, Catalogue, PRNGKey, Reasoning

Objective = Callable[[Variables, Batch, Catalogue, PRNGKey], tuple[Float[Array, ""], Parts]]
SampleObjective = Callable[
    [Variables, Batch, Catalogue, Sample, PRNGKey], tuple[Float[Array, ""], Parts]
]


def build(task: Task, contrast: bool = True, numbers: Numbers | None = None) -> Objective:
    """Makes the objective of a training.

    Args:
        task: what is trained.
        contrast: False during `contrastive_warmup_epochs`: the noisy view is not computed.
        numbers: temperature and weights in place of the configuration's.
    """
    config, items = task.config, task.num_items
    if config.train.loss == "full":
        blocks = Blocks(
            task.catalogue_block(items),
            task.query_block(items),
            task.query_block(task.queries_per_batch),
        )
        full = _objective(task, blocks, contrast, numbers)

        def over_all(
            variables: Variables, batch: Batch, catalogue: Catalogue, key: PRNGKey
        ) -> tuple[Float[Array, ""], Parts]:
            return full(variables, batch, catalogue, None, key)

        return over_all

    def over_sample(
        variables: Variables, batch: Batch, catalogue: Catalogue, key: PRNGKey
    ) -> tuple[Float[Array, ""], Parts]:
        small = catalogue_sample.small_catalogue(config.train, catalogue, batch, items, key)
        objective = on_sample(task, small, contrast, numbers)
        return objective(
            small.touched.take(variables), small.batch, small.catalogue, small.sample, key
        )

    return over_sample


def on_sample(
    task: Task,
    small: catalogue_sample.SmallCatalogue,
    contrast: bool,
    numbers: Numbers | None = None,
) -> SampleObjective:
    """Makes the objective over the items that an update touches: variables and ids are local."""
    rows, queries = small.batch.targets.shape
    local = Task(task.config, small.touched.ids.shape[0], rows, queries, task.devices)
    blocks = Blocks(
        local.catalogue_block(small.sample.items.shape[0]),
        pairs=local.query_block(local.queries_per_batch),
    )
    return _objective(local, blocks, contrast, numbers)


def _objective(
    task: Task, blocks: Blocks, contrast: bool, numbers: Numbers | None
) -> Callable[..., tuple[Float[Array, ""], Parts]]:
    config, devices = task.config, task.devices
    options = config.method
    values = numbers or numbers_of(options)
    contrast = contrast and METHODS[options.name].noisy_view(options)

    def objective(
        variables: Variables,
        batch: Batch,
        catalogue: Catalogue,
        sample: Sample | None,
        key: PRNGKey,
    ) -> tuple[Float[Array, ""], Parts]:
        text = devices.by_rows(catalogue.text)
        table = item_table(task.model, variables, text, jax.random.fold_in(key, 3))
        table = devices.by_rows(table)
        noise = None
        if contrast:
            noise_key = jax.random.fold_in(key, 1)
            noise = unit_noise(noise_key, batch, config) * jnp.asarray(
                values.noise, config.model.dtype
            )
        reason = functools.partial(
            encode_and_reason, task.model, variables, table, batch, options.steps
        )
        scoring = Scoring(
            blocks, sample, devices, values, catalogue.neighbours, jax.random.fold_in(key, 5)
        )

        def parts_of(key: PRNGKey) -> Parts:
            reasoning = reason(noise, jax.random.fold_in(key, 2))
            if METHODS[options.name].dropout_view(options):
                again = reason(None, jax.random.fold_in(key, 6))
                reasoning = reasoning._replace(noisy=again.states[:, :, 1:])
            return loss_of(config, reasoning, batch, table, scoring)[1]

        parts = parts_of(key)
        if (count := config.train.dropout_samples) > 1:
            others = [parts_of(jax.random.fold_in(key, 6 + n)) for n in range(1, count)]
            parts = jax.tree.map(lambda *every: sum(every) / count, parts, *others)
        return parts["loss"], parts

    return objective


def unit_noise(key: PRNGKey, batch: Batch, config: Config) -> Float[Array, "K B Q D"]:
    """Draws standard normal noise for every step's input."""
    shape = (config.method.steps, *batch.queries.shape, config.model.width)
    return random_arrays.normal(key, shape, jnp.dtype(config.model.dtype))


class Scoring(NamedTuple):
    """The way a batch is scored; the fields are those of `methods.reasoned.Reasoned`.

    neighbours: The nearest items of each item (see `Catalogue`), of which `Reasoned.near` is made.
    """

    blocks: Blocks
    sample: Sample | None = None
    devices: Devices = ONE
    numbers: Numbers | None = None
    neighbours: Int[Array, "N n"] | None = None
    key: PRNGKey | None = None


def loss_of(
    config: Config,
    reasoning: Reasoning,
    batch: Batch,
    table: Float[Array, "N D"],
    scoring: Scoring,
) -> tuple[Float[Array, ""], Parts]:
    """Computes the weighted mean loss of a batch, and its parts by name."""
    method, similarity = METHODS[config.method.name], config.model.similarity
    steps, width = reasoning.states.shape[-2:]
    states = reasoning.states.reshape(-1, steps, width)
    noisy = None
    if reasoning.noisy is not None:
        noisy = comparable(reasoning.noisy.reshape(-1, steps - 1, width), similarity)
    near = None
    if scoring.neighbours is not None:
        last = jnp.take_along_axis(batch.tokens, batch.queries, axis=1)
        near = scoring.neighbours[last.reshape(-1)]
    carried = None
    if isinstance(reasoning.carried, jax.Array):  # [K, B, V, Q, D]
        of_query = jnp.moveaxis(reasoning.carried, (1, 3), (0, 1)).reshape(len(states), -1, width)
        carried = comparable(of_query, similarity)
    parts = method.objective(
        Reasoned(
            states=comparable(states, similarity),
            user=comparable(method.user(states, reasoning.weights), similarity),
            noisy=noisy,
            carried=carried,
            batch=jax.tree.map(lambda x: x.reshape(-1), batch),
            table=comparable(table, similarity),
            options=config.method,
            numbers=scoring.numbers or numbers_of(config.method),
            blocks=scoring.blocks,
            sample=scoring.sample,
            devices=scoring.devices,
            near=near,
            key=scoring.key,
        )
    )
    return parts["loss"], parts
