"""What `recommend` returns: arrays inside, one user's list in raw ids and titles on access."""

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
    """The list after so many reasoning steps.

    entered, left: ids that were not in the list one step earlier, and that were and no longer are.
    effective_items: between how many items the model hesitates: exp(entropy) of the softmax of
        score / temperature over all that may be listed. None: an older export.
    top_share: what of that softmax the listed items have.
    attention: weight of each item of `Recommendation.history` for this step's token: last layer,
        mean over heads, scaled to sum 1.
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

    by:      "model", or "popularity" where no item of the history is known: the items most
             frequent in training, their counts as scores.
    unknown: ids of the history that no item has; they were left out.
    steps:   the list after 0, 1, ... reasoning steps, the last one this list; () unless asked for.
    ranks:   of every item in any of these lists: its rank after each number of steps.
    history: the known items that the model saw, the oldest first; () unless asked for.
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
    """How the lists of many users came about, as `program.Paths`: an entry a depth S.

    top_shares, effective: NaN where the model's temperature is unknown.
    attention: to the items of a user, the oldest first, then zeros; None where it is not told.
    """

    items: Int32[np.ndarray, "M S k"]
    scores: Float32[np.ndarray, "M S k"]
    ranks: Int32[np.ndarray, "M S k S"]
    top_shares: Float32[np.ndarray, "M S"]
    effective: Float32[np.ndarray, "M S"]
    attention: Float32[np.ndarray, "M S T"] | None


@dataclasses.dataclass(frozen=True)
class Ranked:
    """Lists of many users as arrays.

    items:         dense ids, best first; -1 where the list has ended.
    scores:        their scores; -inf there.
    by_popularity: users without a known item.
    path:          the same at every depth; None unless asked for.
    """

    items: Int32[np.ndarray, "M k"]
    scores: Float32[np.ndarray, "M k"]
    by_popularity: Bool[np.ndarray, " M"]
    path: Path | None = None


def no_lists(*shape: int) -> tuple[np.ndarray, np.ndarray]:
    """Items and scores of lists that have ended before they began."""
    return np.full(shape, -1, np.int32), np.full(shape, -np.inf, np.float32)


def no_path(users: int, depths: int, k: int, tokens: int | None) -> Path:
    """Of nobody; ``tokens``: width of the attention, None = it is not told."""
    return Path(
        *no_lists(users, depths, k),
        ranks=np.zeros((users, depths, k, depths), np.int32),
        top_shares=np.full((users, depths), np.nan, np.float32),
        effective=np.full((users, depths), np.nan, np.float32),
        attention=None if tokens is None else np.zeros((users, depths, tokens), np.float32),
    )


@dataclasses.dataclass(frozen=True)
class Recommendations(Sequence[Recommendation]):
    """One `Recommendation` a history, in their order."""

    ranked: Ranked
    items: Items
    unknown: tuple[tuple[str, ...], ...]
    seen: Histories | None = None  # by the model

    def __len__(self) -> int:
        return len(self.ranked.items)

    @overload
    def __getitem__(self, place: int) -> Recommendation: ...
    @overload
    def __getitem__(self, place: slice) -> list[Recommendation]: ...
    def __getitem__(self, place: int | slice) -> Recommendation | list[Recommendation]:
        if isinstance(place, slice):
            return [self[user] for user in range(*place.indices(len(self)))]
        user = range(len(self))[place]  # negative ones, and the IndexError that ends a loop
        ranked = self.ranked
        ids, scores, titles = self._words(ranked.items[user], ranked.scores[user])
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
        """Raw ids of every list."""
        return [list(one.ids) for one in self]

    def _words(
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
            words = self._words(path.items[user, depth], path.scores[user, depth])
            before = steps[-1].ids if steps else words[0]
            entered = tuple(raw for raw in words[0] if raw not in before)
            left = tuple(raw for raw in before if raw not in words[0])
            steps.append(Step(depth, *words, entered, left, *self._insight(path, user, depth)))
        return tuple(steps)

    def _ranks(self, user: int) -> dict[str, tuple[int, ...]]:
        path = self.ranked.path
        assert path is not None  # it has steps
        listed = path.items[user] >= 0
        ids = self.items.ids.gather(path.items[user][listed]).to_list()
        ranks = path.ranks[user][listed].tolist()
        return {raw: tuple(own) for raw, own in zip(ids, ranks, strict=True)}

    def _insight(
        self, path: Path, user: int, depth: int
    ) -> tuple[float | None, float | None, tuple[float, ...] | None]:
        """`effective_items`, `top_share` and `attention` of a step."""
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
