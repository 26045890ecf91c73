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

from collections.abc import Mapping
import importlib
import pathlib
import threading
from typing import Any

from rearec_jax.run.checkpoint_leaves import PyTree
from rearec_jax.run.checkpoint_series import Series
from rearec_jax.run.checkpoint_store import Record

Progress = Mapping[str, Any]  # as JSON holds it


class Checkpoints:
    """The checkpoints of a run. Every process of the run makes the same calls.

    Saving returns once the state is copied to host memory: its buffers may be donated to the next
    step at once, and the writing goes on in the background. Of each kind, last and best, one save
    is under way at a time; the next one waits for it.
    """

    def __init__(self, directory: pathlib.Path):
        self._last = Series(directory / "last", keep=2)
        self._best = Series(directory / "best", keep=1)
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
            self._best.store.wait()
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
        self._best.store.wait()
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
        self._best.store.wait()
        self._pending_best = None
        self._last.store.wait()

    def close(self) -> None:
        """Finishes the saves under way and ends the background threads."""
        self._best.store.close()
        self._last.store.close()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _lacks_its_best(self, record: Record) -> str:
        """Returns the reason not to resume from this checkpoint, or ""."""
        number = record["best_step"]
        # A later best belongs to steps that will be computed and saved again.
        if number is None or any(best >= number for best in self._best.store.numbers()):
            return ""
        return f"the best checkpoint {number} that it builds on was never finished"
