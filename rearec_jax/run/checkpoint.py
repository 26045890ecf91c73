"""Saves and restores checkpoints: the last ones, to resume from, and the best, to evaluate.

    <directory>/last/<number>/   the newest two
    <directory>/best/<number>/   the best so far

Each holds the state (Orbax: one array a leaf, every host writes its shards) and a small JSON
record: the caller's progress, and the names, types and shapes of the leaves. The caller's numbers
ascend. A directory gets its name when all in it is written, and older ones are deleted only then,
so a crash at any moment leaves a whole checkpoint. Where the newest is damaged or of another model,
an older one is read, with a warning; several processes agree on each attempt, because the shard of
one of them may be damaged alone.

Leaves are named by their path in the tree ("params.encoder.kernel"), so the files do not depend on
the Python types of the containers, and nothing is pickled.
"""

from collections.abc import Callable, Iterator, Mapping
import contextlib
import functools
import importlib
import logging
import pathlib
import threading
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from rearec_jax.devices import hosts
from rearec_jax.errors import UserError
from rearec_jax.run import files

PyTree = Any
T = TypeVar("T")
Progress = Mapping[str, int | float | str | bool | None]
Record = Mapping[str, Any]
_RECORD = {"progress", "best_step", "leaves", "checksums"}

_log = logging.getLogger(__name__)


class _UnusableError(Exception):
    """A reason, in words for users, why a checkpoint cannot be used."""


class Checkpoints:
    """The checkpoints of a run. Every process of the run makes the same calls.

    Saving returns once the state is copied to host memory: its buffers may be donated to the next
    step at once, and the writing goes on in the background. Of each kind, last and best, one save
    is under way at a time; the next one waits for it.
    """

    def __init__(self, directory: pathlib.Path):
        self._last = _Series(directory / "last", keep=2)
        self._best = _Series(directory / "best", keep=1)
        self._newest_best: int | None = None  # of the best checkpoint, saved or being saved
        self._pending_best: int | None = None

    def load_ahead(self) -> None:
        """Imports Orbax in the background (0.4 s): the first save would wait for it."""
        load, module = importlib.import_module, "orbax.checkpoint"
        threading.Thread(target=load, args=(module,), name="orbax").start()

    def save_last(self, number: int, state: PyTree, progress: Progress) -> None:
        """Saves the state from which a later process resumes; the newest two are kept."""
        # The record of this checkpoint names the best one. If the process dies while both are
        # being written, ``restore_last`` sees which is missing and goes back one; that needs
        # the checkpoint before this one, so only the save of the same number may be under way.
        if self._pending_best not in (None, number):
            self._best.wait()
            self._pending_best = None
        self._last.save(number, state, {"progress": progress, "best_step": self._newest_best})

    def save_best(self, number: int, state: PyTree, progress: Progress) -> None:
        """Saves a new best, before ``save_last``; the old one is deleted when this one is whole."""
        self._best.save(number, state, {"progress": progress, "best_step": number})
        self._newest_best = self._pending_best = number

    def restore_last(self, abstract_state: PyTree) -> tuple[PyTree, dict[str, Any]] | None:
        """Returns the state and progress to resume from, or None where nothing was saved.

        ``abstract_state`` has the tree of the state with a ``jax.ShapeDtypeStruct`` a leaf; arrays
        are placed by its shardings (on the first local device where it has none).

        Raises:
            UserError: there are checkpoints, but each is damaged or of another model.
        """
        found = self._last.newest(abstract_state, self._lacks_its_best)
        if found is None:
            return None
        state, record = found
        self._newest_best = record["best_step"]
        return state, record["progress"]

    def restore_best(self, abstract_state: PyTree) -> tuple[PyTree, dict[str, Any]] | None:
        """Returns the state and progress of the best checkpoint, as ``restore_last``.

        It waits for a best one that is being saved, and for no other.
        """
        self._best.wait()
        self._pending_best = None
        found = self._best.newest(abstract_state)
        return None if found is None else (found[0], found[1]["progress"])

    def best_progress(self) -> dict[str, Any] | None:
        """Returns the progress of the best checkpoint without its state, or None."""
        return self._best.newest_progress()

    def last_progress(self) -> dict[str, Any] | None:
        """Returns the progress of the newest checkpoint whose record can be read, or None."""
        return self._last.newest_progress()

    def wait(self) -> None:
        """Waits until all that was saved is on disk. Raises UserError if that failed."""
        self._best.wait()
        self._pending_best = None
        self._last.wait()

    def close(self) -> None:
        """Finishes the saves under way and ends the background threads."""
        self._best.close()
        self._last.close()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _lacks_its_best(self, record: Record) -> str:
        """Returns the reason not to resume from this checkpoint, or ""."""
        number = record["best_step"]
        # A later best belongs to steps that will be computed and saved again.
        if number is None or any(best >= number for best in self._best.numbers()):
            return ""
        return f"the best checkpoint {number} that it builds on was never finished"


