"""Packs the histories of several requests into rows of few shapes, all known beforehand.

`recommend.rows.batches` plans rows for its users, and each plan may be another shape, which must be
compiled. A server compiles a short list of shapes when it starts, and fills the smallest one that
holds the waiting histories.
"""

from collections.abc import Sequence
from typing import NamedTuple

from jaxtyping import Int32
import numpy as np

from rearec_jax.recommend.rows import Rows

SHORT = 16  # tokens of the shorter row of a single user; Beauty's histories have 9 items
TOKENS_A_QUERY = 12  # of a shared row; queries that stay empty cost less than rows


class Shape(NamedTuple):
    """The shape of a batch.

    rows:    The number of rows.
    tokens:  The tokens of a row.
    queries: The queries of a row, one for each user.
    """

    rows: int
    tokens: int
    queries: int


def shapes(max_length: int, users: int) -> tuple[Shape, ...]:
    """Returns the shapes for 1 to about ``users`` users, from the cheapest to the dearest."""
    alone = [Shape(1, min(length, max_length), 1) for length in (SHORT, max_length)]
    queries = max(1, max_length // TOKENS_A_QUERY)
    rows = [1 << power for power in range((max(1, users // queries) - 1).bit_length() + 1)]
    return tuple(dict.fromkeys([*alone, *(Shape(n, max_length, queries) for n in rows)]))


class Packing:
    """Rows that are filled history by history: each goes to the first row with room for it.

    rows:    The numbers of the histories in each row, in the order of ``add``.
    lengths: The tokens of each history.
    """

    def __init__(self, shapes: Sequence[Shape]):
        self._shapes = shapes
        self._tokens, self._queries = shapes[-1].tokens, shapes[-1].queries
        self._used: list[int] = []  # tokens of each row
        self.rows: list[list[int]] = []
        self.lengths: list[int] = []

    def add(self, length: int) -> bool:
        """Adds a history of ``length`` tokens; returns False where there is no room for it."""
        row = self._room_for(length)
        if row is None:
            return False
        if row == len(self.rows):
            self.rows.append([])
            self._used.append(0)
        self.rows[row].append(len(self.lengths))
        self._used[row] += length
        self.lengths.append(length)
        return True

    @property
    def shape(self) -> Shape:
        """The cheapest shape that holds the histories."""
        if len(self.lengths) == 1:
            fits = (s for s in self._shapes if s.tokens >= self.lengths[0])
        else:
            fits = (
                s
                for s in self._shapes
                if s.rows >= len(self.rows) and (s.tokens, s.queries) == self._shapes[-1][1:]
            )
        return next(fits)

    def _room_for(self, length: int) -> int | None:
        for row, used in enumerate(self._used):
            if used + length <= self._tokens and len(self.rows[row]) < self._queries:
                return row
        return len(self.rows) if len(self.rows) < self._shapes[-1].rows else None


def filled(packing: Packing, histories: Sequence[Int32[np.ndarray, "_"]]) -> Rows:
    """Returns the batch: the tokens of each history with a query at the last, and padding."""
    shape = packing.shape
    tokens, positions, segments = np.zeros((3, shape.rows, shape.tokens), np.int32)
    queries = np.zeros((shape.rows, shape.queries), np.int32)
    users = np.full_like(queries, -1)
    for row, numbers in enumerate(packing.rows):
        end = 0
        for query, number in enumerate(numbers):
            start, end = end, end + len(histories[number])
            tokens[row, start:end] = histories[number]
            positions[row, start:end] = np.arange(end - start)
            segments[row, start:end] = query + 1
            queries[row, query], users[row, query] = end - 1, number
    return Rows(tokens, positions, segments, queries, users)
