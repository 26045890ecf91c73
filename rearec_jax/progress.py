"""Where training stands: a bar in a terminal, a plain line now and then elsewhere."""

from collections.abc import Mapping
import datetime
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

BAR_SECONDS = 0.1
LINE_SECONDS = 10.0


class TrainingProgress:
    """Shows step, epoch, targets a second, loss parts and the time left of a training run.

    ``update`` may be called every step: between two displays it only keeps the numbers. It takes
    plain floats, so showing them never waits for the device. Time left counts from the first
    update (compilation aside) to the last of ``total_steps``; stopping early makes it less.
    """

    def __init__(
        self,
        total_steps: int,
        total_epochs: int,
        *,
        start_step: int = 0,
        console: Console | None = None,
    ):
        """``start_step``: updates done before this process began, where a run resumes."""
        self._console = console or Console()
        self._total_steps = total_steps
        self._total_epochs = total_epochs
        self._step = start_step
        self._epoch = 0
        self._parts: Mapping[str, float] = {}
        self._rate = 0.0
        self._first: tuple[float, int] | None = None  # time and step of the first update
        self._interval = BAR_SECONDS if self._console.is_terminal else LINE_SECONDS
        self._next_display = 0.0
        self._shown_step: int | None = None
        self._bar: Progress | None = None

    def __enter__(self) -> "TrainingProgress":
        if self._console.is_terminal:
            self._bar = Progress(
                BarColumn(bar_width=20),
                TextColumn("{task.description}"),
                console=self._console,
                auto_refresh=False,  # a refresh thread would compete with the training loop
                transient=True,
            )
            self._task = self._bar.add_task(
                "starting", total=self._total_steps, completed=self._step
            )
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
        if self._first is not None and (self._bar is not None or self._shown_step != self._step):
            self._print(self._line())

    def update(
        self, step: int, epoch: int, parts: Mapping[str, float], targets_per_second: float
    ) -> None:
        """Latest numbers: updates done in the whole run, epoch from 1, loss parts, speed."""
        now = time.monotonic()
        if self._first is None:
            self._first = (now, step)
        elif epoch != self._epoch and self._bar is None and self._shown_step != self._step:
            self._display(now)  # the last step of the epoch that has just ended
        self._step, self._epoch, self._parts = step, epoch, parts
        self._rate = targets_per_second
        if now >= self._next_display:
            self._display(now)

    def message(self, text: str) -> None:
        """Prints a line that stays, above the bar."""
        self._print(text)

    def _display(self, now: float) -> None:
        self._next_display = now + self._interval
        self._shown_step = self._step
        if self._bar is None:
            self._print(self._line())
        else:
            self._bar.update(self._task, completed=self._step, description=self._line())
            self._bar.refresh()

    def _print(self, text: str) -> None:
        # soft_wrap: a file or a pipe has no width to break lines at.
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _line(self) -> str:
        parts = "  ".join(f"{name} {value:.4f}" for name, value in self._parts.items())
        return "  ".join(
            piece
            for piece in (
                f"epoch {self._epoch}/{self._total_epochs}",
                f"step {self._step:,}/{self._total_steps:,}",
                parts,
                f"{self._rate:,.0f} targets/s",
                self._time_left(),
            )
            if piece
        )

    def _time_left(self) -> str:
        if self._first is None or self._step <= self._first[1]:
            return ""
        start, first_step = self._first
        seconds = (time.monotonic() - start) / (self._step - first_step)
        left = max(0, self._total_steps - self._step) * seconds
        return f"{datetime.timedelta(seconds=round(left))} left"
