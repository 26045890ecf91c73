"""Chooses among the checkpoints of a directory: the newest that is whole and fits the model."""

from collections.abc import Callable, Mapping
import logging
import pathlib
from typing import Any, TypeVar

import jax

from rearec_jax.devices import hosts
from rearec_jax.errors import UserError
from rearec_jax.run import checkpoint_leaves
from rearec_jax.run.checkpoint_leaves import PyTree
from rearec_jax.run.checkpoint_store import Record, Store, UnusableError

T = TypeVar("T")
Refuse = Callable[[Record], str]  # a reason to prefer an older checkpoint, or ""

_log = logging.getLogger(__name__)


class Series:
    """The checkpoints of one kind, the last ones or the best, of which the newest ``keep`` stay."""

    def __init__(self, directory: pathlib.Path, keep: int):
        self.store = Store(directory, keep)
        self._unusable: list[int] = []

    def save(self, number: int, state: PyTree, record: Mapping[str, Any]) -> None:
        """Begins to save a state, in the place of what is damaged or undone."""
        leaves = checkpoint_leaves.by_path(state)
        for stale in self.store.numbers():
            # It is damaged, or of steps that were undone by going back to an older checkpoint:
            # it would be taken for newer than the one that is saved now.
            if stale >= number or stale in self._unusable:
                self.store.delete(stale)
        described = {
            "progress": dict(record["progress"]),
            "leaves": {name: checkpoint_leaves.describe(leaf) for name, leaf in leaves.items()},
            "checksums": checkpoint_leaves.checksums(leaves),
        }
        self.store.save(number, leaves, {**record, **described})

    def newest(
        self, abstract_state: PyTree, refuse: Refuse = lambda record: ""
    ) -> tuple[PyTree, Record] | None:
        """Returns (state, record) of the newest checkpoint that can be read, or None without any.

        Raises:
            UserError: there are checkpoints, and none can be used.
        """
        reasons: dict[int, str] = {}
        for number, record in self._records(reasons, refuse):
            state, reason = self._attempt_state(number, record, abstract_state)
            if not reason:
                self._warn(reasons, number)
                return state, record
            reasons[number] = reason
        if not reasons:
            return None
        if self._has_changed():  # a run goes on and has replaced what was read here
            return self.newest(abstract_state, refuse)
        listed = "".join(f"\n  {number}: {reason}" for number, reason in reasons.items())
        raise UserError(
            f"no checkpoint in {self.store.directory} can be used; go back to the configuration"
            f" that it was trained with, or choose another --workdir to train anew:{listed}"
        )

    def newest_progress(self) -> dict[str, Any] | None:
        """Returns the progress of the newest checkpoint whose record can be read, or None."""
        records = self._records({}, lambda record: "")
        return records[0][1]["progress"] if records else None

    def _has_changed(self) -> bool:
        known = self.store.numbers()
        self.store.reload()
        return hosts.any_host([self.store.numbers() != known])[0]

    def _records(self, reasons: dict[int, str], refuse: Refuse) -> list[tuple[int, Record]]:
        """Returns numbers and records, best choice first; adds known ``reasons`` against them."""
        good, refused = [], []
        for number in reversed(self.store.numbers()):
            record, reason = _attempt(self.store.read_record, number)
            if record is not None:
                reason = hosts.any_text(refuse(record))
                (refused if reason else good).append((number, record))
            if reason:
                reasons[number] = reason
        return good + refused

    def _attempt_state(
        self, number: int, record: Record, abstract_state: PyTree
    ) -> tuple[PyTree, str]:
        """Returns the state, or the reason why it cannot be used."""
        leaves, reason = _attempt(self._read_leaves, number, record, abstract_state)
        if leaves is None:
            return None, reason
        # The sums are over all processes' shards, so each must have read its shard before.
        if checkpoint_leaves.checksums(leaves) != record["checksums"]:
            return None, "its arrays are not those that were saved"
        structure = jax.tree.structure(abstract_state)
        return jax.tree.unflatten(structure, list(leaves.values())), ""

    def _read_leaves(
        self, number: int, record: Record, abstract_state: PyTree
    ) -> dict[str, jax.Array]:
        """Returns the leaves by name, in the order of ``abstract_state``."""
        named = checkpoint_leaves.by_path(abstract_state)
        wanted = {name: checkpoint_leaves.placed(leaf) for name, leaf in named.items()}
        _check_same_leaves(record["leaves"], wanted)
        return self.store.read_leaves(number, wanted)

    def _warn(self, reasons: Mapping[int, str], used: int) -> None:
        self._unusable += [number for number in reasons if number != used]
        for number, reason in reasons.items():
            # An older one may be half deleted: a kill may come in the middle.
            if number < used or not hosts.is_first():
                continue
            why = f"although {reason}" if number == used else f"not {number}: {reason}"
            _log.warning("%s: using checkpoint %d, %s", self.store.directory, used, why)


def _attempt(work: Callable[..., T], *arguments: Any) -> tuple[T | None, str]:
    """Returns the result of ``work``, or None and the reason why it failed in some process."""
    result, reason = None, ""
    try:
        result = work(*arguments)
    except UnusableError as error:
        reason = str(error)
    except Exception as error:  # no documentation says which of them damage raises
        first_line = str(error).strip().partition("\n")[0]
        reason = f"it cannot be read: {type(error).__name__}: {first_line}"
    reason = hosts.any_text(reason)
    return (None if reason else result), reason


def _check_same_leaves(
    saved: Mapping[str, str], wanted: Mapping[str, jax.ShapeDtypeStruct]
) -> None:
    for name in [*wanted, *(name for name in saved if name not in wanted)]:
        has = saved.get(name, "absent")
        needs = checkpoint_leaves.describe(wanted[name]) if name in wanted else "absent"
        if has != needs:
            raise UnusableError(
                f"it is of another model: {name} is {has} there and {needs} in this configuration"
            )
