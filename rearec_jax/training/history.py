"""The progress of a training: its epochs, the best of them, targets and seconds."""

import dataclasses


@dataclasses.dataclass
class History:
    """The progress of a training, which every checkpoint keeps beside the state.

    epochs:     The epochs that are finished, their validation included.
    best:       The best validation so far (``train.stop_metric``), unrounded.
    best_epoch: The epoch that reached it, counted from 1; 0 before there is one.
    seconds:    The seconds of updates, without start-up, compilation and validation.
    targets:    The targets that were trained on in those seconds.
    seconds_to_first_step: The seconds from the start of the first process to its first update.
    start_from: What was carried over from another run (`fitting.warm_start`); or nothing.
    """

    epochs: int = 0
    best: float = -1.0
    best_epoch: int = 0
    seconds: float = 0.0
    targets: int = 0
    seconds_to_first_step: float = 0.0
    start_from: dict[str, str | int] = dataclasses.field(default_factory=dict)

    def count_epoch(self, score: float | None) -> bool:
        """Counts a finished epoch, and says whether it is the best so far.

        Without validation there is no score, and the last epoch is the best.
        """
        self.epochs += 1
        is_best = score is None or score > self.best
        if is_best:
            self.best_epoch = self.epochs
            self.best = self.best if score is None else score
        return is_best

    def place(self, step: int) -> int:
        """Numbers a checkpoint after ``step`` updates: each update and each validation adds one.

        Two checkpoints of a run thus never share a directory. The one that a run continues from
        would otherwise be deleted before the new one is whole.
        """
        return step + self.epochs
