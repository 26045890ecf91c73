"""Trains one trial alone: an ordinary training that ends at the rung."""

import time

import jax

from rearec_jax.data.interactions import Interactions
from rearec_jax.errors import DivergedError
from rearec_jax.run.checkpoint import Checkpoints
from rearec_jax.run.workdir import Workdir
from rearec_jax.studies.terminal import say
from rearec_jax.studies.tune.ledger import DONE, FAILED, PARTIAL, Record
from rearec_jax.studies.tune.trial import TOO_LARGE, Trial, at_rung
from rearec_jax.training import loop
from rearec_jax.training.history import History
from rearec_jax.training.setup import Setup


def train_alone(trial: Trial, data: Interactions, setup: Setup, deadline: float) -> Record:
    """Trains a trial from where it stands to its rung; never looks at the test split.

    A signal or the deadline (of `time.monotonic()`) gives a partial record, with everything saved.
    A loss that is not finite, or too little memory, gives a failed one. The set-up is that of the
    candidate, from the shared updates of its group.
    """
    started = time.perf_counter()
    config, epochs = trial.candidate.config, trial.epochs
    with trial.opened(data) as workdir:
        history, status = History(), DONE
        try:
            part = loop.Part(epochs, deadline)
            with loop.trained(config, data, workdir, started, part, setup) as outcome:
                history = at_rung(workdir, outcome.history, epochs)
        except KeyboardInterrupt:
            history, status = _saved_history(workdir), PARTIAL
        except (DivergedError, jax.errors.JaxRuntimeError) as error:
            if not isinstance(error, DivergedError) and TOO_LARGE not in str(error):
                raise
            say(f"trial {trial.candidate.name} failed: {str(error).partition(chr(10))[0]}")
            status = FAILED
    return trial.record(status, history, time.perf_counter() - started)


def _saved_history(workdir: Workdir) -> History:
    """Returns the history in the newest checkpoint; an empty one where there is none."""
    with Checkpoints(workdir.checkpoints) as checkpoints:
        return History(**(checkpoints.last_progress() or {}))
