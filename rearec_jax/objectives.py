"""The five methods: what represents a user, and what training minimises."""

from collections.abc import Callable, Sequence
import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float

from rearec_jax import random, sampling
from rearec_jax.config import Config, MethodConfig
from rearec_jax.losses import cross_entropy as ce
from rearec_jax.losses import ensemble, fused, parallel, progressive, sampled
from rearec_jax.losses.sampled import Sample
from rearec_jax.losses.similarity import comparable
from rearec_jax.models import backbones
from rearec_jax.models.backbones import Backbone, Variables, item_table
from rearec_jax.models.reasoning import encode_and_reason
from rearec_jax.types import Batch, Catalogue, PRNGKey, Reasoning, Scalar

# (states [S, M, D], their temperatures, their shares in the sum) -> the sum and each one's mean [S]
Entropies = Callable[[Array, Sequence[Scalar], Sequence[float]], tuple[Array, Array]]
Parts = dict[str, Float[Array, ""]]
Objective = Callable[[Variables, Batch, Catalogue, PRNGKey], tuple[Float[Array, ""], Parts]]
SampleObjective = Callable[
    [Variables, Batch, Catalogue, Sample, PRNGKey], tuple[Float[Array, ""], Parts]
]


class Blocks(NamedTuple):
    """How much of the scores is alive at a time.

    items:   a block, where cross-entropy is not made in blocks of queries.
    queries: a block of the cross-entropy over the whole table (see `fused`); 0: none.
    pairs:   the same of the contrast over the batch.
    """

    items: int
    queries: int = 0
    pairs: int = 0


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
        blocks = Blocks(
            catalogue_block(config, num_items, tokens, mesh),
            query_block(config, num_items, mesh),
            query_block(config, tokens, mesh),
        )
        full = _objective(model, config, blocks, contrast, mesh, numbers)

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
    tokens = small.batch.targets.size
    model = build_model(config, items, mesh)
    blocks = Blocks(
        catalogue_block(config, drawn, tokens, mesh), pairs=query_block(config, tokens, mesh)
    )
    return _objective(model, config, blocks, contrast, mesh, numbers)


def build_model(config: Config, num_items: int, mesh: Mesh | None) -> Backbone:
    """The backbone that the configuration names; its items may lie on several devices."""
    return backbones.build(config, num_items, functools.partial(parallel.rows, mesh=mesh))


def _objective(
    model: Backbone,
    config: Config,
    blocks: Blocks,
    contrast: bool,
    mesh: Mesh | None,
    numbers: Numbers | None = None,
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
        similarity = config.model.similarity
        return loss_of(reasoning, batch, table, method, similarity, blocks, sample, mesh, values)

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
    blocks: Blocks,
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

    def mean(values: Float[Array, " M"]) -> Float[Array, ""]:
        return jnp.sum(values * weights.astype(values.dtype))

    def entropies(
        states: Array, temperatures: Sequence[Scalar], shares: Sequence[float]
    ) -> tuple[Array, Array]:
        if blocks.queries and sample is None:
            return ce.sum_over_steps(
                states, batch.targets, table, weights, temperatures, shares, blocks.queries
            )
        means = [mean(entropy(*of_step)) for of_step in zip(states, temperatures, strict=True)]
        total = sum(
            (share * value for share, value in zip(shares[1:], means[1:], strict=True)),
            start=shares[0] * means[0],
        )
        return total, jnp.stack(means)

    def entropy(states: Array, temperature: Scalar) -> Array:
        if sample is None:
            return ce.cross_entropy(states, batch.targets, table, temperature, blocks.items, mesh)
        return sampled.cross_entropy(
            states, batch.targets, table, sample, temperature, blocks.items, mesh
        )

    def contrast(noisy: Array, clean: Array) -> Array:
        tau = values.temperature
        negatives = progressive.negatives(batch.users, batch.weights, method.negatives)
        if blocks.pairs:
            return progressive.weighted_contrastive(
                noisy, clean, negatives, tau, weights, blocks.pairs
            )
        candidates = blocks.items if blocks.items < table.shape[0] else noisy.shape[0]
        return mean(progressive.contrastive(noisy, clean, negatives, tau, candidates, mesh))

    if method.name == "prl":
        parts = _progressive(states, noisy, method, values, entropies, contrast)
    else:
        loss, (cross_entropy,) = entropies(final[None], [values.temperature], [1.0])
        parts = {"loss": loss, "cross_entropy": cross_entropy}
        if method.name == "erl" and method.kl_weight != 0:
            diversity = mean(
                ensemble.kl_diversity(
                    states, table, values.temperature, blocks.items, method.kl, mesh
                )
            )
            parts["loss"] -= jnp.asarray(values.kl_weight, loss.dtype) * diversity
            parts["kl_diversity"] = diversity
    return parts["loss"], parts


def catalogue_block(config: Config, num_items: int, states: int, mesh: Mesh | None = None) -> int:
    """Items a block: the whole catalogue where the logits of all steps fit `train.logits_gib`.

    Of each device of the mesh. Else fewer than a device holds: a block of them all would be kept.
    """
    devices = 1 if mesh is None else mesh.size
    scored = config.method.steps + 1 if config.method.name in ("erl", "prl") else 1
    # Logits and their gradient are alive at the same time.
    logits_gib = 2 * 4 * states * scored * num_items / devices / 2**30
    if logits_gib <= config.train.logits_gib:
        return num_items
    slices = 1 if mesh is None else mesh.shape[parallel.MODEL]
    return min(config.train.catalogue_block, math.ceil(num_items / slices / 2))


def query_block(config: Config, choices: int, mesh: Mesh | None) -> int:
    """Queries a block of the cross-entropy over ``choices``; 0: not made so (see `fused`)."""
    return 0 if mesh else fused.rows_a_block(choices, config.train.logits_gib)


def _progressive(
    states: Array,
    noisy: Array | None,
    method: MethodConfig,
    values: Numbers,
    entropies: Entropies,
    contrast: Callable[[Array, Array], Array],
) -> Parts:
    """The parts of PRL; ``contrast`` gives the mean InfoNCE of a step's (noisy, clean) states."""
    steps = states.shape[1] - 1
    temperatures = progressive.step_temperatures(
        values.temperature, values.temperature_decay, steps
    )
    average = 1 / steps if method.progressive_sum == "released" else 1.0
    shares = (*[average] * steps, 1.0)
    loss, of_steps = entropies(jnp.moveaxis(states, 1, 0), temperatures, shares)
    parts = {
        "cross_entropy": of_steps[-1],
        "shallow_cross_entropy": average * of_steps[:-1].sum(),
    }
    if noisy is not None:
        by_step = [contrast(noisy[:, k], states[:, k + 1]) for k in range(steps)]
        contrastive = average * sum(by_step[1:], start=by_step[0])
        parts["contrastive"] = contrastive
        loss += jnp.asarray(values.contrastive_weight, loss.dtype) * contrastive
    return {"loss": loss, **parts}
