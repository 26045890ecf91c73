"""One pass of a trained model over the test examples: lists, sharpness, similarity of its states.

Nothing of size [users, items] or [users, steps, width] is kept: scores exist a block at a time, and
states of a sample only.
"""

from collections.abc import Callable, Iterable
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


class Looked(NamedTuple):
    """Of one batch, M = B * Q; R = K + 1 steps, and the representation where it is none of them."""

    states: Float[Array, "M S D"]
    cosines: Float[Array, "M S S"]
    lists: Int[Array, "M R k"]
    entropy: Float[Array, "M R"]


class Seen(NamedTuple):
    """What the pass brings home; examples ascend as in ``rank_file.Ranks``.

    names:    of the R representations: 'step 0' ... and, for ERL, 'final'.
    lists:    dense ids, best first; N where there are fewer than k.
    entropy:  of softmax(score / temperature) over the catalogue, in bits.
    cosines:  mean over all examples of the cosine of each pair of states.
    sampled:  rows of ``examples`` whose ``states`` are kept.
    """

    names: list[str]
    examples: Int[np.ndarray, " M"]
    lists: Int[np.ndarray, "M R k"]
    entropy: Float[np.ndarray, "M R"]
    cosines: Float[np.ndarray, "S S"]
    sampled: Int[np.ndarray, " n"]
    states: Float[np.ndarray, "n S D"]


Look = Callable[[Variables, Array, Batch, Array | np.ndarray], Looked]


def look_at(
    model: Backbone, variables: Variables, config: Config, data: Interactions, text: Text = None
) -> Seen:
    """The pass over all test examples (or the sample of ``eval.max_users``)."""
    evaluate = evaluator.make_evaluator(model, config, data, TEST, text)
    steps = config.method.steps if config.eval.steps < 0 else config.eval.steps
    look = jax.jit(_look(model, config, steps, data.num_items))
    table = evaluate.table(variables)
    key = np.random.default_rng(config.analysis.seed).random(data.num_interactions)
    kept = _Kept(config.analysis.projected_users, key)
    for batch, example, seen in track(
        evaluate.inputs(),
        f"looking at {evaluate.batches.examples:,} test examples",
        total=len(evaluate.batches),
        transient=True,
    ):
        kept.add(look(variables, table, batch, seen), example.reshape(-1))
    names = [step_name(step) for step in range(steps + 1)]
    return kept.result(names + [FINAL] * (not METHODS[config.method.name].represents_by_a_step))


def _look(model: Backbone, config: Config, steps: int, num_items: int) -> Look:
    method = METHODS[config.method.name]
    k = min(config.analysis.list_length, num_items)
    budget = config.eval.score_mib * 2**20 // 4

    def look(variables: Variables, table: Array, batch: Batch, seen: Array | np.ndarray) -> Looked:
        states = encode_and_reason(model, variables, table, batch, steps).states
        states = states.reshape(-1, *states.shape[2:])
        vectors = states
        if not method.represents_by_a_step:
            vectors = jnp.concatenate([states, method.represent(states)[:, None]], axis=1)
        count, kinds = vectors.shape[:2]
        vectors = comparable(vectors, config.model.similarity).reshape(count * kinds, -1)
        items = comparable(table, config.model.similarity)
        hidden = jnp.repeat(jnp.asarray(seen).reshape(count, -1), kinds, axis=0)
        block = max(k, budget // (count * kinds))
        lists = top_k(vectors, items, hidden, k, block).items.reshape(count, kinds, k)
        entropy = _entropy(vectors, items, config.method.temperature, max(1, budget // num_items))
        unit = comparable(states, "cosine").astype(jnp.float32)
        cosines = jnp.einsum("msd,mtd->mst", unit, unit)
        return Looked(states, cosines, lists, entropy.reshape(count, kinds))

    return look


def _entropy(
    vectors: Float[Array, "X D"], table: Float[Array, "N D"], temperature: float, rows: int
) -> Float[Array, " X"]:
    """Of softmax(score / temperature), in bits; ``rows`` vectors at a time."""

    def one(vector: Array) -> Array:
        scores = jnp.matmul(table, vector, preferred_element_type=jnp.float32)
        log_p = jax.nn.log_softmax(scores / temperature)
        return -jnp.sum(jnp.exp(log_p) * log_p) / np.log(2).astype(np.float32)

    return jax.lax.map(one, vectors, batch_size=min(rows, vectors.shape[0]))


class _Kept:
    """What is kept of the batches. Sampled are the examples with the smallest keys."""

    def __init__(self, sample: int, key: Float[np.ndarray, " total"]):
        self._sample, self._key = sample, key
        self._examples: list[np.ndarray] = []
        self._lists: list[np.ndarray] = []
        self._entropy: list[np.ndarray] = []
        self._cosines = 0.0
        self._chosen = np.zeros(0, np.int64)
        self._states: np.ndarray | None = None

    def add(self, looked: Looked, example: Int[np.ndarray, " M"]) -> None:
        real = example >= 0
        if not real.any():
            return
        found = example[real]
        self._examples.append(found)
        self._lists.append(np.asarray(looked.lists)[real])
        self._entropy.append(np.asarray(looked.entropy)[real])
        self._cosines = self._cosines + np.asarray(looked.cosines, np.float64)[real].sum(axis=0)
        states = np.asarray(looked.states.astype(jnp.float32))[real]
        chosen = np.concatenate([self._chosen, found])
        if self._states is not None:
            states = np.concatenate([self._states, states])
        first = np.argsort(self._key[chosen], kind="stable")[: self._sample]
        self._chosen, self._states = chosen[first], states[first]

    def result(self, names: Iterable[str]) -> Seen:
        examples = np.concatenate(self._examples)
        order = np.argsort(examples)
        examples = examples[order]
        by_example = np.argsort(self._chosen)
        assert self._states is not None  # a test split without examples ends before
        return Seen(
            names=list(names),
            examples=examples,
            lists=np.concatenate(self._lists)[order],
            entropy=np.concatenate(self._entropy)[order],
            cosines=np.asarray(self._cosines / len(examples)),
            sampled=np.searchsorted(examples, self._chosen[by_example]),
            states=self._states[by_example],
        )