class _Series:
    """A directory of checkpoints, of which the newest ``keep`` stay."""

    def __init__(self, directory: pathlib.Path, keep: int):
        self.directory = directory.absolute()
        self._keep = keep
        self._open_manager: Any = None
        self._unusable: list[int] = []
        self._saved = False

    def numbers(self) -> list[int]:
        """Returns the numbers of whole checkpoints, ascending; without any, Orbax is not loaded."""
        if self._open_manager is None and not self.directory.is_dir():
            return []
        return sorted(self._manager.all_steps())

    def save(self, number: int, state: PyTree, record: dict[str, Any]) -> None:
        from orbax.checkpoint import args  # see _manager

        leaves = _named_leaves(state)
        record = record | {
            "progress": dict(record["progress"]),
            "leaves": {name: _describe(leaf) for name, leaf in leaves.items()},
            "checksums": _checksums(leaves),
        }
        with self._explained():
            if not self._saved:
                self._remove_leftovers()
                self._saved = True
            for stale in self.numbers():
                # It is damaged, or of steps that were undone by going back to an older checkpoint:
                # it would be taken for newer than the one that is saved now.
                if stale >= number or stale in self._unusable:
                    self._manager.wait_until_finished()
                    self._manager.delete(stale)
            items = args.Composite(state=args.StandardSave(leaves), record=args.JsonSave(record))
            self._manager.save(number, args=items, force=True)

    def newest(
        self, abstract_state: PyTree, refuse: Callable[[Record], str] = lambda record: ""
    ) -> tuple[PyTree, Record] | None:
        """Returns (state, record) of the newest checkpoint that can be read, or None without any.

        ``refuse(record)`` returns a reason to prefer an older checkpoint, or "".
        """
        reasons: dict[int, str] = {}
        for number, record in self._records(reasons, refuse):
            state, reason = self._attempt_state(number, record, abstract_state)
            if reason:
                reasons[number] = reason
                continue
            self._warn(reasons, number)
            return state, record
        if reasons:
            if self._has_changed():  # a run goes on and has replaced what was read here
                return self.newest(abstract_state, refuse)
            listed = "".join(f"\n  {number}: {reason}" for number, reason in reasons.items())
            raise UserError(
                f"no checkpoint in {self.directory} can be used; go back to the configuration that"
                f" it was trained with, or choose another --workdir to train anew:{listed}"
            )
        return None

    def _has_changed(self) -> bool:
        known = self.numbers()
        self._manager.reload()
        return hosts.any_host([self.numbers() != known])[0]

    def newest_progress(self) -> dict[str, Any] | None:
        for _, record in self._records({}, lambda record: ""):
            return record["progress"]
        return None

    def _records(
        self, reasons: dict[int, str], refuse: Callable[[Record], str]
    ) -> list[tuple[int, Record]]:
        """Returns numbers and records, best choice first; adds known ``reasons`` against them."""
        good, refused = [], []
        for number in reversed(self.numbers()):
            record, reason = _attempt(functools.partial(self._read_record, number))
            if record is None:
                reasons[number] = reason
                continue
            reason = hosts.any_text(refuse(record))
            if reason:
                reasons[number] = reason
            (refused if reason else good).append((number, record))
        return good + refused

    def wait(self) -> None:
        if self._open_manager is not None:
            with self._explained():
                self._open_manager.wait_until_finished()

    def close(self) -> None:
        if self._open_manager is not None:
            with self._explained():
                self._open_manager.close()
            self._open_manager = None

    @property
    def _manager(self) -> Any:
        """The Orbax manager, made when first needed.

        So a new run does not wait for its import (0.4 s) before the first step.
        """
        if self._open_manager is None:
            from orbax.checkpoint import CheckpointManager, CheckpointManagerOptions
            from orbax.checkpoint.checkpoint_managers import LatestN
            from orbax.checkpoint.options import MultiprocessingOptions

            self.directory.mkdir(parents=True, exist_ok=True)
            # Processes wait for each other by name; last and best may be saved at the same time.
            names = MultiprocessingOptions(barrier_sync_key_prefix=self.directory.name)
            options = CheckpointManagerOptions(
                preservation_policy=LatestN(self._keep), multiprocessing_options=names
            )
            # Without names the manager takes the parts from the first checkpoint that it finds.
            self._open_manager = CheckpointManager(
                self.directory, item_names=("state", "record"), options=options
            )
        return self._open_manager

    def _read_record(self, number: int) -> Record:
        from orbax.checkpoint import JsonCheckpointHandler

        record = self._read(JsonCheckpointHandler(), number, "record")
        if not isinstance(record, dict) or not record.keys() >= _RECORD:
            raise _UnusableError("another program wrote it")
        return record

    def _attempt_state(
        self, number: int, record: Record, abstract_state: PyTree
    ) -> tuple[PyTree, str]:
        """Returns the state, or the reason why it cannot be used."""
        leaves, reason = _attempt(lambda: self._read_leaves(number, record, abstract_state))
        if leaves is None:
            return None, reason
        # The sums are over all processes' shards, so each must have read its shard before.
        if _checksums(leaves) != record["checksums"]:
            return None, "its arrays are not those that were saved"
        structure = jax.tree.structure(abstract_state)
        return jax.tree.unflatten(structure, list(leaves.values())), ""

    def _read_leaves(
        self, number: int, record: Record, abstract_state: PyTree
    ) -> dict[str, jax.Array]:
        """Returns the leaves by name, in the order of ``abstract_state``."""
        from orbax.checkpoint import StandardCheckpointHandler, args

        wanted = {name: _placed(leaf) for name, leaf in _named_leaves(abstract_state).items()}
        _check_same_leaves(record["leaves"], wanted)
        wishes = args.StandardRestore(wanted)
        restored = self._read(StandardCheckpointHandler(), number, "state", wishes)
        return {name: restored[name] for name in wanted}

    def _read(self, handler: Any, number: int, part: str, *wishes: Any) -> Any:
        """Reads a part in this process alone: the manager would wait for one that cannot read."""
        from orbax.checkpoint import Checkpointer
        from orbax.checkpoint.options import MultiprocessingOptions

        this = jax.process_index()
        alone = MultiprocessingOptions(primary_host=this, active_processes={this})
        reader = Checkpointer(handler, multiprocessing_options=alone)
        return reader.restore(self.directory / str(number) / part, *wishes)

    def _remove_leftovers(self) -> None:
        """Deletes the files that a crash left half written.

        Only a run that saves may do so: to one that only reads, the same names may belong to a save
        under way in another process.
        """
        if jax.process_index() == 0:
            for path in self.directory.glob("*.orbax-checkpoint-tmp*"):
                files.remove_tree(path)

    def _warn(self, reasons: Mapping[int, str], used: int) -> None:
        self._unusable += [number for number in reasons if number != used]
        for number, reason in reasons.items():
            # An older one may be half deleted: a kill may come in the middle.
            if number < used or not hosts.is_first():
                continue
            why = f"although {reason}" if number == used else f"not {number}: {reason}"
            _log.warning("%s: using checkpoint %d, %s", self.directory, used, why)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            # The array storage reports a full disk as a ValueError with this word in its message.
            if not isinstance(error, OSError) and "os_error_code" not in str(error):
                raise
            raise UserError(
                f"cannot write {self.directory}: {_last_words(error)}; make room and permission"
                " there, or choose another --workdir"
            ) from error


