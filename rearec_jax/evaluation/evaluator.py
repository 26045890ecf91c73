"""The evaluation of a split: the rank of each target among all items.

Targets are ranked by the method's representation and by the state of every reasoning step. Scores
are computed a block at a time (``eval.score_mib``), never for all users and items together.
"""

from collections.abc import Callable, Iterator
import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Int32, Int64
import numpy as np

from rearec_jax.config import Config
from rearec_jax.config.parts import of_evaluation
from rearec_jax.data.batches.loader import (
    BatchSize,
    EvaluationBatches,
    evaluation_batches,
    prefetch,
)
from rearec_jax.data.interactions import Interactions
from rearec_jax.devices.mesh import ONE, Devices, placed
from rearec_jax.evaluation.metrics import MetricSums
from rearec_jax.evaluation.orders import Orders, orders
from rearec_jax.evaluation.ranking import Examples, target_ranks, top_k
from rearec_jax.evaluation.ranks import Ranks
from rearec_jax.evaluation.seen import seen_items
from rearec_jax.losses.similarity import comparable
from rearec_jax.methods import METHODS
from rearec_jax.models.backbones import Backbone, Named, Variables, item_table, named
from rearec_jax.models.items import Text
from rearec_jax.models.reasoning import encode_and_reason
from rearec_jax.types import Batch, Reasoning


@dataclasses.dataclass(frozen=True)
class Evaluator:
    """A function that ranks the targets of a split by the parameters of a model.

    Its programs are compiled once, also for the other splits, and called again whenever the
    parameters have changed.

    config:  The options of the run.
    data:    The interactions of the data set.
    batches: The batches of the split.
    table:   Computes the vectors of the catalogue from the parameters.
    rank:    Computes the ranks of a batch from parameters, catalogue, batch and items seen.
    best:    Computes the ``eval.list_length`` best items of each query, from the same.
    devices: The devices that share the work.
    orders:  The orders in which tied targets are ranked; examples are indices of their data.
    """

    config: Config
    data: Interactions
    batches: EvaluationBatches
    table: Callable[[Variables], Float[Array, "N D"]]
    rank: Callable[[Variables, Array, Batch, Array | np.ndarray], Int[Array, "B Q S"]]
    best: Callable[[Variables, Array, Batch, Array | np.ndarray], Int[Array, "M k"]]
    devices: Devices
    orders: Orders

    def __call__(self, variables: Variables) -> Ranks:
        """Computes the ranks of every example of the split."""
        ranks, examples = [], []
        table = self.table(variables)
        split = self.devices.rows
        for batch, example, seen in self.inputs():
            real = example >= 0
            seen = seen if split is None else placed(seen, split)
            ranks.append(np.asarray(self.rank(variables, table, batch, seen))[real])
            examples.append(example[real])
        order = np.argsort(np.concatenate(examples))
        every = np.concatenate(ranks)[order]
        ranked_steps = _steps(self.config) + 1 if self.config.eval.by_step else 0
        return Ranks(np.concatenate(examples)[order], every[:, :ranked_steps], every[:, -1])

    def inputs(self) -> Iterator[tuple[Batch, Int64[np.ndarray, "B Q"], np.ndarray]]:
        """Yields batches, the index of each target in the data, and the items seen [B, Q, L].

        The index is -1 in padding. The ids of items seen are filled up with N, the number of items,
        L changes from batch to batch, and it is 0 without ``eval.exclude_seen``.
        """
        with_seen = ((batch, example, self._seen(example)) for batch, example in self.batches)
        return iter(prefetch(with_seen, sharding=self.devices.rows))

    def of_split(self, which: int) -> "Evaluator":
        """Returns the evaluator of another split, with the same programs."""
        return dataclasses.replace(
            self, batches=_batches(self.config, self.orders.data, which, self.devices)
        )

    def _seen(self, examples: Int64[np.ndarray, "B Q"]) -> Int32[np.ndarray, "B Q L"]:
        if not self.config.eval.exclude_seen:
            return np.empty((*examples.shape, 0), np.int32)
        return seen_items(self.orders.data, examples)


def make_evaluator(
    model: Backbone,
    config: Config,
    data: Interactions,
    which: int,
    text: Text = None,
    devices: Devices = ONE,
) -> Evaluator:
    """Makes the evaluator of the split ``which`` (VALIDATION or TEST).

    On a mesh every host gets all ranks, which are small, so that all compute the same metrics.
    """
    found = orders(data, config.data)
    # Linen's modules hash, which type checkers do not see.
    options, names = of_evaluation(config), named(config)
    compiled = programs(model, options, names, devices, data.num_items)  # type: ignore[arg-type]
    return Evaluator(
        config,
        data,
        _batches(config, found.data, which, devices),
        table=functools.partial(compiled.table, text=text),
        rank=compiled.rank,
        best=compiled.best,
        devices=devices,
        orders=found,
    )


