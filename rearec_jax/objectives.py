"""The five methods: what represents a user, and what training minimises."""

from collections.abc import Callable
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float

from rearec_jax import random, sampling
from rearec_jax.config import Config, MethodConfig
from rearec_jax.losses import cross_entropy as ce
from rearec_jax.losses import ensemble, parallel, progressive, sampled
from rearec_jax.losses.sampled import Sample
from rearec_jax.losses.similarity import comparable
from rearec_jax.models import backbones
from rearec_jax.models.backbones import Backbone, Variables, item_table
from rearec_jax.models.reasoning import encode_and_reason
from rearec_jax.types import Batch, Catalogue, PRNGKey, Reasoning, Scalar

Entropy = Callable[[Array, Scalar], Array]  # (states, temperature) -> cross-entropy of each
Parts = dict[str, Float[Array, ""]]
Objective = Callable[[Variables, Batch, Catalogue, PRNGKey], tuple[Float[Array, ""], Parts]]
SampleObjective = Callable[
    [Variables, Batch, Catalogue, Sample, PRNGKey], tuple[Float[Array, ""], Parts]
]


class Numbers(NamedTuple):
    """The method's options that are mere factors of a loss, so that a program may leave them open.

    Which terms a loss has is read from the `MethodConfig`: a weight of 0 there leaves its term out.
    """

    temperature: Scalar
    temperature_decay: Scalar
    kl_weight: Scalar
    contrastive_weight: Scalar
    noise: Scalar


def numbers_of(method: MethodConfig) -> Numbers:
    """As the configuration has them."""
    return Numbers(*(getattr(method, name) for name in Numbers._fields))


def representation(states: Float[Array, "*M S D"], method: str) -> Float[Array, "*M D"]:
    """The user's vector from r_0 .. r_K: the mean for ERL, the last step for all others."""
    return states.mean(axis=-2) if method == "erl" else states[..., -1, :]


def noisy_view(method: MethodConfig) -> bool:
    """Does training with this method need the noisy view at all?"""
    return method.name == "prl" and method.contrastive_weight > 0


def build(
    model: Backbone,
    config: Config,
    num_items: int,
    tokens: int,
    contrast: bool = True,
    mesh: Mesh | None = None,
    numbers: Numbers | None = None,
) -> Objective:
    """The objective that the configuration names.

    Args:
        tokens: queries in a batch, B * Q, to decide whether the logits fit.
        contrast: False during `contrastive_warmup_epochs`: the noisy view is not computed.
        mesh: devices that share the catalogue; None: one device.
        numbers: in place of the configuration's.
    """
    if config.train.loss == "full":
        block = catalogue_block(config, num_items, tokens, mesh)
        full = _objective(model, config, block, contrast, mesh, numbers)

        def over_all(
            variables: Variables, batch: Batch, catalogue: Catalogue, key: PRNGKey
        ) -> tuple[Float[Array, ""], Parts]:
            return full(variables, batch, catalogue, None, key)

        return over_all

    def over_sample(
        variables: Variables, batch: Batch, catalogue: Catalogue, key: PRNGKey
    ) -> tuple[Float[Array, ""], Parts]:
        small = sampling.small_catalogue(config.train, catalogue, batch, num_items, key)
        objective = on_sample(config, small, contrast, mesh, numbers)
        return objective(
            small.touched.take(variables), small.batch, small.catalogue, small.sample, key
        )

    return over_sample


def on_sample(
    config: Config,
    small: sampling.SmallCatalogue,
    contrast: bool,
    mesh: Mesh | None = None,
    numbers: Numbers | None = None,
) -> SampleObjective:
    """The objective over the items that an update touches: variables and ids are local."""
    items, drawn = small.touched.ids.shape[0], small.sample.items.shape[0]
    model = build_model(config, items, mesh)
    block = catalogue_block(config, drawn, small.batch.targets.size, mesh)
    return _objective(model, config, block, contrast, mesh, numbers)


def build_model(config: Config, num_items: int, mesh: Mesh | None) -> Backbone:
    """The backbone that the configuration names; its items may lie on several devices."""
    return backbones.build(config, num_items, functools.partial(parallel.rows, mesh=mesh))


def _objective(
    model: Backbone,
    config: Config,
    block: int,
    contrast: bool,
    mesh: Mesh | None,
    numbers: Numbers | None,
) -> Callable[..., tuple[Float[Array, ""], Parts]]:
    method = config.method
    values = numbers or numbers_of(method)
    contrast = contrast and noisy_view(method)

    def objective(
        variables: Variables,
        batch: Batch,
        catalogue: Catalogue,
        sample: Sample | None,
        key: PRNGKey,
    ) -> tuple[Float[Array, ""], Parts]:
        text = None if catalogue.text is None else parallel.by_rows(catalogue.text, mesh)
        table = item_table(model, variables, text, jax.random.fold_in(key, 3))
        table = parallel.by_rows(table, mesh)
        noise = None
        if contrast:
            noise_key = jax.random.fold_in(key, 1)
            noise = unit_noise(noise_key, batch, config) * jnp.asarray(
                values.noise, config.model.dtype
            )
        reasoning = encode_and_reason(
            model, variables, table, batch, method.steps, noise, jax.random.fold_in(key, 2)
        )
        return loss_of(
            reasoning, batch, table, method, config.model.similarity, block, sample, mesh, numbers
        )

    return objective


