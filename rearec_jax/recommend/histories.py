"""The histories of users as dense item ids, and the one lookup from raw ids to dense ones."""

from collections.abc import Sequence
import dataclasses

from jaxtyping import Bool, Int32, Int64
import numpy as np

from rearec_jax.data.interactions import positions
from rearec_jax.errors import UserError, shown
from rearec_jax.recommend import arguments
from rearec_jax.recommend.arguments import Given
from rearec_jax.recommend.items import Items

UNKNOWN = ("skip", "error")
_WANTED = (
    "give a list of item ids for each user, such as the lists of a column: frame['items'].to_list()"
)


@dataclasses.dataclass(frozen=True)
class Histories:
    """The histories of many users, end to end as in `data.interactions.Interactions`.

    items:   The known items of all users in dense ids, each user's oldest first.
    offsets: The history of user u is items[offsets[u] : offsets[u + 1]].
    unknown: The raw ids of each user that no item has, in their order; they are left out.
    """

    items: Int32[np.ndarray, "total"]
    offsets: Int64[np.ndarray, "users_plus_1"]
    unknown: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def of_user(self, user: int) -> Int32[np.ndarray, "n"]:
        """Returns the known items of one user, the oldest first."""
        return self.items[self.offsets[user] : self.offsets[user + 1]]

    def only(self, user: int) -> "Histories":
        """Returns the history of one user alone."""
        items = self.of_user(user)
        return Histories(items, np.array([0, len(items)]), self.unknown[user : user + 1])

    @property
    def lengths(self) -> Int64[np.ndarray, "users"]:
        """The number of known items of each user."""
        return np.diff(self.offsets)

    @property
    def is_empty(self) -> Bool[np.ndarray, "users"]:
        """True for users without a known item, whose next item the model cannot predict."""
        return self.lengths == 0


def of_ids(histories: Given, items: Items, unknown: Given = "skip") -> Histories:
    """Looks up the dense ids of raw ones, of any kind that `arguments.id_text` reads.

    Args:
        histories: the raw ids of each user, the oldest first.
        items: the catalogue.
        unknown: "skip" or "error", for ids that no item has.

    Raises:
        UserError: a history is no list of ids, or, with ``unknown="error"``, an id is no item's.
    """
    if unknown not in UNKNOWN:
        raise UserError(f"unknown={shown(unknown)} must be one of {', '.join(UNKNOWN)}")
    index = items.index
    dense: list[int] = []
    offsets, missing = [0], []
    for user, history in enumerate(arguments.elements(histories, "histories", _WANTED, True)):
        raw = arguments.history_ids(history, user, index)
        known = [index[item] for item in raw if item in index]
        dense += known
        is_known = len(known) == len(raw)  # as nearly always
        missing.append(() if is_known else tuple(item for item in raw if item not in index))
        offsets.append(len(dense))
    if unknown == "error":
        _refuse(missing)
    return Histories(np.array(dense, np.int32), np.array(offsets, np.int64), tuple(missing))


def latest(histories: Histories, count: int) -> Histories:
    """Returns the histories cut to each user's last ``count`` items."""
    position = positions(histories.offsets)
    lengths = histories.lengths
    kept = position >= np.repeat(lengths - count, lengths)
    offsets = np.append(0, np.cumsum(np.minimum(lengths, count)))
    return Histories(histories.items[kept], offsets, histories.unknown)


def dense_set(given: Given, items: Items, name: str) -> Int32[np.ndarray, "n"]:
    """Looks up the dense ids of raw ones, ascending, each once.

    Raises:
        UserError: it is no list of ids, or an id is no item's; the message starts with ``name``,
            that of the list.
    """
    raw = arguments.ids(given, name)
    missing = [item for item in raw if item not in items.index]
    if missing:
        raise UserError(f"{name}: no item has the id {shown(missing[0])}{_and_more(missing)}")
    return np.unique(np.array([items.index[item] for item in raw], np.int32))


def _refuse(missing: Sequence[tuple[str, ...]]) -> None:
    for user, ids in enumerate(missing):
        if ids:
            raise UserError(
                f"history {user}: no item has the id {shown(ids[0])}{_and_more(ids)};"
                ' unknown="skip" leaves such ids out'
            )


def _and_more(ids: Sequence[str]) -> str:
    return f" ({len(ids)} such ids)" if len(ids) > 1 else ""
