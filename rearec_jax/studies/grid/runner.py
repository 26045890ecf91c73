"""Runs cells one after another, each in a process of its own, and counts how they ended."""

from collections.abc import Iterator, Sequence
import contextlib
import dataclasses
import fcntl
import shlex
import signal
import subprocess
from types import FrameType

from rearec_jax.run.interruption import handled
from rearec_jax.run.workdir import explained
from rearec_jax.studies.grid.cells import Cell


@dataclasses.dataclass
class Tally:
    """The counts of how the cells of a grid ended."""

    cells: int  # the number of cells
    done: int = 0  # the number of cells that are done, in this run or before
    # the cells that another grid is running
    elsewhere: list[Cell] = dataclasses.field(default_factory=list)
    # the cells that failed, with their exit codes
    failed: list[tuple[Cell, int]] = dataclasses.field(default_factory=list)

    @property
    def left(self) -> int:
        """The number of cells that were not started, or were interrupted."""
        return self.cells - self.done - len(self.elsewhere) - len(self.failed)

    def say(self) -> None:
        """Prints the counts, and the commands of the cells that failed."""
        counts = [f"{self.done} done"]
        if self.elsewhere:
            counts.append(f"{len(self.elsewhere)} in the hands of another grid")
        if self.failed:
            counts.append(f"{len(self.failed)} failed")
        if self.left:
            counts.append(f"{self.left} to do")
        _print(f"{_count(self.cells)}: {', '.join(counts)}")
        for cell, code in self.failed:
            _print(f"failed ({_reason(code)}): {shlex.join(cell.command)}")


def run_cells(cells: Sequence[Cell]) -> Tally:
    """Runs the cells that are not done, until the end or Ctrl-C.

    A cell that fails does not stop the others.

    Raises:
        UserError: the root cannot be written.
    """
    tally = Tally(len(cells))
    done = sum(cell.is_done for cell in cells)
    _print(f"{_count(len(cells))}: {done} done, {len(cells) - done} to do")
    with _Children() as children:
        for number, cell in enumerate(cells, start=1):
            if children.stopping:
                tally.done += cell.is_done
                continue
            _run(cell, f"cell {number} of {len(cells)}", children, tally)
    return tally


def _run(cell: Cell, title: str, children: "_Children", tally: Tally) -> None:
    if cell.is_done:
        tally.done += 1
        return
    with _locked(cell) as lock:
        if lock is None:
            _print(f"{title}: {cell.name} is in the hands of another grid; skipped")
            tally.elsewhere.append(cell)
            return
        if not cell.is_done:  # another grid may have ended it just now
            _print(f"{title}: {shlex.join(cell.command)}")
            code = children.call(cell.command, lock)
            if children.stopping and not cell.is_done:
                return
            if code or not cell.is_done:
                _print(f"{title}: {cell.name} failed ({_reason(code)})")
                tally.failed.append((cell, code))
                return
    tally.done += 1


class _Children(contextlib.ExitStack):
    """Runs one child process at a time; while open, it handles Ctrl-C and SIGTERM.

    Either of them sets ``stopping``, and the child ends by itself. A terminal sends Ctrl-C to the
    child as well, which saves and ends. SIGTERM comes to this process alone and is handed on.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stopping = False
        self._terminated = False
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "_Children":
        self.enter_context(handled(self._stop))
        return self

    def call(self, command: Sequence[str], lock: int) -> int:
        """Runs a command and returns its exit code, negative for the signal that killed it.

        The child inherits the lock, a file descriptor: should this process be killed, the cell
        stays locked while the child runs.
        """
        with subprocess.Popen(command, pass_fds=[lock]) as child:
            self._child = child
            if self._terminated:  # the signal came while the child was being started
                child.terminate()
            code = child.wait()
        self._child = None
        return code

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True
        if number == signal.SIGTERM:
            self._terminated = True
            if self._child is not None:
                self._child.terminate()


@contextlib.contextmanager
def _locked(cell: Cell) -> Iterator[int | None]:
    """Locks a cell; yields the lock's file descriptor, or None while another grid has it."""
    with explained(cell.lock, "--root"):
        cell.lock.parent.mkdir(parents=True, exist_ok=True)
        file = cell.lock.open("a")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        yield file.fileno()


def _count(cells: int) -> str:
    return f"{cells} cell{'' if cells == 1 else 's'}"


def _reason(code: int) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}" if code else "it wrote no summary.json"


def _print(text: str) -> None:
    print(text, flush=True)  # the child writes to the same place
