"""One candidate on its way to a rung: an ordinary training in a work directory of its own."""

from collections.abc import Iterator
import contextlib
import dataclasses
import pathlib
import time

import jax
from rich.console import Console

from rearec_jax.data.interactions import Interactions
from rearec_jax.errors import DivergedError
from rearec_jax.recommend.from_run import FILES, keep_items
from rearec_jax.run.checkpoint import Checkpoints
from rearec_jax.run.events import read_events
from rearec_jax.run.workdir import Workdir, opened
from rearec_jax.studies.tune.ledger import DONE, FAILED, PARTIAL, Record
from rearec_jax.studies.tune.schedule import Job
from rearec_jax.studies.tune.space import Candidate
from rearec_jax.training import loop
from rearec_jax.training.history import History
from rearec_jax.training.setup import Setup

TOO_LARGE = "RESOURCE_EXHAUSTED"  # what XLA's error says where memory is short


def train_alone(
    directory: pathlib.Path,
    candidate: Candidate,
    job: Job,
    data: Interactions,
    epochs: int,
    deadline: float,
    setup: Setup,
) -> Record:
    """Trains or continues to the rung's ``epochs``; never looks at the test split.

    A signal or the deadline gives a partial record, all saved; a loss that is no number, or too
    little memory, a failed one.

    Args:
        directory: of the candidate.
        deadline: a `time.monotonic()`.
        setup: of the candidate, from the programs of its group.
    """
    started = time.perf_counter()
    with trial_directory(directory, candidate, data) as workdir:
        history, status = History(), DONE
        try:
            with loop.trained(
                candidate.config, data, workdir, started, epochs, deadline, setup
            ) as outcome:
                history = at_rung(workdir, outcome.history, epochs)
        except KeyboardInterrupt:
            history, status = saved_history(workdir), PARTIAL
        except (DivergedError, jax.errors.JaxRuntimeError) as error:
            if not isinstance(error, DivergedError) and TOO_LARGE not in str(error):
                raise
            say(f"trial {candidate.name} failed: {str(error).partition(chr(10))[0]}")
            status = FAILED
    return record_of(job, status, history, time.perf_counter() - started)


@contextlib.contextmanager
def trial_directory(
    directory: pathlib.Path, candidate: Candidate, data: Interactions
) -> Iterator[Workdir]:
    """The candidate's work directory, which any mode of the program understands."""
    with opened(directory, candidate.config, FILES) as workdir:
        workdir.check_data(data.digests())
        keep_items(workdir, data)
        yield workdir


def saved_history(workdir: Workdir) -> History:
    """Of the newest checkpoint; that of a beginning where there is none."""
    with Checkpoints(workdir.checkpoints) as checkpoints:
        return History(**(checkpoints.last_progress() or {}))


def at_rung(workdir: Workdir, history: History, epochs: int) -> History:
    """What it was after so many epochs, where a training outside the search has gone further.

    Trials are compared by what they were after equally many.
    """
    if history.epochs <= epochs:
        return history
    scores = [
        (event["valid"][loop.SELECTION], event["epoch"])
        for event in read_events(workdir)
        if event["kind"] == "validation" and event["epoch"] <= epochs
    ]
    best, best_epoch = max(scores, key=lambda found: found[0], default=(-1.0, 0))
    return dataclasses.replace(history, epochs=epochs, best=best, best_epoch=best_epoch)


def record_of(job: Job, status: str, history: History, seconds: float) -> Record:
    """What the ledger keeps of a job."""
    return Record(
        trial=job.candidate,
        rung=job.rung,
        status=status,
        epochs=history.epochs,
        metric=history.best,
        best_epoch=history.best_epoch,
        seconds=seconds,
    )


def say(text: str) -> None:
    """A line for people."""
    Console().print(text, markup=False, highlight=False, soft_wrap=True)
