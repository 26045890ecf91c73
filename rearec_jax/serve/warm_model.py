"""A model as the server runs it: many histories at once, or one alone in full; nothing compiles."""

from collections.abc import Sequence
import dataclasses
import functools
from typing import Any, NamedTuple

import jax
from jaxtyping import Int32
import numpy as np

from rearec_jax.recommend.engine import FEWEST_LISTED, Candidates, Queries, best
from rearec_jax.recommend.histories import Histories
from rearec_jax.recommend.recommender import Options, Recommender
from rearec_jax.recommend.results import MODEL, POPULARITY, Recommendation
from rearec_jax.recommend.rows import Sizes, rounded
from rearec_jax.serve.limits import SHARED, Limits
from rearec_jax.serve.shapes import Packing, Shape, filled, shapes


class Together(NamedTuple):
    """A history to be ranked with others; dense ids.

    items:    what the model sees: the last of the history, and the mask of a cloze model.
    excluded: what is not listed, at most ``SHARED``.
    """

    items: Int32[np.ndarray, "_"]
    excluded: Int32[np.ndarray, "_"]
    k: int
    steps: int


class Alone(NamedTuple):
    """A history to be ranked by itself; dense ids."""

    history: Histories
    options: Options


class Best(NamedTuple):
    """A list, best first. by: as in `Recommendation`."""

    ids: list[str]
    scores: list[float]
    titles: list[str | None]
    by: str


@dataclasses.dataclass(frozen=True, eq=False)
class Served:
    """A loaded model with what answers need of it.

    name:        as requests name it.
    recommender: it, with ``Recommender.sizes`` of the server.
    """

    name: str
    recommender: Recommender
    limits: Limits

    @functools.cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """Of the batches that are computed together."""
        engine = self.recommender.engine
        return shapes(engine.max_length, min(self.limits.users, engine.at_once))

    @functools.cached_property
    def listed(self) -> int:
        """Items that every program lists."""
        return min(max(FEWEST_LISTED, rounded(self.limits.k)), len(self.ids))

    @functools.cached_property
    def ids(self) -> list[str]:
        """Raw id of each item."""
        return self.recommender.items.ids.to_list()

    @functools.cached_property
    def titles(self) -> list[str | None]:
        """Title of each item."""
        return self.recommender.items.titles.to_list()

    @functools.cached_property
    def popular(self) -> list[int]:
        """Dense ids, the most frequent first."""
        return self.recommender.items.popular.tolist()

    def seen(self, dense: Int32[np.ndarray, "_"]) -> Int32[np.ndarray, "_"]:
        """What the model sees of a history."""
        engine = self.recommender.engine
        if not engine.cloze:
            return dense[-engine.max_length :]
        last = dense[max(0, len(dense) - engine.max_length + 1) :]
        return np.append(last, np.int32(len(self.ids)))

    def most_popular(self, k: int, excluded: set[int]) -> Best:
        """For those of whom nothing is known."""
        counts = self.recommender.items.counts
        chosen = [n for n in self.popular[: k + len(excluded)] if n not in excluded][:k]
        return self._words(chosen, [float(counts[n]) for n in chosen], POPULARITY)

    def together(self, asked: Sequence[Together], packing: Packing) -> list[Best]:
        """The lists of histories that ``packing`` holds, in one run of one program."""
        steps = max(one.steps for one in asked)
        rows = filled(packing, [one.items for one in asked])
        depths = np.zeros_like(rows.queries)
        excluded = np.full((*depths.shape, SHARED), len(self.ids), np.int32)
        places = [tuple(place) for place in np.argwhere(rows.users >= 0)]
        for place in places:
            one = asked[rows.users[place]]
            depths[place] = one.steps
            excluded[place][: len(one.excluded)] = one.excluded
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
        results: dict[int, Best] = {}
        for place in places:
            number = int(rows.users[place])
            results[number] = self._list(items[place], scores[place], asked[number].k)
        return [results[number] for number in range(len(asked))]

    def alone(self, asked: Alone) -> Recommendation:
        """One history with its whole path, at every depth."""
        (found,) = self.recommender.recommend_dense(asked.history, asked.options)
        return found

    def warm_up(self) -> None:
        """Runs every program once, which compiles it."""
        engine = self.recommender.engine
        none = np.zeros(0, np.int32)
        for shape in self.shapes:
            for steps in dict.fromkeys((0, engine.steps)):
                packing, asked = Packing(self.shapes), []
                while not asked or packing.shape != shape:
                    length = shape.tokens if shape.queries == 1 else 2
                    one = Together(self._some(length), none, 1, steps)
                    if not packing.add(len(one.items)):
                        raise AssertionError(f"no batch has the shape {shape}")
                    asked.append(one)
                self.together(asked, packing)
        history = Histories(self._some(1), np.array([0, 1]), ((),))
        for k in dict.fromkeys(self.recommender.sizes.listed):
            few = np.arange(min(k, len(self.ids)), dtype=np.int32)
            for candidates in (None, few):  # fewer of them than k would list fewer
                self.alone(Alone(history, Options(k, candidates=candidates, explain=True)))

    def _some(self, length: int) -> Int32[np.ndarray, "_"]:
        return np.arange(length, dtype=np.int32) % len(self.ids)

    def _list(self, items: np.ndarray, scores: np.ndarray, k: int) -> Best:
        there = int(np.count_nonzero(~np.isneginf(scores[:k])))
        return self._words(items[:there].tolist(), scores[:there].tolist(), MODEL)

    def _words(self, dense: list[int], scores: list[float], by: str) -> Best:
        ids, titles = self.ids, self.titles
        return Best([ids[n] for n in dense], scores, [titles[n] for n in dense], by)


def serve(name: str, recommender: Recommender, limits: Limits) -> Served:
    """The recommender with sizes that are few and hold what ``limits`` allow."""
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
    """What GET /models says of it."""
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
    }
