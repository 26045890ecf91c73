"""Runs a model for a server, many histories in a batch or one by itself, without compiling."""

from collections.abc import Callable, Sequence, Set
import dataclasses
import functools
import time
from typing import Any, NamedTuple

import jax
from jaxtyping import Int32
import numpy as np

from rearec_jax.recommend.engine import FEWEST_LISTED, Candidates, Queries, best
from rearec_jax.recommend.histories import Histories
from rearec_jax.recommend.recommender import Options, Recommender
from rearec_jax.recommend.results import MODEL, POPULARITY, Recommendation
from rearec_jax.recommend.rows import Sizes, rounded
from rearec_jax.serve.limits import MOST_EXCLUDED, Limits
from rearec_jax.serve.shapes import Packing, Shape, filled, shapes


class BatchedQuery(NamedTuple):
    """A history that is ranked in a batch with others, in dense ids.

    items:    The tokens that the model sees: the last items, and the mask of a cloze model.
    excluded: The items that are not listed, at most ``MOST_EXCLUDED``.
    k:        The number of items to list.
    steps:    The number of reasoning steps.
    """

    items: Int32[np.ndarray, "_"]
    excluded: Set[int]
    k: int
    steps: int


class SingleQuery(NamedTuple):
    """A history that is ranked by itself, in dense ids.

    history: The history, of one user.
    options: The options of its ranking.
    """

    history: Histories
    options: Options


class TopItems(NamedTuple):
    """A list, best first; the fields are those of `recommend.results.Recommendation`."""

    ids: list[str]
    scores: list[float]
    titles: list[str | None]
    by: str


@dataclasses.dataclass(eq=False)
class Progress:
    """The progress of compiling a model's programs.

    programs: The number of programs.
    compiled: The number of compiled ones.
    started:  The `time.monotonic()` of the beginning, or None.
    """

    programs: int = 0
    compiled: int = 0
    started: float | None = None

    def begin(self, programs: int) -> None:
        """Begins, for the first time or again, with so many programs."""
        self.programs, self.compiled, self.started = programs, 0, time.monotonic()

    @property
    def seconds_left(self) -> float | None:
        """The time that the rest takes, if its programs take as long as those before, or None."""
        if self.started is None or not self.compiled:
            return None
        took = time.monotonic() - self.started
        return took / self.compiled * (self.programs - self.compiled)


