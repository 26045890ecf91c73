"""The files that a training keeps while it goes on, and the order of writing them."""

import dataclasses
from typing import Any

from rearec_jax.run.callbacks import SELECTION, SELECTION_CUTOFF, Callback
from rearec_jax.run.checkpoint import Checkpoints
from rearec_jax.training.history import History
from rearec_jax.training.setup import Setup
from rearec_jax.training.step import TrainState

__all__ = ["SELECTION", "SELECTION_CUTOFF", "Journal"]


@dataclasses.dataclass
class Journal:
    """The checkpoints, the history of one training, and all that is told of it.

    Attributes:
        checkpoints: the newest states, to go on from, and that of the best epoch.
        callbacks: what is told of updates and epochs: the log and others.
        history: what has been reached so far; every checkpoint holds it.
        metric: the validation metric that chooses the best epoch.
    """

    checkpoints: Checkpoints
    callbacks: Callback
    history: History
    metric: str = SELECTION

    def end_epoch(self, step: int, state: TrainState, event: dict[str, Any]) -> bool:
        """Counts a validated epoch, keeps its state if it is the best, and tells of it.

        `save` comes afterwards: a run that goes on drops events that no checkpoint has followed.

        Args:
            step: the number of updates so far.
            state: the state after them.
            event: the validation, as the log holds it.

        Returns:
            Whether the epoch is the best so far.
        """
        is_best = self.history.count_epoch(event["valid"].get(self.metric))
        if is_best:
            self.checkpoints.save_best(self.history.place(step), state, self._progress())
        place = {"step": step, "epoch": self.history.epochs}
        told = {**place, **event, "seconds": self.history.seconds}
        if self.metric in event["valid"]:
            best = {"epoch": self.history.best_epoch, "metric": self.metric}
            told["best"] = {**best, "value": self.history.best}
        self.callbacks.on_epoch(told)
        return is_best

    def save(self, step: int, state: TrainState) -> None:
        """Writes the state from which a run goes on."""
        self.checkpoints.save_last(self.history.place(step), state, self._progress())

    def has_ended(self, setup: Setup, step: int, epochs: int | None) -> bool:
        """Says whether every epoch is validated and nothing is left to train.

        Args:
            setup: the set-up of the training.
            step: the number of updates so far.
            epochs: the number of epochs after which to end early; None: no such number.
        """
        validated = self.history.epochs == setup.epochs_done(step)
        enough = epochs is not None and self.history.epochs >= epochs
        return validated and (enough or setup.ends(step, self.history))

    def _progress(self) -> dict[str, Any]:
        return dataclasses.asdict(self.history)
