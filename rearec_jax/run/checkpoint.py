"""Checkpoints of a run: the last ones, to resume from, and the best one, to evaluate.

    <directory>/last/<number>/   the newest two
    <directory>/best/<number>/   the best so far

Each holds the state (Orbax: one array a leaf, every host writes its shards) and a small JSON
record: the caller's progress, and the names, types and shapes of the leaves. The caller's numbers
rise with what is done. A directory gets its name when all in it is written, and older ones go only
then, so a crash at any moment leaves a whole checkpoint. Reading falls back to an older one where
the newest is damaged or of another model, and says so; several processes agree on each attempt, for
the shard of one of them may be damaged alone.

Leaves are named by their path in the tree ("params.encoder.kernel"), so what is on disk does not
depend on the Python types of the containers, and nothing is pickled.
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
    """Why a checkpoint cannot be used, in words for people."""


class Checkpoints:
    """Saves and restores the state of a run. Every process of a run makes the same calls.

    Saving returns once the state is copied to host memory: its buffers may be donated to the next
    step at once, and the writing goes on in the background. One save is under way at a time and
    kind; the next one of that kind waits for it.
    """

    def __init__(self, directory: pathlib.Path):
        self._last = _Series(directory / "last", keep=2)
        self._best = _Series(directory / "best", keep=1)
        self._newest_best: int | None = None  # number of the best checkpoint, saved or being saved
        self._pending_best: int | None = None

    def load_ahead(self) -> None:
        """Imports Orbax in the background (0.4 s): the first save would wait for it."""
        load, module = importlib.import_module, "orbax.checkpoint"
        threading.Thread(target=load, args=(module,), name="orbax").start()

    def save_last(self, number: int, state: PyTree, progress: Progress) -> None:
        """Saves what a later process resumes from; the newest two are kept."""
        # The progress of this checkpoint speaks of the best one. If the process dies while both
        # are being written, ``restore_last`` sees which is missing and goes back one; that needs
        # the checkpoint before this one, so only the save of the same number may be under way.
        if self._pending_best not in (None, number):
            self._best.wait()
            self._pending_best = None
        self._last.save(number, state, {"progress": progress, "best_step": self._newest_best})

    def save_best(self, number: int, state: PyTree, progress: Progress) -> None:
        """Saves a new best; the old one goes when this one is whole. Call before ``save_last``."""
        self._best.save(number, state, {"progress": progress, "best_step": number})
        self._newest_best = self._pending_best = number

    def restore_last(self, abstract_state: PyTree) -> tuple[PyTree, dict[str, Any]] | None:
        """State and progress to resume from, or None where nothing was saved.

        ``abstract_state`` has the tree of the state with a ``jax.ShapeDtypeStruct`` a leaf; arrays
        are placed on its shardings (on the first local device where it has none).

        Raises:
            UserError: there are checkpoints, and each is damaged or of another model.
        """
        found = self._last.newest(abstract_state, self._lacks_its_best)
        if found is None:
            return None
        state, record = found
        self._newest_best = record["best_step"]
        return state, record["progress"]

    def restore_best(self, abstract_state: PyTree) -> tuple[PyTree, dict[str, Any]] | None:
        """State and progress of the best checkpoint; as ``restore_last``.

        Waits for a best one that is being saved, and for no other.
        """
        self._best.wait()
        self._pending_best = None
        found = self._best.newest(abstract_state)
        return None if found is None else (found[0], found[1]["progress"])

    def best_progress(self) -> dict[str, Any] | None:
        """Progress alone of the best checkpoint, or None."""
        return self._best.newest_progress()

    def last_progress(self) -> dict[str, Any] | None:
        """Progress alone of the newest checkpoint whose record can be read, or None."""
        return self._last.newest_progress()

    def wait(self) -> None:
        """Returns when all that was saved is on disk. Raises UserError if that failed."""
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
        """Why this checkpoint must not be resumed from, or ""."""
        number = record["best_step"]
        # A later best is of steps that will be computed again, and then saved again.
        if number is None or any(best >= number for best in self._best.numbers()):
            return ""
        return f"the best checkpoint {number} that it builds on was never finished"


class _Series:
    """One directory of checkpoints, of which the newest ``keep`` stay."""

    def __init__(self, directory: pathlib.Path, keep: int):
        self.directory = directory.absolute()
        self._keep = keep
        self._open_manager: Any = None
        self._unusable: list[int] = []
        self._saved = False

    def numbers(self) -> list[int]:
        """Those that are whole on disk, rising. Does not load Orbax where there are none."""
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
                # Damaged, or of a future that was abandoned by going back to an older checkpoint:
                # it would be taken for newer than what is saved now.
                if stale >= number or stale in self._unusable:
                    self._manager.wait_until_finished()
                    self._manager.delete(stale)
            items = args.Composite(state=args.StandardSave(leaves), record=args.JsonSave(record))
            self._manager.save(number, args=items, force=True)

    def newest(
        self, abstract_state: PyTree, refuse: Callable[[Record], str] = lambda record: ""
    ) -> tuple[PyTree, Record] | None:
        """(state, record) of the newest checkpoint that can be read, or None if there is none.

        ``refuse(record)`` gives a reason to prefer an older checkpoint, or "".
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
            if self._has_changed():  # by a run that goes on: what was read here was replaced
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
        """Numbers and their records, best choice first; fills in why not, where that is known."""
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

        A run that starts fresh need not wait for its import (0.4 s) before the first step.
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
            # Named, or the manager takes the parts from whatever checkpoint it finds first.
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
        """The state, or why it cannot be used."""
        leaves, reason = _attempt(lambda: self._read_leaves(number, record, abstract_state))
        if leaves is None:
            return None, reason
        # Sums over all processes' shards, so not before each of them has read its own.
        if _checksums(leaves) != record["checksums"]:
            return None, "its arrays are not those that were saved"
        structure = jax.tree.structure(abstract_state)
        return jax.tree.unflatten(structure, list(leaves.values())), ""

    def _read_leaves(
        self, number: int, record: Record, abstract_state: PyTree
    ) -> dict[str, jax.Array]:
        """In the order of ``abstract_state``."""
        from orbax.checkpoint import StandardCheckpointHandler, args

        wanted = {name: _placed(leaf) for name, leaf in _named_leaves(abstract_state).items()}
        _check_same_leaves(record["leaves"], wanted)
        wishes = args.StandardRestore(wanted)
        restored = self._read(StandardCheckpointHandler(), number, "state", wishes)
        return {name: restored[name] for name in wanted}

    def _read(self, handler: Any, number: int, part: str, *wishes: Any) -> Any:
        """By this process alone: the manager would wait for one that cannot read its shard."""
        from orbax.checkpoint import Checkpointer
        from orbax.checkpoint.options import MultiprocessingOptions

        this = jax.process_index()
        alone = MultiprocessingOptions(primary_host=this, active_processes={this})
        reader = Checkpointer(handler, multiprocessing_options=alone)
        return reader.restore(self.directory / str(number) / part, *wishes)

    def _remove_leftovers(self) -> None:
        """Deletes what a crash left half written.

        Only a run that saves may do so: to one that only reads, the same names may be another
        process's save under way.
        """
        if jax.process_index() == 0:
            for path in self.directory.glob("*.orbax-checkpoint-tmp*"):
                files.remove_tree(path)

    def _warn(self, reasons: Mapping[int, str], used: int) -> None:
        self._unusable += [number for number in reasons if number != used]
        for number, reason in reasons.items():
            # An older one: a kill may come while it is being deleted.
            if number < used or not hosts.is_first():
                continue
            why = f"although {reason}" if number == used else f"not {number}: {reason}"
            _log.warning("%s: using checkpoint %d, %s", self.directory, used, why)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            # The array storage reports a full disk as a ValueError with this word in its text.
            if not isinstance(error, OSError) and "os_error_code" not in str(error):
                raise
            raise UserError(
                f"cannot write {self.directory}: {_last_words(error)}; make room and permission"
                " there, or choose another --workdir"
            ) from error


