"""Runs a trained model over the test examples: lists, entropy, similarity of its states.

Nothing of size [users, items] or [users, steps, width] is kept: scores exist a block at a time, and
states of a sample only.
"""

from collections.abc import Callable
import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
import numpy as np
from rich.progress import track

from rearec_jax.config import Config
from rearec_jax.data.interactions import TEST, Interactions
from rearec_jax.evaluation import evaluator
from rearec_jax.evaluation.rank_file import FINAL, step_name
from rearec_jax.evaluation.ranking import top_k
from rearec_jax.losses.similarity import comparable
from rearec_jax.methods import METHODS
from rearec_jax.models.backbones import Backbone, Variables
from rearec_jax.models.items import Text
from rearec_jax.models.reasoning import encode_and_reason
from rearec_jax.types import Batch


class BatchObservations(NamedTuple):
    """The quantities that are computed for a batch of M = B * Q examples.

    R = S = K + 1 steps; R = S + 1 where the method's representation is none of the steps.
    """

    states: Float[Array, "M S D"]  # the states of all steps
    cosines: Float[Array, "M S S"]  # the cosines of each pair of an example's states
    lists: Int[Array, "M R k"]  # the ids of the best items, best first; N where there are too few
    entropy: Float[Array, "M R"]  # of softmax(score / temperature) over the catalogue, in bits


class Observations(NamedTuple):
    """The quantities that are kept of all test examples, ascending as in ``ranks.Ranks``."""

    names: list[str]  # the names of the R representations: 'step 0' ... and, for ERL, 'final'.
    examples: Int[np.ndarray, " M"]  # the examples, as positions in the interactions
    lists: Int[np.ndarray, "M R k"]  # as in `BatchObservations`, with the next one
    entropy: Float[np.ndarray, "M R"]
    cosines: Float[np.ndarray, "S S"]  # the mean over all examples
    sampled: Int[np.ndarray, " n"]  # the rows of ``examples`` whose states are kept
    states: Float[np.ndarray, "n S D"]  # those states


Observe = Callable[[Variables, Array, Batch, Array | np.ndarray], BatchObservations]


def observe(
    model: Backbone, variables: Variables, config: Config, data: Interactions, text: Text = None
) -> Observations:
    """Runs the model over all test examples, or over the sample of ``eval.max_users``.

    Tied targets are looked at in the order of the file alone.
    """
    in_file = dataclasses.replace(config, data=dataclasses.replace(config.data, ties="file"))
    evaluate = evaluator.make_evaluator(model, in_file, data, TEST, text)
    steps = config.method.steps if config.eval.steps < 0 else config.eval.steps
    observe_batch = jax.jit(_batch_observer(model, config, steps, data.num_items))
    table = evaluate.table(variables)
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    cosines = np.zeros((steps + 1, steps + 1))
    # The states that are kept are those of the examples with the smallest of random keys.
    key = np.random.default_rng(config.analysis.seed).random(data.num_interactions)
    sampled = np.zeros(0, np.int64)
    states = np.zeros((0, steps + 1, config.model.width), np.float32)
    for batch, example, seen in track(
        evaluate.inputs(),
        f"looking at {evaluate.batches.examples:,} test examples",
        total=len(evaluate.batches),
        transient=True,
    ):
        example = example.reshape(-1)
        real = example >= 0
        observed = jax.device_get(observe_batch(variables, table, batch, seen))
        parts.append((example[real], observed.lists[real], observed.entropy[real]))
        cosines += observed.cosines[real].sum(axis=0, dtype=np.float64)
        sampled = np.concatenate([sampled, example[real]])
        states = np.concatenate([states, observed.states[real].astype(np.float32)])
        first = np.argsort(key[sampled], kind="stable")[: config.analysis.projected_users]
        sampled, states = sampled[first], states[first]
    examples, lists, entropy = map(np.concatenate, zip(*parts, strict=True))
    order, by_example = np.argsort(examples), np.argsort(sampled)
    names = [step_name(step) for step in range(steps + 1)]
    return Observations(
        names=names + [FINAL] * (not METHODS[config.method.name].represents_by_a_step),
        examples=examples[order],
        lists=lists[order],
        entropy=entropy[order],
        cosines=cosines / len(examples),
        sampled=np.searchsorted(examples[order], sampled[by_example]),
        states=states[by_example],
    )


def _batch_observer(model: Backbone, config: Config, steps: int, num_items: int) -> Observe:
    """Makes the function of a batch that is compiled; its last argument are items to leave out."""
    method = METHODS[config.method.name]
    k = min(config.analysis.list_length, num_items)
    budget = config.eval.score_mib * 2**20 // 4

    def observe(
        variables: Variables, table: Array, batch: Batch, seen: Array | np.ndarray
    ) -> BatchObservations:
        reasoning = encode_and_reason(model, variables, table, batch, steps)
        states = reasoning.states.reshape(-1, *reasoning.states.shape[2:])
        vectors = states
        if not method.represents_by_a_step:
            final = method.user(states, reasoning.weights)
            vectors = jnp.concatenate([states, final[:, None]], axis=1)
        count, kinds = vectors.shape[:2]
        vectors = comparable(vectors, config.model.similarity).reshape(count * kinds, -1)
        items = comparable(table, config.model.similarity)
        hidden = jnp.repeat(jnp.asarray(seen).reshape(count, -1), kinds, axis=0)
        block = max(k, budget // (count * kinds))
        lists = top_k(vectors, items, hidden, k, block).items.reshape(count, kinds, k)
        entropy = _entropy(vectors, items, config.method.temperature, max(1, budget // num_items))
        unit = comparable(states, "cosine").astype(jnp.float32)
        cosines = jnp.einsum("msd,mtd->mst", unit, unit)
        return BatchObservations(states, cosines, lists, entropy.reshape(count, kinds))

    return observe


def _entropy(
    vectors: Float[Array, "X D"], table: Float[Array, "N D"], temperature: float, rows: int
) -> Float[Array, " X"]:
    """Returns the entropy of softmax(score / temperature) in bits, ``rows`` vectors at a time."""

    def one(vector: Array) -> Array:
        scores = jnp.matmul(table, vector, preferred_element_type=jnp.float32)
        log_p = jax.nn.log_softmax(scores / temperature)
        return -jnp.sum(jnp.exp(log_p) * log_p) / np.log(2).astype(np.float32)

    return jax.lax.map(one, vectors, batch_size=min(rows, vectors.shape[0]))