@dataclasses.dataclass(frozen=True, eq=False)
class Served:
    """A loaded model, ready to answer.

    name:        The name that requests use.
    recommender: The model, with the compiled sizes of the server.
    limits:      The limits that these sizes hold.
    progress:    The progress of ``warm_up``.
    """

    name: str
    recommender: Recommender
    limits: Limits
    progress: Progress = dataclasses.field(default_factory=Progress)

    @functools.cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """The shapes of batches."""
        engine = self.recommender.engine
        return shapes(engine.max_length, min(self.limits.users, engine.at_once))

    @functools.cached_property
    def listed(self) -> int:
        """The number of items that the program of batches lists."""
        return min(max(FEWEST_LISTED, rounded(self.limits.k)), len(self.ids))

    @functools.cached_property
    def ids(self) -> list[str]:
        """The raw id of each item."""
        return self.recommender.items.ids.to_list()

    @functools.cached_property
    def titles(self) -> list[str | None]:
        """The title of each item."""
        return self.recommender.items.titles.to_list()

    @functools.cached_property
    def popular(self) -> list[int]:
        """The dense ids of all items, the most frequent first."""
        return self.recommender.items.popular.tolist()

    def seen(self, dense: Int32[np.ndarray, "_"]) -> Int32[np.ndarray, "_"]:
        """Returns the tokens that the model sees of a history."""
        engine = self.recommender.engine
        if not engine.cloze:
            return dense[-engine.max_length :]
        last = dense[max(0, len(dense) - engine.max_length + 1) :]
        return np.append(last, np.int32(len(self.ids)))

    def most_popular(self, k: int, excluded: set[int]) -> TopItems:
        """Returns the most popular items, for histories without a known item."""
        counts = self.recommender.items.counts
        chosen = [n for n in self.popular[: k + len(excluded)] if n not in excluded][:k]
        return self._named(chosen, [float(counts[n]) for n in chosen], POPULARITY)

    def rank_batch(self, queries: Sequence[BatchedQuery], packing: Packing) -> list[TopItems]:
        """Returns the lists of the histories that ``packing`` holds, by one run of one program."""
        steps = max(one.steps for one in queries)
        rows = filled(packing, [one.items for one in queries])
        depths = np.zeros_like(rows.queries)
        excluded = np.full((*depths.shape, MOST_EXCLUDED), len(self.ids), np.int32)
        filled_queries = [tuple(index) for index in np.argwhere(rows.users >= 0)]
        for index in filled_queries:
            one = queries[rows.users[index]]
            depths[index] = one.steps
            excluded[index][: len(one.excluded)] = list(one.excluded)
        engine = self.recommender.engine
        found = best(
            engine.encode,
            engine.parameters,
            Candidates(engine.ranked, np.int32(len(self.ids))),
            Queries(rows, excluded, depths),
            engine.steps if steps else 0,
            self.listed,
        )
        items, scores = jax.device_get(found)
        by_number = {int(rows.users[index]): index for index in filled_queries}
        return [
            self._list(items[by_number[number]], scores[by_number[number]], one.k)
            for number, one in enumerate(queries)
        ]

    def explain(self, query: SingleQuery) -> Recommendation:
        """Returns the list of one history with the lists at every depth."""
        (found,) = self.recommender.recommend_dense(query.history, query.options)
        return found

    def warm_up(self) -> None:
        """Runs every program once, which compiles it."""
        steps = dict.fromkeys((0, self.recommender.engine.steps))
        runs: list[Callable[[], Any]] = [
            functools.partial(self._run_shape, shape, depth)
            for shape in self.shapes
            for depth in steps
        ]
        history = Histories(self._some(1), np.array([0, 1]), ((),))
        for k in dict.fromkeys(self.recommender.sizes.listed):
            # As many candidates as items to list: fewer would make a shorter list.
            for candidates in (None, np.arange(min(k, len(self.ids)), dtype=np.int32)):
                options = Options(k, candidates=candidates, explain=True)
                runs.append(functools.partial(self.explain, SingleQuery(history, options)))
        self.progress.begin(len(runs))
        for run in runs:
            run()
            self.progress.compiled += 1

    def _run_shape(self, shape: Shape, steps: int) -> None:
        """Ranks a batch that has this shape."""
        packing, queries = Packing(self.shapes), []
        while not queries or packing.shape != shape:
            length = shape.tokens if shape.queries == 1 else 2
            one = BatchedQuery(self._some(length), set(), 1, steps)
            if not packing.add(len(one.items)):
                raise AssertionError(f"no batch has the shape {shape}")
            queries.append(one)
        self.rank_batch(queries, packing)

    def _some(self, length: int) -> Int32[np.ndarray, "_"]:
        return np.arange(length, dtype=np.int32) % len(self.ids)

    def _list(self, items: np.ndarray, scores: np.ndarray, k: int) -> TopItems:
        there = int(np.count_nonzero(~np.isneginf(scores[:k])))
        return self._named(items[:there].tolist(), scores[:there].tolist(), MODEL)

    def _named(self, dense: list[int], scores: list[float], by: str) -> TopItems:
        ids, titles = self.ids, self.titles
        return TopItems([ids[n] for n in dense], scores, [titles[n] for n in dense], by)


def serve(name: str, recommender: Recommender, limits: Limits) -> Served:
    """Returns the model with few compiled sizes, which hold everything that ``limits`` allow."""
    engine = recommender.engine
    most = rounded(limits.k)
    sizes = Sizes(
        row=(engine.max_length,),
        excluded=(_power_of_two(limits.excluded),),
        listed=tuple(sorted({min(FEWEST_LISTED, most), most})),
        candidates=(rounded(limits.ids),),
    )
    return Served(name, dataclasses.replace(recommender, sizes=sizes), limits)


def _power_of_two(count: int) -> int:
    return 1 << (count - 1).bit_length()


def facts(served: Served) -> dict[str, Any]:
    """Returns the entry of a model in the answer to GET /models."""
    engine = served.recommender.engine
    backbone, _, method = engine.name.partition(", ")
    return {
        "name": served.name,
        "label": f"{method} on {backbone}" if method else engine.name,
        "method": method,
        "backbone": backbone if method else "",
        "steps": engine.steps,
        "items": len(served.ids),
        "max_length": engine.max_length,
        "attention": engine.attend is not None,
        "temperature": engine.temperature,  # of the softmax, with which a list's shares are found
    }
