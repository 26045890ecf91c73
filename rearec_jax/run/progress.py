"""Shows how far work is: a bar in a terminal or a notebook, a line now and then elsewhere."""

import abc
from collections.abc import Mapping
import datetime
import importlib.util
import time
from typing import Any, ClassVar, TypeVar

from rich import progress as bars
from rich.console import Console

from rearec_jax.run.callbacks import Callback, Start, Update

BAR_SECONDS = 0.1
LINE_SECONDS = 10.0
SHORT = {
    "cross_entropy": "ce",
    "shallow_cross_entropy": "shallow",
    "contrastive": "contrast",
    "kl_diversity": "kl",
}
_MB = 1_000_000
P = TypeVar("P", bound="Progress")


def say(text: str, console: Console | None = None) -> None:
    """Prints a text as it is, without markup, colours or line breaks of its own."""
    # soft_wrap: a file or a pipe has no width to break lines at.
    (console or Console()).print(text, markup=False, highlight=False, soft_wrap=True)


class Progress(abc.ABC):
    """A display of so much of so much, which a subclass puts into words in ``line``.

    ``update`` may be called often: between two displays it only keeps the numbers. Outside a
    terminal the first line comes after ten seconds, so quick work shows nothing.
    """

    has_bar: ClassVar[bool] = True
    columns: ClassVar[tuple[type[bars.ProgressColumn], ...]] = ()  # right of the line
    first_line_seconds: ClassVar[float | None] = None  # None: LINE_SECONDS

    def __init__(
        self, name: str, total: int | None = None, done: int = 0, console: Console | None = None
    ):
        """Keeps the numbers to begin with; the bar is shown inside ``with``.

        Args:
            name: the name of the work, shown in the bar until there is a first line.
            total: all that there is to do; None where that is not known.
            done: what is done already.
            console: where the work is shown; standard output by default.
        """
        self.name, self.total, self.done = name, total, done
        self.console = console or Console()
        self._bar: bars.Progress | None = None
        self._is_new = False  # numbers that no line has shown
        self._interval = LINE_SECONDS
        wait = self.first_line_seconds
        self._next_display = time.monotonic() + (LINE_SECONDS if wait is None else wait)

    @abc.abstractmethod
    def line(self) -> str:
        """Returns the numbers in words."""

    def __enter__(self: P) -> P:
        if self.has_bar and (self.console.is_terminal or _in_notebook(self.console)):
            self._bar = bars.Progress(
                bars.BarColumn(bar_width=12),
                bars.TextColumn("{task.description}", markup=False),
                *(column() for column in self.columns),
                console=self.console,
                auto_refresh=False,  # a refresh thread would compete with the work
                transient=True,
            )
            self._task = self._bar.add_task(self.name, total=self.total, completed=self.done)
            self._bar.start()
            self._interval, self._next_display = BAR_SECONDS, 0.0
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def advance(self, count: int) -> None:
        """Adds ``count`` to what is done."""
        self.update(self.done + count, self.total)

    def update(self, done: int, total: int | None = None) -> None:
        """Keeps the latest numbers, and shows them if it is time."""
        self.done, self.total, self._is_new = done, total, True
        if time.monotonic() < self._next_display:
            return
        self._next_display = time.monotonic() + self._interval
        if self._bar is None:
            self.catch_up()
        else:
            self._bar.update(self._task, completed=done, total=total, description=self.line())
            self._bar.refresh()

    def message(self, text: str) -> None:
        """Prints a line that stays, below the numbers that led to it."""
        self.catch_up()
        say(text, self.console)

    def catch_up(self) -> None:
        """Prints the latest numbers as a line that stays, unless a line has shown them."""
        if self._is_new:
            self._is_new = False
            say(self.line(), self.console)


def _in_notebook(console: Console) -> bool:
    """Says whether it is a notebook that can show a bar, for which rich needs ipywidgets."""
    return console.is_jupyter and importlib.util.find_spec("ipywidgets") is not None


class ByteProgress(Progress):
    """A display of the bytes done of one file, on standard error."""

    columns = (bars.TransferSpeedColumn,)

    def __init__(self, name: str, total: int | None, done: int = 0, console: Console | None = None):
        super().__init__(name, total, done, console or Console(stderr=True))

    def line(self) -> str:
        """Returns 'file.gz: 3 of 5 MB'."""
        of = f" of {self.total / _MB:,.0f}" if self.total else ""
        return f"{self.name}: {self.done / _MB:,.0f}{of} MB"


