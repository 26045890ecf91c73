"""The results of `Recommender.recommend`: arrays inside, raw ids and titles on access."""

from collections.abc import Sequence
import dataclasses
from typing import overload

from jaxtyping import Bool, Float32, Int32
import numpy as np

from rearec_jax.recommend.histories import Histories
from rearec_jax.recommend.items import Items

MODEL, POPULARITY = "model", "popularity"


@dataclasses.dataclass(frozen=True)
class Step:
    """The list of a user after a number of reasoning steps.

    step:    The number of reasoning steps.
    ids:     The raw ids, best first.
    scores:  Their scores.
    titles:  Their titles; None where an item has none.
    entered: The ids that were not in the list one step earlier.
    left:    The ids that were in the list one step earlier and no longer are.
    effective_items: The number of items between which the model hesitates: exp(entropy) of the
        softmax of score / temperature over all items that may be listed. None where an export does
        not record the temperature.
    top_share: The share of that softmax that the listed items have; None as above.
    attention: The weight of each item of `Recommendation.history` for this step's token: that of
        the last layer, the mean over its heads, scaled to sum 1. None where an export lacks it.
    """

    step: int
    ids: tuple[str, ...]
    scores: tuple[float, ...]
    titles: tuple[str | None, ...]
    entered: tuple[str, ...]
    left: tuple[str, ...]
    effective_items: float | None = None
    top_share: float | None = None
    attention: tuple[float, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Recommendation:
    """One user's list, best first; shorter than k where fewer items are allowed.

    ids:     The raw ids.
    scores:  Their scores.
    titles:  Their titles; None where an item has none.
    by:      "model", or "popularity" where no item of the history is known: then the items are the
             most frequent of the training period, and their counts are the scores.
    unknown: The ids of the history that no item has; they were left out.
    steps:   The lists after 0, 1, ... reasoning steps, of which the last is this list; () without
             ``explain``.
    ranks:   The ranks of every item in any of these lists, one after each number of steps.
    history: The known items that the model saw, the oldest first; () without ``explain``.
    """

    ids: tuple[str, ...]
    scores: tuple[float, ...]
    titles: tuple[str | None, ...]
    by: str
    unknown: tuple[str, ...]
    steps: tuple[Step, ...] = ()
    ranks: dict[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    history: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Path:
    """The lists of many users at each depth, as in `engine.Paths`.

    items:      Dense ids, best first; -1 where the list has ended.
    scores:     Their scores; -inf there.
    ranks:      The rank of each listed item at every depth.
    top_shares: The share of the softmax that the listed items have; NaN where the model's
                temperature is unknown.
    effective:  exp(entropy) of that softmax; NaN as well.
    attention:  The weights of a user's items, the oldest first, then zeros; None where the model
                does not return its attention.
    """

    items: Int32[np.ndarray, "M S k"]
    scores: Float32[np.ndarray, "M S k"]
    ranks: Int32[np.ndarray, "M S k S"]
    top_shares: Float32[np.ndarray, "M S"]
    effective: Float32[np.ndarray, "M S"]
    attention: Float32[np.ndarray, "M S T"] | None


@dataclasses.dataclass(frozen=True)
class Ranked:
    """The lists of many users as arrays.

    items:         Dense ids, best first; -1 where the list has ended.
    scores:        Their scores; -inf there.
    by_popularity: True for users without a known item.
    path:          The lists at every depth; None without ``explain``.
    """

    items: Int32[np.ndarray, "M k"]
    scores: Float32[np.ndarray, "M k"]
    by_popularity: Bool[np.ndarray, " M"]
    path: Path | None = None


def no_lists(*shape: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the items and the scores of empty lists."""
    return np.full(shape, -1, np.int32), np.full(shape, -np.inf, np.float32)


def no_path(users: int, depths: int, k: int, tokens: int | None) -> Path:
    """Returns an empty path; ``tokens`` is the width of the attention, None where there is none."""
    return Path(
        *no_lists(users, depths, k),
        ranks=np.zeros((users, depths, k, depths), np.int32),
        top_shares=np.full((users, depths), np.nan, np.float32),
        effective=np.full((users, depths), np.nan, np.float32),
        attention=None if tokens is None else np.zeros((users, depths, tokens), np.float32),
    )


@dataclasses.dataclass(frozen=True)
class Recommendations(Sequence[Recommendation]):
    """The recommendations for several histories, one for each, in their order.

    ranked:  The lists as arrays.
    items:   The catalogue.
    unknown: The raw ids of each history that no item has.
    seen:    The part of the histories that the model saw; None without ``explain``.
    """

    ranked: Ranked
    items: Items
    unknown: tuple[tuple[str, ...], ...]
    seen: Histories | None = None

    def __len__(self) -> int:
        return len(self.ranked.items)

    @overload
    def __getitem__(self, index: int) -> Recommendation: ...
    @overload
    def __getitem__(self, index: slice) -> list[Recommendation]: ...
    def __getitem__(self, index: int | slice) -> Recommendation | list[Recommendation]:
        if isinstance(index, slice):
            return [self[user] for user in range(*index.indices(len(self)))]
        user = range(len(self))[index]  # negative ones, and the IndexError that ends a loop
        ranked = self.ranked
        ids, scores, titles = self._named(ranked.items[user], ranked.scores[user])
        by_popularity = bool(ranked.by_popularity[user])
        steps = () if by_popularity else self._steps(user)
        return Recommendation(
            ids,
            scores,
            titles,
            POPULARITY if by_popularity else MODEL,
            self.unknown[user],
            steps,
            self._ranks(user) if steps else {},
            self._history(user),
        )

    @property
    def ids(self) -> list[list[str]]:
        """The raw ids of every list."""
        return [list(one.ids) for one in self]

    def _named(
        self, items: np.ndarray, scores: np.ndarray
    ) -> tuple[tuple[str, ...], tuple[float, ...], tuple[str | None, ...]]:
        listed = items >= 0
        dense = items[listed]
        ids, titles = self.items.ids.gather(dense), self.items.titles.gather(dense)
        return tuple(ids.to_list()), tuple(scores[listed].tolist()), tuple(titles.to_list())

    def _steps(self, user: int) -> tuple[Step, ...]:
        path = self.ranked.path
        if path is None:
            return ()
        steps: list[Step] = []
        for depth in range(path.items.shape[1]):
            listed = self._named(path.items[user, depth], path.scores[user, depth])
            before = steps[-1].ids if steps else listed[0]
            entered = tuple(raw for raw in listed[0] if raw not in before)
            left = tuple(raw for raw in before if raw not in listed[0])
            steps.append(Step(depth, *listed, entered, left, *self._insight(path, user, depth)))
        return tuple(steps)

    def _ranks(self, user: int) -> dict[str, tuple[int, ...]]:
        path = self.ranked.path
        assert path is not None  # it has steps
        listed = path.items[user] >= 0
        ids = self.items.ids.gather(path.items[user][listed]).to_list()
        ranks = path.ranks[user][listed].tolist()
        return {raw: tuple(by_depth) for raw, by_depth in zip(ids, ranks, strict=True)}

    def _insight(
        self, path: Path, user: int, depth: int
    ) -> tuple[float | None, float | None, tuple[float, ...] | None]:
        """Returns `effective_items`, `top_share` and `attention` of a step."""
        attention = None
        if path.attention is not None and self.seen is not None:
            attention = tuple(path.attention[user, depth, : self.seen.lengths[user]].tolist())
        effective, share = path.effective[user, depth], path.top_shares[user, depth]
        return _finite(effective), _finite(share), attention

    def _history(self, user: int) -> tuple[str, ...]:
        if self.seen is None:
            return ()
        return tuple(self.items.ids.gather(self.seen.of_user(user)).to_list())


def _finite(value: np.floating) -> float | None:
    return float(value) if np.isfinite(value) else None
