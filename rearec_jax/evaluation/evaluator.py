"""The evaluation of a split: the rank of each target among all items.

Targets are ranked by the method's representation and by the state of every reasoning step. Scores
are computed a block at a time (``eval.score_mib``), never for all users and items together.
"""

from collections.abc import Callable, Iterator
import dataclasses
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Int32, Int64
import numpy as np

from rearec_jax.config import Config
from rearec_jax.data.batches.loader import (
    BatchSize,
    EvaluationBatches,
    evaluation_batches,
    prefetch,
)
from rearec_jax.data.interactions import Interactions
from rearec_jax.devices.mesh import ONE, Devices, placed
from rearec_jax.evaluation import sharded_ranking
from rearec_jax.evaluation.metrics import MetricSums
from rearec_jax.evaluation.ranking import Examples, target_ranks
from rearec_jax.evaluation.ranks import Ranks
from rearec_jax.losses.similarity import comparable
from rearec_jax.methods import METHODS
from rearec_jax.models.backbones import Backbone, Variables, item_table
from rearec_jax.models.items import Text
from rearec_jax.models.reasoning import encode_and_reason
from rearec_jax.types import Batch


@dataclasses.dataclass(frozen=True)
class Evaluator:
    """A function that ranks the targets of a split by the parameters of a model.

    It is compiled once, and called again whenever the parameters have changed.

    batches:      The batches of the split.
    data:         The interactions of the data set.
    exclude_seen: Whether items that the user has had are left out of the ranking.
    ranked_steps: The number S of steps whose states rank the targets as well; 0 if none do.
    table:        Computes the vectors of the catalogue from the parameters.
    rank:         Computes the ranks of a batch from parameters, catalogue, batch and items seen.
    devices:      The devices that share the work.
    """

    batches: EvaluationBatches
    data: Interactions
    exclude_seen: bool
    ranked_steps: int
    table: Callable[[Variables], Float[Array, "N D"]]
    rank: Callable[[Variables, Array, Batch, Array | np.ndarray], Int[Array, "B Q S"]]
    devices: Devices = ONE

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
        table = np.concatenate(ranks)[order]
        by_step, final = table[:, : self.ranked_steps], table[:, -1]
        return Ranks(np.concatenate(examples)[order], by_step, final)

    def inputs(self) -> Iterator[tuple[Batch, Int64[np.ndarray, "B Q"], np.ndarray]]:
        """Yields batches, the index of each target in the data, and the items seen [B, Q, L].

        The index is -1 in padding. The ids of items seen are filled up with N, the number of items,
        and L is 0 without ``eval.exclude_seen``.
        """
        longest = self._longest_history()
        with_seen = ((b, e, self._seen(e, longest)) for b, e in self.batches)
        return iter(prefetch(with_seen, sharding=self.devices.rows))

    def _longest_history(self) -> int:
        return int(self.data.lengths.max()) if self.exclude_seen else 0

    def _seen(self, examples: Int64[np.ndarray, "B Q"], longest: int) -> np.ndarray:
        """Returns the items before each target, without the target; N fills the rest."""
        nothing = self.data.num_items
        seen = np.full((*examples.shape, longest), nothing, np.int32)
        if longest:
            starts = self.data.offsets[np.searchsorted(self.data.offsets, examples, "right") - 1]
            back = examples[..., None] - 1 - np.arange(longest)
            inside = (back >= starts[..., None]) & (examples[..., None] >= 0)
            seen[inside] = self.data.items[back[inside]]
            seen[seen == self.data.items[np.maximum(examples, 0)][..., None]] = nothing
        return seen


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
    batches = evaluation_batches(
        data.sequences,
        which,
        BatchSize(
            config.model.max_length,
            config.eval.batch_size,
            rows_multiple=devices.data,
        ),
        max_users=config.eval.max_users,
        mask=data.num_items if config.train.objective == "cloze" else None,
    )
    steps = config.method.steps if config.eval.steps < 0 else config.eval.steps
    shape = data.num_items, config.model.width

    def table(variables: Variables, text: Text) -> Array:
        return item_table(model, variables, None if text is None else devices.by_rows(text))

    make_table = jax.jit(table, out_shardings=devices.table(shape))
    rank = jax.jit(_ranker(model, config, steps, devices), out_shardings=devices.whole)
    return Evaluator(
        batches,
        data,
        config.eval.exclude_seen,
        ranked_steps=steps + 1 if config.eval.by_step else 0,
        table=functools.partial(make_table, text=text),
        rank=rank,
        devices=devices,
    )


def _ranker(
    model: Backbone, config: Config, steps: int, devices: Devices
) -> Callable[[Variables, Array, Batch, Array | np.ndarray], Int[Array, "B Q S"]]:
    """Returns a function that ranks by the vectors of `_ranked`, last the representation."""
    ranks_of = target_ranks
    if devices.mesh is not None:
        ranks_of = functools.partial(sharded_ranking.target_ranks, devices=devices)

    def rank(variables: Variables, table: Array, batch: Batch, seen: Array | np.ndarray) -> Array:
        table = devices.by_rows(table)
        vectors = _ranked(encode_and_reason(model, variables, table, batch, steps).states, config)
        table = comparable(table, config.model.similarity)  # the length of a state changes no rank
        count = batch.targets.size
        examples = Examples(
            vectors.reshape(count, *vectors.shape[2:]),
            batch.targets.reshape(count),
            jnp.asarray(seen).reshape(count, -1),
        )
        ranks = ranks_of(examples, table, config.eval.score_mib)
        return ranks.reshape(*batch.targets.shape, -1)

    return rank


def _ranked(states: Float[Array, "B Q _ D"], config: Config) -> Float[Array, "B Q S D"]:
    """Returns r_0 .. r_K and, if it is none of them (ERL), the representation; or it alone."""
    method = METHODS[config.method.name]
    final = method.represent(states)[..., None, :]
    if not config.eval.by_step:
        return final
    if method.represents_by_a_step:
        return states
    return jnp.concatenate([states, final], axis=-2)


def metrics(ranks: Int[np.ndarray, " M"], cutoffs: tuple[int, ...]) -> dict[str, float]:
    """Computes NDCG@k, Recall@k and MRR of a list of ranks."""
    return MetricSums.empty(cutoffs).add(ranks).means()


def hindsight(ranks: Ranks) -> Int32[np.ndarray, " M"]:
    """Returns the rank of each example at its best step, a bound for any choice of the depth."""
    return ranks.by_step.min(axis=1)


def report(ranks: Ranks, cutoffs: tuple[int, ...], name: str) -> dict[str, object]:
    """Returns the entries of summary.json about one split.

    These are '<name>', with the metrics of the representation, and, where steps were ranked,
    '<name>_by_step' and '<name>_best_step_in_hindsight'.
    """
    final: dict[str, object] = {name: metrics(ranks.final, cutoffs)}
    if not ranks.by_step.shape[1]:
        return final
    by_step = [
        {"step": step, **metrics(ranks.by_step[:, step], cutoffs)}
        for step in range(ranks.by_step.shape[1])
    ]
    return final | {
        f"{name}_by_step": by_step,
        f"{name}_best_step_in_hindsight": metrics(hindsight(ranks), cutoffs),
    }