class CountProgress(Progress):
    """A display of a count whose end is unknown, on standard error."""

    def __init__(self, name: str):
        super().__init__(name, console=Console(stderr=True))

    def line(self) -> str:
        """Returns '1,234,567 rows read'."""
        return f"{self.done:,} {self.name}"


class TrainingProgress(Progress):
    """A display of the epoch, its share done, its losses, targets a second and the time left.

    ``show`` takes plain floats, so that showing them never waits for the device. The time left is
    that of the epoch: early stopping decides when the run ends.
    """

    first_line_seconds = 0.0

    def __init__(self, total_steps: int, steps_per_epoch: int, *, console: Console | None = None):
        """``total_steps``: updates of the whole run if it does not stop early."""
        super().__init__("compiling", console=console)
        self._total_steps = total_steps
        self._steps_per_epoch = steps_per_epoch
        self._epoch = 1
        self._parts: Mapping[str, float] = {}
        self._rate = 0.0
        self._step_seconds = 0.0

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self.catch_up()

    def show(
        self,
        step: int,
        parts: Mapping[str, float],
        targets_per_second: float = 0.0,
        seconds_per_step: float = 0.0,
    ) -> None:
        """Keeps the latest numbers, and shows them if it is time.

        Args:
            step: updates done in the whole run.
            parts: the loss and its parts by their names.
            targets_per_second: the speed; 0.0 where it is not known yet.
            seconds_per_step: the time of an update; 0.0 where it is not known yet.
        """
        self._parts = parts
        self._rate, self._step_seconds = targets_per_second, seconds_per_step
        epoch, done = divmod(max(0, step - 1), self._steps_per_epoch)
        self._epoch = epoch + 1
        rest = self._total_steps - epoch * self._steps_per_epoch  # the last epoch may be cut short
        self.update(done + 1, min(rest, self._steps_per_epoch))

    def line(self) -> str:
        """Returns 'epoch 1/2  44%  loss 12.5  ce 8.9  1,460 targets/s  0:14 left'."""
        left = (self.total or 0) - self.done
        epochs = -(-self._total_steps // self._steps_per_epoch)
        percent = 100 * self.done // (self.total or 1)
        pieces = [f"epoch {self._epoch}/{epochs} {percent:3d}%", *self._losses()]
        if self._rate:
            pieces.append(f"{self._rate:,.0f} targets/s")
        if self._step_seconds and left > 0:
            pieces.append(f"{_clock(left * self._step_seconds)} left")
        return "  ".join(pieces)

    def _losses(self) -> list[str]:
        """Returns the loss and, where it has several, its parts."""
        names = sorted(self._parts, key=lambda name: name != "loss")
        if len(names) == 2 and len(set(self._parts.values())) == 1:
            names = names[:1]
        return [f"{SHORT.get(name, name)} {self._parts[name]:.4g}" for name in names]


class Display(Callback):
    """The progress of a training as a bar or as lines, and a line that stays for each epoch."""

    def __init__(self) -> None:
        self._progress: TrainingProgress | None = None

    def on_start(self, start: Start) -> None:
        self._progress = TrainingProgress(start.total_steps, start.steps_per_epoch).__enter__()

    def on_update(self, update: Update) -> None:
        if self._progress is not None:
            self._progress.show(
                update.step, update.parts, update.targets_per_second, update.seconds_per_step
            )

    def on_epoch(self, event: Mapping[str, Any]) -> None:
        if self._progress is not None:
            self._progress.message(epoch_line(event))

    def close(self) -> None:
        if self._progress is not None:
            self._progress.__exit__()
            self._progress = None


def epoch_line(event: Mapping[str, Any]) -> str:
    """Returns 'epoch 3: validation NDCG@20 0.0421, best so far'."""
    epoch, best = event["epoch"], event.get("best")
    if best is None:
        return f"epoch {epoch}: no validation"
    metric, note = best["metric"], "best so far"
    if best["epoch"] != epoch:
        note = f"best {best['value']:.4f} in epoch {best['epoch']}"
    return f"epoch {epoch}: validation {metric.upper()} {event['valid'][metric]:.4f}, {note}"


def _clock(seconds: float) -> str:
    """Returns 1:05 or 2:00:05."""
    return str(datetime.timedelta(seconds=round(seconds))).removeprefix("0:").removeprefix("0")
