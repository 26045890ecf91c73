"""Recommends items: from the raw ids of each user's history to raw ids, best first."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
import dataclasses
import logging
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float32, Int32
import numpy as np
import polars as pl

from rearec_jax.data.own_files.cells import first_line
from rearec_jax.errors import UserError, shown
from rearec_jax.recommend import arguments
from rearec_jax.recommend.arguments import Given, whole_number, yes_or_no
from rearec_jax.recommend.engine import (
    FEWEST_LISTED,
    Best,
    Candidates,
    Engine,
    Paths,
    Queries,
    best,
    paths,
)
from rearec_jax.recommend.histories import Histories, dense_set, latest, of_ids
from rearec_jax.recommend.insight import attention_to_items
from rearec_jax.recommend.items import Items
from rearec_jax.recommend.results import Path, Ranked, Recommendations, no_lists, no_path
from rearec_jax.recommend.rows import FINE, Rows, Sizes, batches, excluded_items, fitting, rounded
from rearec_jax.recommend.samples import Sample

WORKERS = 2  # batches in flight: sorting in one overlaps the products of the other

TextEncoder = Callable[[Sequence[str | None]], np.ndarray]

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Options:
    """The options of a ranking, in dense ids.

    k:            The number of items to list.
    steps:        The number of reasoning steps; None: as many as in training.
    exclude_seen: Whether the items of a user's history are left out.
    exclude:      The items that are left out for all users; None: none.
    candidates:   The items to choose from, ascending, each once; None: all.
    explain:      Whether the lists after every number of steps are computed too.
    """

    k: int = 10
    steps: int | None = None
    exclude_seen: bool = True
    exclude: Int32[np.ndarray, "n"] | None = None
    candidates: Int32[np.ndarray, "c"] | None = None
    explain: bool = False


@dataclasses.dataclass(frozen=True)
class Recommender:
    """A model with its items. It is immutable, and so threads may share it.

    engine:  The model.
    items:   Its items.
    text:    The function from texts of new items to their vectors; None where there is none.
    samples: Histories of test users, to try the model on.
    sizes:   The sizes that are compiled. A server has few, because nothing may be compiled while
             users wait.
    """

    engine: Engine
    items: Items
    text: TextEncoder | None = None
    samples: tuple[Sample, ...] = ()
    sizes: Sizes = FINE

    def recommend(
        self,
        histories: Given,
        k: Given = 10,
        *,
        steps: Given = None,
        exclude_seen: Given = True,
        exclude: Given = (),
        candidates: Given = None,
        unknown: Given = "skip",
        explain: Given = False,
    ) -> Recommendations:
        """Returns the k best items for each history.

        An id is text, UTF-8 bytes or a number of any type; 17.0 is "17" (`arguments.id_text`).
        Lists of ids may also be tuples, generators, arrays or columns of tables.

        Args:
            histories: the item ids of each user, the oldest first; the model sees the last
                ``engine.max_length``.
            k: the number of items to list.
            steps: the number of reasoning steps; None: as many as in training, 0: none.
            exclude_seen: whether the items of a user's history are left out.
            exclude: ids that are left out for all users; None or (): none.
            candidates: the only ids to choose from; None: all items.
            unknown: "skip" leaves ids that no item has out, with a warning; "error" refuses them.
            explain: whether the result also has the lists after 0, 1, ... steps, the ranks of each
                item, how sure the model is and which items it attends to.

        Raises:
            UserError: an argument is of another kind or out of range, or an id in ``exclude`` or
                ``candidates`` is no item's.
        """
        options = Options(
            k=whole_number(k, "k"),
            steps=None if steps is None else whole_number(steps, "steps"),
            exclude_seen=yes_or_no(exclude_seen, "exclude_seen"),
            exclude=None if exclude is None else dense_set(exclude, self.items, "exclude"),
            candidates=(
                None if candidates is None else dense_set(candidates, self.items, "candidates")
            ),
            explain=yes_or_no(explain, "explain"),
        )
        dense = of_ids(histories, self.items, unknown)
        self._warn(dense)
        return self.recommend_dense(dense, options)

    def recommend_dense(self, histories: Histories, options: Options) -> Recommendations:
        """Returns the k best items for each history, as ``recommend`` does, from dense ids.

        Raises:
            UserError: an option is out of range.
        """
        seen = latest(histories, self.engine.seen) if options.explain else None
        ranked = self.rank(histories, options)
        return Recommendations(ranked, self.items, histories.unknown, seen)

    def add_items(self, ids: Given, texts: Given = None, *, vectors: Given = None) -> "Recommender":
        """Returns a recommender that has new items too, without training: the model reads text.

        Args:
            ids: ids, as in ``recommend``, that the catalogue does not have.
            texts: the title of each item, from which vectors are made as in training; None or NaN
                where it has none.
            vectors: the vectors of their text [n, F], where the run was trained on a file of
                vectors; the texts are then titles only.

        Raises:
            UserError: the model does not read text, an id is none or there already, or texts and
                vectors are both missing or do not fit.
        """
        engine = self.engine
        if engine.item_rows is None:
            raise UserError(
                f"the model ({engine.name}) learns a vector an item and cannot take new ones;"
                " train one that reads text (model.backbone=unisrec or morec)"
            )
        raw = arguments.ids(ids, "ids", in_order=True)
        titles = None if texts is None else arguments.titles(texts)
        if titles is not None and len(titles) != len(raw):
            raise UserError(f"{len(raw)} new items need as many texts, got {len(titles)}")
        items = self.items.join(
            pl.Series("id", raw, pl.String),
            pl.Series("title", titles or [None] * len(raw), pl.String),
        )
        found = self._vectors_of(titles) if vectors is None else arguments.array(vectors, "vectors")
        if found.shape != (len(raw), engine.text_width):
            raise UserError(
                f"{len(raw)} new items need vectors of shape {(len(raw), engine.text_width)}, got"
                f" {found.shape}"
            )
        if not np.isfinite(found).all():
            raise UserError("a vector of a new item has a value that is not a finite number")
        rows, ranked = engine.item_rows(found)
        engine = dataclasses.replace(
            engine,
            table=jnp.concatenate([engine.table, rows]),
            ranked=jnp.concatenate([engine.ranked, ranked]),
        )
        return dataclasses.replace(self, engine=engine, items=items)

    def rank(self, histories: Histories, options: Options) -> Ranked:
        """Returns the k best items for each history as arrays of dense ids.

        Raises:
            UserError: an option or a dense id is out of range.
        """
        for name, ids in (
            ("histories", histories.items),
            ("exclude", options.exclude),
            ("candidates", options.candidates),
        ):
            _check_dense(ids, len(self.items), name)
        chosen = self._choose(options)
        result = self._empty(len(histories), chosen, options.explain)
        self._by_popularity(histories, options, chosen, result)
        engine, sizes = self.engine, self.sizes.row
        rows = batches(histories, engine.max_length, engine.at_once, self._mask, sizes)
        for users, lists in self._run(rows, histories, options, chosen):
            _fill(result, users, lists, chosen)
        return result

    def _run(
        self, rows: Iterator[Rows], histories: Histories, options: Options, chosen: "_Choice"
    ) -> Iterator[tuple[np.ndarray, Any]]:
        """Yields the users and the lists of one batch after another; two batches run at a time."""

        def one(rows: Rows) -> tuple[np.ndarray, Any]:
            return rows.users, self._ranked(rows, histories, options, chosen)

        first, second = next(rows, None), next(rows, None)
        if first is None:
            return
        if second is None:  # a single request: no thread to wait for
            yield one(first)
            return
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="recommend") as pool:
            ahead = [pool.submit(one, first), pool.submit(one, second)]
            try:
                for more in rows:
                    ahead.append(pool.submit(one, more))
                    yield ahead.pop(0).result()
                while ahead:
                    yield ahead.pop(0).result()
            finally:
                for future in ahead:
                    future.cancel()

    def _ranked(
        self, rows: Rows, histories: Histories, options: Options, chosen: "_Choice"
    ) -> Best | Paths:
        """Returns the lists of one batch, as numpy arrays."""
        engine = self.engine
        excluded = excluded_items(
            rows.users.reshape(-1),
            histories,
            options.exclude_seen,
            _or_nothing(options.exclude),
            len(self.items),
            self.sizes.excluded,
        )
        excluded = chosen.indices(excluded).reshape(*rows.users.shape, -1)
        arguments = (
            engine.parameters,
            Candidates(chosen.ranked, np.int32(chosen.count)),
            Queries(rows, excluded),
            chosen.steps,
            chosen.listed,
        )
        try:
            if options.explain:
                found = paths(engine.attending, *arguments)
            else:
                found = best(engine.encode, *arguments)
        except ValueError as error:  # of the compiler: what it refuses is not seen on loading
            if not engine.file:
                raise
            raise UserError(
                f"{engine.file} cannot be compiled ({first_line(error)}); export the model again"
            ) from error
        found = jax.tree.map(np.asarray, found)
        if isinstance(found, Best):
            return found
        if found.attention is None:
            return found
        return found._replace(attention=attention_to_items(found.attention, rows, self._mask))

    @property
    def _mask(self) -> int | None:
        """The id of the token that asks for the next item; None where the model has none."""
        return len(self.items) if self.engine.cloze else None

    def _empty(self, users: int, chosen: "_Choice", explain: bool) -> Ranked:
        """Returns lists without an item, to be filled."""
        lists, nobody = no_lists(users, chosen.k), np.zeros(users, bool)
        if not explain:
            return Ranked(*lists, nobody)
        width = self.engine.max_length if self.engine.attend else None
        path = no_path(users, chosen.steps + 1, chosen.k, width)
        return Ranked(*lists, nobody, path)

    def _choose(self, options: Options) -> "_Choice":
        """Checks the options and gathers the vectors of the candidates."""
        steps = self.engine.steps if options.steps is None else options.steps
        if not 0 <= steps <= self.engine.steps:
            raise UserError(
                f"steps={shown(steps)} must lie between 0 and the {self.engine.steps} that the"
                " model was trained with"
            )
        if options.k < 1:
            raise UserError(f"k={shown(options.k)} must be at least 1")
        ids, ranked = options.candidates, self.engine.ranked
        if ids is not None:
            if not len(ids):
                raise UserError("candidates is empty; None chooses from all items")
            rows = fitting(self.sizes.candidates, len(ids), rounded(len(ids)))
            padded = np.zeros(rows, np.int32)
            padded[: len(ids)] = ids
            ranked = ranked[padded]
        count = len(self.items) if ids is None else len(ids)
        k = min(options.k, count)
        finely = max(FEWEST_LISTED, rounded(k))
        listed = min(fitting(self.sizes.listed, k, finely), ranked.shape[0])
        return _Choice(ids, ranked, count, steps, k, listed)

    def _by_popularity(
        self, histories: Histories, options: Options, chosen: "_Choice", result: Ranked
    ) -> None:
        """Fills in the most popular items for all users without a history: one list for all."""
        empty = histories.is_empty
        result.by_popularity[:] = empty
        if not empty.any():
            return
        popular = self.items.popular
        if chosen.ids is not None:
            popular = popular[np.isin(popular, chosen.ids)]
        popular = popular[~np.isin(popular, _or_nothing(options.exclude))][: chosen.k]
        result.items[empty, : len(popular)] = popular
        result.scores[empty, : len(popular)] = self.items.counts[popular].astype(np.float32)

    def _vectors_of(self, texts: Sequence[str | None] | None) -> Float32[np.ndarray, "n F"]:
        if texts is None:
            raise UserError("new items need texts (or vectors)")
        if self.text is None:
            raise UserError(
                "the model cannot make vectors of texts here (it was trained on a file of vectors,"
                " or is an export); give vectors="
            )
        return self.text(texts)

    def _warn(self, histories: Histories) -> None:
        missing = [raw for ids in histories.unknown for raw in ids]
        if missing:
            _log.warning(
                "%d unknown item ids are left out, such as %s", len(missing), shown(missing[0])
            )


@dataclasses.dataclass(frozen=True)
class _Choice:
    """The candidates and the sizes of a call.

    ids:    The dense ids of the rows of ``ranked``, ascending; None: all items in their order.
    ranked: The vectors of the candidates; rows from ``count`` on are padding.
    count:  The number of candidates.
    steps:  The number of reasoning steps.
    k:      The number of items that a list has.
    listed: The number of items that the program lists, at least ``k``: a compiled size.
    """

    ids: Int32[np.ndarray, "n"] | None
    ranked: jax.Array
    count: int
    steps: int
    k: int
    listed: int

    def indices(self, items: Int32[np.ndarray, "M L"]) -> Int32[np.ndarray, "M L"]:
        """Returns the rows of ``ranked`` of dense ids; an index beyond them for other items."""
        if self.ids is None:
            return items
        indices = np.minimum(np.searchsorted(self.ids, items), len(self.ids) - 1)
        return np.where(self.ids[indices] == items, indices, self.ranked.shape[0]).astype(np.int32)

    def items(self, indices: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Returns the dense ids of rows of ``ranked``; -1 where the list has ended."""
        dense = indices if self.ids is None else self.ids[np.minimum(indices, len(self.ids) - 1)]
        return np.where(np.isneginf(scores), -1, dense).astype(np.int32)


