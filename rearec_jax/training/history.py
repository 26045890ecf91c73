"""How far a training has come: epochs, the best one, targets and seconds; a checkpoint keeps it."""

import dataclasses


@dataclasses.dataclass
class History:
    """What the loop knows besides the state; kept in every checkpoint."""

    epochs: int = 0  # finished, validation included
    best: float = -1.0  # validation NDCG@20, unrounded
    best_epoch: int = 0  # counted from 1; 0 = none yet
    seconds: float = 0.0  # of training: without start-up, compilation and validation
    targets: int = 0  # trained on in those seconds
    seconds_to_first_step: float = 0.0  # of the process that made the first update

    def count_epoch(self, score: float) -> bool:
        """One more epoch is finished; is it the best?"""
        self.epochs += 1
        is_best = score > self.best
        if is_best:
            self.best, self.best_epoch = score, self.epochs
        return is_best

    def place(self, step: int) -> int:
        """Number of a checkpoint after ``step`` updates: it grows with each update and validation.

        So none is written in the place of the one that a run goes on from, which would have to go
        before the new one is whole.
        """
        return step + self.epochs