def _attempt(work: Callable[[], T]) -> tuple[T | None, str]:
    """Returns the result of ``work``, or None and the reason why it failed in some process."""
    result, reason = None, ""
    try:
        result = work()
    except Exception as error:  # no documentation says which of them damage raises
        reason = _reason(error)
    reason = hosts.any_text(reason)
    return (None if reason else result), reason


def _check_same_leaves(
    saved: Mapping[str, str], wanted: Mapping[str, jax.ShapeDtypeStruct]
) -> None:
    for name in [*wanted, *(name for name in saved if name not in wanted)]:
        has = saved.get(name, "absent")
        needs = _describe(wanted[name]) if name in wanted else "absent"
        if has != needs:
            raise _UnusableError(
                f"it is of another model: {name} is {has} there and {needs} in this configuration"
            )


def _named_leaves(tree: PyTree) -> dict[str, Any]:
    """Returns the leaves by their path, in the tree's order."""
    pairs = jax.tree_util.tree_flatten_with_path(tree)[0]
    named = {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in pairs}
    if len(named) != len(pairs):
        raise ValueError("two leaves of the state have the same path")
    return named


def _checksums(leaves: Mapping[str, Any]) -> dict[str, int]:
    """Returns the sum of the bits of each array: the storage does not notice a changed byte."""
    names = sorted(leaves)
    arrays = [leaves[name] for name in names]
    if all(_is_in_host_memory(array) for array in arrays):
        # Not compiled, which takes longer than a hundred of these sums.
        return {
            name: _bit_sum(np.asarray(array)) for name, array in zip(names, arrays, strict=True)
        }
    return dict(zip(names, np.asarray(_bit_sums(arrays)).tolist(), strict=True))


