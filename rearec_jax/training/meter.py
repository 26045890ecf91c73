"""The measurements of a training: parts of the loss, speed, seconds and targets."""

from collections.abc import Callable, Mapping
import time
from typing import NamedTuple

import jax
from jaxtyping import Array

from rearec_jax.training.history import History

RECENT = 20  # updates over which the speed on display is averaged


class Reading(NamedTuple):
    """The measurements of one update.

    step:               The number of the update, from 1.
    parts:              The parts of its loss, by name.
    targets_per_second: The recent speed; 0 until it is known.
    seconds_per_step:   The recent seconds of an update; 0 until they are known.
    """

    step: int
    parts: dict[str, float]
    targets_per_second: float
    seconds_per_step: float


class Meter:
    """Reads each update after the next is dispatched, so that the device never waits for the host.

    Adds seconds and targets to ``history``. An update that includes compilation adds neither.
    """

    def __init__(self, history: History, started: float, report: Callable[[Reading], None]):
        """Makes a meter that calls ``report`` for each update.

        Args:
            history: where seconds and targets are added.
            started: `time.perf_counter()` at the start of the process.
            report: takes the reading of an update.
        """
        self._history = history
        self._started = started
        self._report = report
        self._pending: tuple[int, int, Mapping[str, Array]] | None = None
        self._recent: list[tuple[float, int]] = []
        self._compiling = True
        self._clock = 0.0

    def start(self, compiling: bool) -> None:
        """Starts the clock.

        Args:
            compiling: whether the next update has to be compiled first.
        """
        self._compiling = compiling
        self._clock = time.perf_counter()

    def dispatched(self, step: int, targets: int, parts: Mapping[str, Array]) -> None:
        """Notes that update ``step`` is on its way, and reports the one before it."""
        self.settle()
        self._pending = (step, targets, parts)
        if self._compiling:  # to know when the first update ends, wait for it
            self.settle()

    def settle(self) -> None:
        """Waits for the update on its way, if there is one, and reports it."""
        if self._pending is None:
            return
        step, targets, arrays = self._pending
        self._pending = None
        parts = {name: float(value) for name, value in jax.device_get(dict(arrays)).items()}
        self._measure(targets)
        seconds = sum(seconds for seconds, _ in self._recent)
        speed = sum(targets for _, targets in self._recent) / seconds if seconds else 0.0
        self._report(Reading(step, parts, speed, seconds / max(1, len(self._recent))))

    def _measure(self, targets: int) -> None:
        now = time.perf_counter()
        if self._compiling:
            self._history.seconds_to_first_step = (
                self._history.seconds_to_first_step or now - self._started
            )
            self._compiling = False
        else:
            self._history.seconds += now - self._clock
            self._history.targets += targets
            self._recent = [*self._recent[1 - RECENT :], (now - self._clock, targets)]
        self._clock = now
