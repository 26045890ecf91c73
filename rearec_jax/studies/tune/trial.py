"""A trial: one candidate on its way to a rung, in a work directory of its own."""

from collections.abc import Iterator
import contextlib
import dataclasses
import pathlib

from rearec_jax.data.interactions import Interactions
from rearec_jax.recommend.from_run import FILES, keep_items
from rearec_jax.run.events import read_events
from rearec_jax.run.workdir import Workdir, opened
from rearec_jax.studies.tune.ledger import Record
from rearec_jax.studies.tune.schedule import Job
from rearec_jax.studies.tune.space import Candidate
from rearec_jax.training.history import History
from rearec_jax.training.journal import SELECTION

TOO_LARGE = "RESOURCE_EXHAUSTED"  # part of XLA's error message where memory is short


@dataclasses.dataclass(frozen=True)
class Trial:
    """One candidate on its way to a rung."""

    candidate: Candidate  # the options that are tried
    job: Job  # the candidate's number and the rung's, as the schedule names them
    directory: pathlib.Path  # the candidate's work directory
    epochs: int  # the number of epochs at the rung

    @contextlib.contextmanager
    def opened(self, data: Interactions) -> Iterator[Workdir]:
        """Opens the work directory, which every other mode understands as well."""
        with opened(self.directory, self.candidate.config, FILES) as workdir:
            workdir.check_data(data.digests())
            keep_items(workdir, data)
            yield workdir

    def record(self, status: str, history: History, seconds: float) -> Record:
        """Returns what the ledger keeps of the trial."""
        return Record(
            trial=self.job.candidate,
            rung=self.job.rung,
            status=status,
            epochs=history.epochs,
            metric=history.best,
            best_epoch=history.best_epoch,
            seconds=seconds,
        )


def at_rung(workdir: Workdir, history: History, epochs: int) -> History:
    """Returns the history as it was after ``epochs`` epochs.

    A training outside the search may have gone further; trials are compared after equally many
    epochs.
    """
    if history.epochs <= epochs:
        return history
    scores = [
        (event["valid"][SELECTION], event["epoch"])
        for event in read_events(workdir)
        if event["kind"] == "validation" and event["epoch"] <= epochs
    ]
    best, best_epoch = max(scores, key=lambda found: found[0], default=(-1.0, 0))
    return dataclasses.replace(history, epochs=epochs, best=best, best_epoch=best_epoch)