def _is_in_host_memory(array: Any) -> bool:
    if not isinstance(array, jax.Array):
        return True
    is_cpu = all(device.platform == "cpu" for device in array.devices())
    return is_cpu and array.is_fully_addressable


def _bit_sum(array: np.ndarray) -> int:
    size = min(array.dtype.itemsize, 4)  # wider types become pairs of 32 bits
    bits = np.ascontiguousarray(array).reshape(-1).view(f"uint{8 * size}")
    return int(bits.sum(dtype=np.uint32))


@jax.jit  # on the device, so that it costs no copy; integers, so that the order does not matter
def _bit_sums(arrays: list[Any]) -> jax.Array:
    def bits(array: Any) -> jax.Array:
        if jnp.issubdtype(array.dtype, jnp.bool_):
            array = array.astype(jnp.uint8)
        size = min(array.dtype.itemsize, 4)  # wider types become pairs of 32 bits
        return jax.lax.bitcast_convert_type(array, jnp.dtype(f"uint{8 * size}"))

    return jnp.stack([jnp.sum(bits(array), dtype=jnp.uint32) for array in arrays])


def _describe(leaf: Any) -> str:
    """Returns type and shape, as ``float32[12101,256]``."""
    return f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"


def _placed(leaf: Any) -> jax.ShapeDtypeStruct:
    sharding = getattr(leaf, "sharding", None)
    if sharding is None:
        sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _last_words(error: Exception) -> str:
    """Returns the operating system's reason, which comes last in messages of the storage."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).partition(" [os_error_code")[0].rpartition(": ")[2]


def _reason(error: Exception) -> str:
    if isinstance(error, _UnusableError):
        return str(error)
    first_line = str(error).strip().partition("\n")[0]
    return f"it cannot be read: {type(error).__name__}: {first_line}"
