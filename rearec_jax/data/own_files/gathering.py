"""Gathers interactions on disk, part after part of the users, with numbers in place of raw ids."""

from collections.abc import Iterable, Sequence
import contextlib
import dataclasses
import tempfile
from typing import BinaryIO

from jaxtyping import Bool, Int32, Int64, UInt8
import numpy as np
import polars as pl

from rearec_jax.data.interactions import PART
from rearec_jax.data.raw_ids import encode


class GrowingArrays:
    """Arrays that grow on disk, in files without names, which last as long as their arrays do.

    Inside ``with`` values are appended; what `finish` returns outlives it.
    """

    def __init__(self, room: str):
        """Begins with none; ``room``: the directory of the files."""
        self._room, self._files = room, contextlib.ExitStack()
        self._arrays: dict[str, tuple[np.dtype, BinaryIO]] = {}

    def __enter__(self) -> "GrowingArrays":
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def append(self, name: str, values: np.ndarray) -> None:
        """Appends values to the array of this name, which has the type of its first values."""
        if name not in self._arrays:
            file = self._files.enter_context(tempfile.TemporaryFile(dir=self._room))  # noqa: SIM115
            self._arrays[name] = values.dtype, file
        dtype, file = self._arrays[name]
        file.write(np.ascontiguousarray(values, dtype).data)

    def finish(self) -> dict[str, np.ndarray]:
        """Returns the arrays by name, memory-mapped."""
        found = {}
        for name, (dtype, file) in self._arrays.items():
            file.flush()
            mapped = np.memmap(file, dtype, "r") if file.tell() else np.zeros(0, dtype)  # type: ignore[arg-type]
            found[name] = np.asarray(mapped)
        return found


@dataclasses.dataclass(frozen=True)
class Rows:
    """Interactions, a user's together and in time order.

    Users and items have the numbers in which they came.

    users:      the user of each interaction, ascending.
    items:      the item of each interaction.
    target_ok:  whether it may be a target.
    timestamps: its time in seconds; None where the source has none.
    split:      its split code; None where the source has none.
    user_ids:   the raw id of each user: Int64 where typed files hold whole numbers, or String.
    item_ids:   the raw id of each item, likewise.
    """

    users: Int32[np.ndarray, "rows"]
    items: Int32[np.ndarray, "rows"]
    target_ok: Bool[np.ndarray, "rows"]
    timestamps: Int64[np.ndarray, "rows"] | None
    split: UInt8[np.ndarray, "rows"] | None
    user_ids: pl.Series
    item_ids: pl.Series

    def count(
        self, keep: Bool[np.ndarray, "rows"] | None = None
    ) -> tuple[Int64[np.ndarray, "users"], Int64[np.ndarray, "items"]]:
        """Counts the interactions of each user and item, all or those that are kept."""
        users = np.zeros(len(self.user_ids), np.int64)
        items = np.zeros(len(self.item_ids), np.int64)
        for part in stretches(len(self.users)):
            chosen = slice(None) if keep is None else keep[part]
            add(users, self.users[part][chosen])
            add(items, self.items[part][chosen])
        return users, items


def add(counts: Int64[np.ndarray, "n"], values: np.ndarray, weight: int = 1) -> None:
    """Adds the number of times that each value occurs to its count."""
    if len(values):
        low = values.min()  # a stretch has few of all users
        found = np.bincount(values - low)
        counts[low : low + len(found)] += weight * found


def stretches(total: int) -> Iterable[slice]:
    """Returns slices that cover ``total`` rows."""
    return (slice(start, start + PART) for start in range(0, total, PART))


def gather(frames: Iterable[pl.DataFrame], room: str) -> Rows:
    """Writes the parts that `readers.read_parts` yields, filtered, one after the other.

    Args:
        frames: the parts, with the column target_ok.
        room: the directory for the arrays' files.
    """
    user_ids, known = [], pl.DataFrame(schema={"id": pl.Null, "code": pl.Int32})
    users_before = 0
    with GrowingArrays(room) as arrays:
        for frame in frames:
            users, ids = encode(frame["user"])
            order = np.argsort(users, kind="stable")  # each user stays in the order of time
            arrays.append("users", (users[order] + users_before).astype(np.int32))
            user_ids.append(ids)
            users_before += len(ids)
            items, ids = encode(frame["item"])
            known, codes = _with_new(known, ids)
            arrays.append("items", codes[items][order])
            for name in {"timestamp", "split", "target_ok"}.intersection(frame.columns):
                arrays.append(name, frame[name].to_numpy()[order])
        found = arrays.finish()
    return Rows(
        found["users"],
        found["items"],
        found["target_ok"],
        found.get("timestamp"),
        found.get("split"),
        pl.concat(_of_one_type(user_ids)),
        known["id"],
    )


def _of_one_type(ids: Sequence[pl.Series]) -> Sequence[pl.Series]:
    """Returns ids as they are, or all as Strings where some are."""
    if len({one.dtype for one in ids}) == 1:
        return ids
    return [one.cast(pl.String) for one in ids]


def _with_new(known: pl.DataFrame, ids: pl.Series) -> tuple[pl.DataFrame, Int32[np.ndarray, "n"]]:
    """Returns the known ids with those that are new, and the number of each of the ids."""
    if known.is_empty():
        known = known.with_columns(known["id"].cast(ids.dtype))
    before, ids = _of_one_type([known["id"], ids])
    known = known.with_columns(before)
    found = ids.alias("id").to_frame().join(known, on="id", how="left", maintain_order="left")
    codes = found["code"].fill_null(-1).to_numpy().copy()
    new = np.flatnonzero(codes < 0)
    codes[new] = len(known) + np.arange(len(new))
    more = pl.DataFrame({"id": ids.gather(new), "code": codes[new]})
    return pl.concat([known, more]), codes
