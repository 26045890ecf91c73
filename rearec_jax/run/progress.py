"""Where training stands: a bar in a terminal, a plain line now and then elsewhere."""

from collections.abc import Mapping
import datetime
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

BAR_SECONDS = 0.1
LINE_SECONDS = 10.0
SHORT = {
    "cross_entropy": "ce",
    "shallow_cross_entropy": "shallow",
    "contrastive": "contrast",
    "kl_diversity": "kl",
}


class TrainingProgress:
    """Shows the epoch, how far it is, its loss parts, targets a second and the time it has left.

    ``update`` may be called every step: between two displays it only keeps the numbers. It takes
    plain floats, so showing them never waits for the device. The time left is that of the epoch:
    when the run ends is decided by early stopping.
    """

    def __init__(self, total_steps: int, steps_per_epoch: int, *, console: Console | None = None):
        """``total_steps``: updates of the whole run if it does not stop early."""
        self._console = console or Console()
        self._total_steps = total_steps
        self._steps_per_epoch = steps_per_epoch
        self._step = 0
        self._parts: Mapping[str, float] = {}
        self._rate = 0.0
        self._step_seconds = 0.0
        self._interval = BAR_SECONDS if self._console.is_terminal else LINE_SECONDS
        self._next_display = 0.0
        self._shown_step = 0
        self._bar: Progress | None = None

    def __enter__(self) -> "TrainingProgress":
        if self._console.is_terminal:
            self._bar = Progress(
                BarColumn(bar_width=12),
                TextColumn("{task.description}"),
                console=self._console,
                auto_refresh=False,  # a refresh thread would compete with the training loop
                transient=True,
            )
            self._task = self._bar.add_task("compiling", total=None)
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        self._catch_up()

    def update(
        self,
        step: int,
        parts: Mapping[str, float],
        targets_per_second: float = 0.0,
        seconds_per_step: float = 0.0,
    ) -> None:
        """Latest numbers. ``step``: updates done in the whole run; 0.0: not known yet."""
        self._step, self._parts = step, parts
        self._rate, self._step_seconds = targets_per_second, seconds_per_step
        if time.monotonic() >= self._next_display:
            self._display()

    def message(self, text: str) -> None:
        """Prints a line that stays, below what led to it."""
        self._catch_up()
        self._print(text)

    def _catch_up(self) -> None:
        """The numbers of the latest step, as a line that stays."""
        if self._shown_step != self._step:
            self._shown_step = self._step
            self._print(self._line())

    def _display(self) -> None:
        self._next_display = time.monotonic() + self._interval
        if self._bar is None:
            self._catch_up()
        else:
            _, done, length = self._place()
            self._bar.update(self._task, completed=done, total=length, description=self._line())
            self._bar.refresh()

    def _print(self, text: str) -> None:
        # soft_wrap: a file or a pipe has no width to break lines at.
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _place(self) -> tuple[int, int, int]:
        """Epoch from 1, steps done in it, its steps (the last epoch may be cut short)."""
        epoch, done = divmod(max(0, self._step - 1), self._steps_per_epoch)
        rest = self._total_steps - epoch * self._steps_per_epoch
        return epoch + 1, done + 1, min(rest, self._steps_per_epoch)

    def _line(self) -> str:
        epoch, done, length = self._place()
        epochs = -(-self._total_steps // self._steps_per_epoch)
        pieces = [f"epoch {epoch}/{epochs} {100 * done // length:3d}%", *self._losses()]
        if self._rate:
            pieces.append(f"{self._rate:,.0f} targets/s")
        if self._step_seconds and done < length:
            pieces.append(f"{_clock((length - done) * self._step_seconds)} left")
        return "  ".join(pieces)

    def _losses(self) -> list[str]:
        """The loss and, where it has several, its parts."""
        names = sorted(self._parts, key=lambda name: name != "loss")
        if len(names) == 2 and len(set(self._parts.values())) == 1:
            names = names[:1]
        return [f"{SHORT.get(name, name)} {self._parts[name]:.4g}" for name in names]


def _clock(seconds: float) -> str:
    """1:05 or 2:00:05."""
    return str(datetime.timedelta(seconds=round(seconds))).removeprefix("0:").removeprefix("0")