def _attempt(work: Callable[[], T]) -> tuple[T | None, str]:
    """What ``work`` returns, or None and why it failed, in this process or in another."""
    result, reason = None, ""
    try:
        result = work()
    except Exception as error:  # what damage raises is not specified
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
    """Leaves by their path, in the tree's order."""
    pairs = jax.tree_util.tree_flatten_with_path(tree)[0]
    named = {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in pairs}
    if len(named) != len(pairs):
        raise ValueError("two leaves of the state have the same path")
    return named


def _checksums(leaves: Mapping[str, Any]) -> dict[str, int]:
    """Sum of the bits of each array. The storage does not notice a changed byte in an array."""
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
    """Type and shape: ``float32[12101,256]``."""
    return f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"


def _placed(leaf: Any) -> jax.ShapeDtypeStruct:
    sharding = getattr(leaf, "sharding", None)
    if sharding is None:
        sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _last_words(error: Exception) -> str:
    """The operating system's reason: the storage puts the chain of what it was doing before it."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).partition(" [os_error_code")[0].rpartition(": ")[2]


def _reason(error: Exception) -> str:
    if isinstance(error, _UnusableError):
        return str(error)
    first_line = str(error).strip().partition("\n")[0]
    return f"it cannot be read: {type(error).__name__}: {first_line}"