class Programs(NamedTuple):
    """The compiled functions of an evaluation, which the fields of `Evaluator` describe."""

    table: Callable[..., Float[Array, "N D"]]
    rank: Callable[[Variables, Array, Batch, Array | np.ndarray], Int[Array, "B Q S"]]
    best: Callable[[Variables, Array, Batch, Array | np.ndarray], Int[Array, "M k"]]


@functools.lru_cache(maxsize=8)
def programs(
    model: Backbone, config: Config, named: Named, devices: Devices, num_items: int
) -> Programs:
    """Compiles the functions of an evaluation, once in a process for equal arguments."""

    def table(variables: Variables, text: Text) -> Array:
        return item_table(model, variables, devices.by_rows(text))

    shape = num_items, config.model.width
    return Programs(
        jax.jit(table, out_shardings=devices.table(shape)),
        jax.jit(_ranker(model, config, devices), out_shardings=devices.whole),
        jax.jit(_lister(model, config, devices), out_shardings=devices.whole),
    )


def _batches(config: Config, data: Interactions, which: int, devices: Devices) -> EvaluationBatches:
    size = BatchSize(config.model.max_length, config.eval.batch_size, rows_multiple=devices.data)
    mask = data.num_items if config.train.objective == "cloze" else None
    return evaluation_batches(
        data.sequences, which, size, max_users=config.eval.max_users, mask=mask
    )


def _steps(config: Config) -> int:
    return config.method.steps if config.eval.steps < 0 else config.eval.steps


def _ranker(
    model: Backbone, config: Config, devices: Devices
) -> Callable[[Variables, Array, Batch, Array | np.ndarray], Int[Array, "B Q S"]]:
    """Returns a function that ranks by the vectors of `_ranked`, last the representation."""

    def rank(variables: Variables, table: Array, batch: Batch, seen: Array | np.ndarray) -> Array:
        table = devices.by_rows(table)
        reasoning = encode_and_reason(model, variables, table, batch, _steps(config))
        vectors = _ranked(reasoning, config)
        table = comparable(table, config.model.similarity)  # the length of a state changes no rank
        count = batch.targets.size
        examples = Examples(
            vectors.reshape(count, *vectors.shape[2:]),
            batch.targets.reshape(count),
            jnp.asarray(seen).reshape(count, -1),
        )
        ranks = target_ranks(examples, table, config.eval.score_mib, devices)
        return ranks.reshape(*batch.targets.shape, -1)

    return rank


def _lister(
    model: Backbone, config: Config, devices: Devices
) -> Callable[[Variables, Array, Batch, Array | np.ndarray], Int[Array, "M k"]]:
    """Returns a function that lists the best items by the representation."""

    def best(variables: Variables, table: Array, batch: Batch, seen: Array | np.ndarray) -> Array:
        table = devices.by_rows(table)
        reasoning = encode_and_reason(model, variables, table, batch, _steps(config))
        vectors = METHODS[config.method.name].user(reasoning.states, reasoning.weights)
        vectors = comparable(vectors, config.model.similarity).reshape(batch.targets.size, -1)
        table = comparable(table, config.model.similarity)
        k = min(config.eval.list_length, table.shape[0])
        block = max(k, config.eval.score_mib * 2**18 // len(vectors))
        hidden = jnp.asarray(seen).reshape(len(vectors), -1)
        return top_k(vectors, table, hidden, k, block).items

    return best


def _ranked(reasoning: Reasoning, config: Config) -> Float[Array, "B Q S D"]:
    """Returns r_0 .. r_K and, if it is none of them (ERL), the representation; or it alone."""
    method, states = METHODS[config.method.name], reasoning.states
    final = method.user(states, reasoning.weights)[..., None, :]
    if not config.eval.by_step:
        return final
    if method.represents_by_a_step:
        return states
    return jnp.concatenate([states, final], axis=-2)


Weights = Float[np.ndarray, " M"] | None


def metrics(
    ranks: Int[np.ndarray, " M"], cutoffs: tuple[int, ...], weights: Weights = None
) -> dict[str, float]:
    """Computes the means of NDCG@k, Recall@k and MRR of a list of ranks, weighted if asked."""
    return MetricSums.empty(cutoffs).add(ranks, weights).means()


def hindsight(ranks: Ranks) -> Int32[np.ndarray, " M"]:
    """Returns the rank of each example at its best step, a bound for any choice of the depth."""
    return ranks.by_step.min(axis=1)


def report(
    ranks: Ranks, cutoffs: tuple[int, ...], name: str, weights: Weights = None
) -> dict[str, object]:
    """Returns the entries of summary.json about one split.

    These are '<name>', with the metrics of the representation, and, where steps were ranked,
    '<name>_by_step' and '<name>_best_step_in_hindsight'.
    """
    final: dict[str, object] = {name: metrics(ranks.final, cutoffs, weights)}
    if not ranks.by_step.shape[1]:
        return final
    by_step = [
        {"step": step, **metrics(ranks.by_step[:, step], cutoffs, weights)}
        for step in range(ranks.by_step.shape[1])
    ]
    return final | {
        f"{name}_by_step": by_step,
        f"{name}_best_step_in_hindsight": metrics(hindsight(ranks), cutoffs, weights),
    }
