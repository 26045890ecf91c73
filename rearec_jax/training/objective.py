"""The loss of a batch as a function of the parameters: encode, reason, score, and compare."""

from collections.abc import Callable
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float

from rearec_jax.config import Config
from rearec_jax.devices import table_rows
from rearec_jax.losses import fused
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
    config, mesh, items = task.config, task.mesh, task.num_items
    if config.train.loss == "full":
        blocks = Blocks(
            catalogue_block(config, items, task.queries_per_batch, mesh),
            query_block(config, items, mesh),
            query_block(config, task.queries_per_batch, mesh),
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
    config, mesh = task.config, task.mesh
    rows, queries = small.batch.targets.shape
    local = Task(config, small.touched.ids.shape[0], rows, queries, mesh)
    drawn = small.sample.items.shape[0]
    blocks = Blocks(
        catalogue_block(config, drawn, local.queries_per_batch, mesh),
        pairs=query_block(config, local.queries_per_batch, mesh),
    )
    return _objective(local, blocks, contrast, numbers)


def _objective(
    task: Task, blocks: Blocks, contrast: bool, numbers: Numbers | None
) -> Callable[..., tuple[Float[Array, ""], Parts]]:
    config, mesh = task.config, task.mesh
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
        text = None if catalogue.text is None else table_rows.by_rows(catalogue.text, mesh)
        table = item_table(task.model, variables, text, jax.random.fold_in(key, 3))
        table = table_rows.by_rows(table, mesh)
        noise = None
        if contrast:
            noise_key = jax.random.fold_in(key, 1)
            noise = unit_noise(noise_key, batch, config) * jnp.asarray(
                values.noise, config.model.dtype
            )
        reasoning = encode_and_reason(
            task.model, variables, table, batch, options.steps, noise, jax.random.fold_in(key, 2)
        )
        return loss_of(config, reasoning, batch, table, Scoring(blocks, sample, mesh, values))

    return objective


def unit_noise(key: PRNGKey, batch: Batch, config: Config) -> Float[Array, "K B Q D"]:
    """Draws standard normal noise for every step's input."""
    shape = (config.method.steps, *batch.queries.shape, config.model.width)
    return random_arrays.normal(key, shape, jnp.dtype(config.model.dtype))


class Scoring(NamedTuple):
    """How a batch is scored; the fields are those of `methods.reasoned.Reasoned`."""

    blocks: Blocks
    sample: Sample | None = None
    mesh: Mesh | None = None
    numbers: Numbers | None = None


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
    parts = method.objective(
        Reasoned(
            states=comparable(states, similarity),
            user=comparable(method.represent(states), similarity),
            noisy=noisy,
            batch=jax.tree.map(lambda x: x.reshape(-1), batch),
            table=comparable(table, similarity),
            options=config.method,
            numbers=scoring.numbers or numbers_of(config.method),
            blocks=scoring.blocks,
            sample=scoring.sample,
            mesh=scoring.mesh,
        )
    )
    return parts["loss"], parts


def catalogue_block(config: Config, num_items: int, states: int, mesh: Mesh | None = None) -> int:
    """Chooses the items of a block: all of them where the logits fit `train.logits_gib`.

    They are those of every device of the mesh. Where they do not fit, a block is less than what a
    device holds: a block of them all would be kept.
    """
    devices = 1 if mesh is None else mesh.size
    scored = config.method.steps + 1 if METHODS[config.method.name].scores_steps else 1
    # Logits and their gradient are alive at the same time.
    logits_gib = 2 * 4 * states * scored * num_items / devices / 2**30
    if logits_gib <= config.train.logits_gib:
        return num_items
    slices = 1 if mesh is None else mesh.shape[table_rows.MODEL]
    return min(config.train.catalogue_block, math.ceil(num_items / slices / 2))


def query_block(config: Config, choices: int, mesh: Mesh | None) -> int:
    """Chooses the queries of a block of the cross-entropy over ``choices``; 0: it has no blocks."""
    return 0 if mesh else fused.rows_a_block(choices, config.train.logits_gib)