def _check_dense(ids: Int32[np.ndarray, "n"] | None, items: int, name: str) -> None:
    """Raises UserError for an id that is no item's, because JAX would read another item's row."""
    if ids is not None and len(ids) and not 0 <= ids.min() <= ids.max() < items:
        wrong = ids[(ids < 0) | (ids >= items)][0]
        raise UserError(f"{name}: the dense id {wrong} is none of the {items} items")


def _or_nothing(ids: Int32[np.ndarray, "n"] | None) -> Int32[np.ndarray, "n"]:
    return np.zeros(0, np.int32) if ids is None else ids


def _fill(result: Ranked, users: Int32[np.ndarray, "B Q"], lists: Any, chosen: _Choice) -> None:
    """Copies the lists of a batch to the rows of their users in ``result``."""
    real = users >= 0
    at = users[real]
    indices, scores = lists.indices[real][..., : chosen.k], lists.scores[real][..., : chosen.k]
    items = chosen.items(indices, scores)
    if result.path is not None:
        _fill_path(result.path, at, items, scores, jax.tree.map(lambda part: part[real], lists))
        items, scores = items[:, -1], scores[:, -1]
    result.items[at], result.scores[at] = items, scores


def _fill_path(
    path: Path,
    at: Int32[np.ndarray, "n"],
    items: Int32[np.ndarray, "n S k"],
    scores: Float32[np.ndarray, "n S k"],
    found: Paths,
) -> None:
    path.items[at], path.scores[at] = items, scores
    path.ranks[at] = found.ranks[:, :, : items.shape[-1]]
    path.top_shares[at] = np.sum(found.shares[:, :, : items.shape[-1]], axis=-1)
    path.effective[at] = found.effective
    if path.attention is not None and found.attention is not None:
        path.attention[at, :, : found.attention.shape[-1]] = found.attention
