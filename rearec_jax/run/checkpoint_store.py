"""Writes and reads the numbered checkpoints of one directory, with Orbax."""

from collections.abc import Iterator, Mapping
import contextlib
import pathlib
from typing import Any

import jax

from rearec_jax.errors import UserError
from rearec_jax.run import files

Record = Mapping[str, Any]
_RECORD = {"progress", "best_step", "leaves", "checksums"}


class UnusableError(Exception):
    """A reason, in words for users, why a checkpoint cannot be used."""


class Store:
    """A directory of checkpoints, of which the newest ``keep`` stay.

    Orbax is imported where it is first needed, so that a new run does not wait for it (0.4 s)
    before the first step.
    """

    def __init__(self, directory: pathlib.Path, keep: int):
        self.directory = directory.absolute()
        self._keep = keep
        self._open_manager: Any = None
        self._has_saved = False

    def numbers(self) -> list[int]:
        """Returns the numbers of whole checkpoints, ascending; without any, Orbax is not loaded."""
        if self._open_manager is None and not self.directory.is_dir():
            return []
        return sorted(self._manager.all_steps())

    def save(self, number: int, leaves: Mapping[str, Any], record: Mapping[str, Any]) -> None:
        """Begins to save arrays and a record; returns once the arrays may be overwritten."""
        from orbax.checkpoint import args

        with self._explained():
            if not self._has_saved:
                self._remove_leftovers()
                self._has_saved = True
            items = args.Composite(state=args.StandardSave(leaves), record=args.JsonSave(record))
            self._manager.save(number, args=items, force=True)

    def delete(self, number: int) -> None:
        """Deletes a checkpoint, after the save that is under way."""
        with self._explained():
            self._manager.wait_until_finished()
            self._manager.delete(number)

    def read_record(self, number: int) -> Record:
        """Reads the record of a checkpoint.

        Raises:
            UnusableError: it is no record of this program.
            Exception: it is damaged.
        """
        from orbax.checkpoint import JsonCheckpointHandler

        record = self._read(JsonCheckpointHandler(), number, "record")
        if not isinstance(record, dict) or not record.keys() >= _RECORD:
            raise UnusableError("another program wrote it")
        return record

    def read_leaves(
        self, number: int, wanted: Mapping[str, jax.ShapeDtypeStruct]
    ) -> dict[str, jax.Array]:
        """Reads the arrays of a checkpoint, in the order of ``wanted``.

        Raises:
            Exception: they are damaged.
        """
        from orbax.checkpoint import StandardCheckpointHandler, args

        wishes = args.StandardRestore(wanted)
        restored = self._read(StandardCheckpointHandler(), number, "state", wishes)
        return {name: restored[name] for name in wanted}

    def reload(self) -> None:
        """Looks at the directory anew."""
        self._manager.reload()

    def wait(self) -> None:
        """Waits until all is on disk. Raises UserError if that failed."""
        if self._open_manager is not None:
            with self._explained():
                self._open_manager.wait_until_finished()

    def close(self) -> None:
        """Finishes the save under way and ends the background threads."""
        if self._open_manager is not None:
            with self._explained():
                self._open_manager.close()
            self._open_manager = None

    @property
    def _manager(self) -> Any:
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


def _last_words(error: Exception) -> str:
    """Returns the operating system's reason, which comes last in messages of the storage."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).partition(" [os_error_code")[0].rpartition(": ")[2]