def unit_noise(key: PRNGKey, batch: Batch, config: Config) -> Float[Array, "K B Q D"]:
    """Standard normal noise for every step's input."""
    shape = (config.method.steps, *batch.queries.shape, config.model.width)
    return random.normal(key, shape, jnp.dtype(config.model.dtype))


def loss_of(
    reasoning: Reasoning,
    batch: Batch,
    table: Float[Array, "N D"],
    method: MethodConfig,
    similarity: str,
    block: int,
    sample: Sample | None = None,
    mesh: Mesh | None = None,
    numbers: Numbers | None = None,
) -> tuple[Float[Array, ""], Parts]:
    """Weighted mean loss of a batch, and its named parts.

    Args:
        sample: cross-entropy against these items; None: against the whole table.
        mesh: devices that share the table; None: one device.
        numbers: in place of the method's.
    """
    values = numbers or numbers_of(method)
    table = comparable(table, similarity)
    steps, width = reasoning.states.shape[-2:]
    states = reasoning.states.reshape(-1, steps, width)
    final = comparable(representation(states, method.name), similarity)
    states = comparable(states, similarity)
    noisy = None
    if reasoning.noisy is not None:
        noisy = comparable(reasoning.noisy.reshape(-1, steps - 1, width), similarity)
    weights = batch.weights.reshape(-1)
    weights /= jnp.maximum(weights.sum(), 1.0)
    batch = jax.tree.map(lambda x: x.reshape(-1), batch)

    def entropy(states: Array, temperature: Scalar) -> Array:
        if sample is None:
            return ce.cross_entropy(states, batch.targets, table, temperature, block, mesh)
        return sampled.cross_entropy(states, batch.targets, table, sample, temperature, block, mesh)

    if method.name == "erl":
        parts = _ensemble(final, states, table, method, values, block, entropy, mesh)
    elif method.name == "prl":
        parts = _progressive(states, noisy, batch, table, method, values, block, entropy, mesh)
    else:
        loss = entropy(final, values.temperature)
        parts = {"loss": loss, "cross_entropy": loss}
    means = {name: jnp.sum(value * weights.astype(value.dtype)) for name, value in parts.items()}
    return means["loss"], means


def catalogue_block(config: Config, num_items: int, states: int, mesh: Mesh | None = None) -> int:
    """Items a block: the whole catalogue where the logits of all steps fit `train.logits_gib`.

    Of each device of the mesh.
    """
    devices = 1 if mesh is None else mesh.size
    scored = config.method.steps + 1 if config.method.name in ("erl", "prl") else 1
    # Logits and their gradient are alive at the same time.
    logits_gib = 2 * 4 * states * scored * num_items / devices / 2**30
    return num_items if logits_gib <= config.train.logits_gib else config.train.catalogue_block


def _ensemble(
    mean: Array,
    states: Array,
    table: Array,
    method: MethodConfig,
    values: Numbers,
    block: int,
    entropy: Entropy,
    mesh: Mesh | None,
) -> dict[str, Array]:
    cross_entropy = entropy(mean, values.temperature)
    if method.kl_weight == 0:
        return {"loss": cross_entropy, "cross_entropy": cross_entropy}
    diversity = ensemble.kl_diversity(states, table, values.temperature, block, method.kl, mesh)
    loss = cross_entropy - jnp.asarray(values.kl_weight, cross_entropy.dtype) * diversity
    return {"loss": loss, "cross_entropy": cross_entropy, "kl_diversity": diversity}


def _progressive(
    states: Array,
    noisy: Array | None,
    batch: Batch,
    table: Array,
    method: MethodConfig,
    values: Numbers,
    block: int,
    entropy: Entropy,
    mesh: Mesh | None,
) -> dict[str, Array]:
    steps = states.shape[1] - 1
    temperatures = progressive.step_temperatures(
        values.temperature, values.temperature_decay, steps
    )
    entropies = [entropy(states[:, k], temperature) for k, temperature in enumerate(temperatures)]
    mean = method.progressive_sum == "released"
    shallow = sum(entropies[:-1], start=jnp.zeros_like(entropies[-1])) / (steps if mean else 1)
    parts = {"cross_entropy": entropies[-1], "shallow_cross_entropy": shallow}
    loss = entropies[-1] + shallow
    if noisy is not None:
        candidates = block if block < table.shape[0] else noisy.shape[0]
        negatives = progressive.negatives(batch.users, batch.weights, method.negatives)
        by_step = [
            progressive.contrastive(
                noisy[:, k], states[:, k + 1], negatives, values.temperature, candidates, mesh
            )
            for k in range(steps)
        ]
        contrast = sum(by_step, start=jnp.zeros_like(by_step[0])) / (steps if mean else 1)
        parts["contrastive"] = contrast
        loss += jnp.asarray(values.contrastive_weight, loss.dtype) * contrast
    return {"loss": loss, **parts}
