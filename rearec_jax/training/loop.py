"""The training loop: one for every method and backbone."""

from collections.abc import Callable, Iterator
import contextlib
import math
import time
from typing import Any, NamedTuple

import jax

from rearec_jax.config import Config, to_dict
from rearec_jax.config.compare import flattened
from rearec_jax.data.interactions import Interactions
from rearec_jax.devices import hosts
from rearec_jax.errors import DivergedError, UserError
from rearec_jax.evaluation import evaluator
from rearec_jax.evaluation.evaluator import Evaluator
from rearec_jax.evaluation.metrics import names
from rearec_jax.models.backbones import Variables
from rearec_jax.run.callbacks import Callback, Callbacks, Start, Update, callback
from rearec_jax.run.checkpoint import Checkpoints
from rearec_jax.run.events import EventLog, TensorBoard
from rearec_jax.run.interruption import Interruption
from rearec_jax.run.progress import Display, say
from rearec_jax.run.workdir import Workdir
from rearec_jax.training.history import History
from rearec_jax.training.journal import SELECTION, SELECTION_CUTOFF, Journal
from rearec_jax.training.meter import Meter, Reading
from rearec_jax.training.setup import Setup, make_setup
from rearec_jax.training.step import TrainState, UpdateFunction, all_finite


class Outcome(NamedTuple):
    """A finished training.

    variables: The parameters of the best epoch.
    history:   The progress up to the last epoch.
    validate:  The evaluator of the validation split.
    callbacks: All that is told of the training, and may be told of its results.
    """

    variables: Variables
    history: History
    validate: Evaluator
    callbacks: Callback


Begun = tuple[TrainState, History]


def anew(setup: Setup) -> Begun:
    """Returns random weights and an empty history."""
    return setup.initial_state(), History()


class Part(NamedTuple):
    """One part of a training, which may go on later as the same training.

    epochs:    The epochs after which it ends; None: those of the options.
    deadline:  A `time.monotonic()`; from then on it is as if Ctrl-C had been pressed.
    callbacks: What is told of it besides those of the options, in any form that
               `run.callbacks.callback` takes.
    start:     Makes the state and the history before the first update; not called where the
               training goes on.
    """

    epochs: int | None = None
    deadline: float = math.inf
    callbacks: tuple[Any, ...] = ()
    start: Callable[[Setup], Begun] = anew


WHOLE = Part()


@contextlib.contextmanager
def trained(
    config: Config,
    data: Interactions,
    workdir: Workdir,
    started: float,
    part: Part = WHOLE,
    setup: Setup | None = None,
) -> Iterator[Outcome]:
    """Trains until the epochs or the patience are used up; continues what the work directory holds.

    The best epoch is on disk then. The last one may still be written meanwhile, and is at the end.

    Args:
        config: the options of the run.
        data: what it is trained on.
        workdir: its work directory.
        started: `time.perf_counter()` at the start of the process, for `seconds_to_first_step`.
        part: what is done of it now, and who is told.
        setup: of these options, where it is made already.

    Raises:
        UserError: a loss or state that is not finite, or a full disk.
        KeyboardInterrupt: after Ctrl-C or SIGTERM, with everything saved.
    """
    with (
        Checkpoints(workdir.checkpoints) as checkpoints,
        contextlib.closing(_callbacks(config, workdir, part)) as callbacks,
    ):
        # From here on, not only while it trains: Python drops a KeyboardInterrupt that is raised
        # inside a callback, and JAX's tracing is full of them.
        with Interruption(part.deadline) as interruption:
            setup = setup or make_setup(config, data)
            _note_size(setup)
            display = Display()
            told = Callbacks([callbacks, display])
            with contextlib.closing(display):
                journal, state = begun(setup, workdir, checkpoints, told, part.start)
                loop = _Loop(setup, journal, state, interruption, started, part.epochs)
                loop.run()
            best = checkpoints.restore_best(loop.abstract_state)
        if hosts.any_host([interruption.signalled])[0]:
            raise KeyboardInterrupt
        if best is None:
            raise UserError(f"{workdir.checkpoints} has lost its best epoch; train it again")
        yield Outcome(best[0].variables, loop.history, setup.validate, callbacks)
        checkpoints.wait()  # raises if the last one could not be written


def _callbacks(config: Config, workdir: Workdir, part: Part) -> Callbacks:
    """Returns the logs of the run, and what options and caller name; none but on the first host."""
    if not hosts.is_first():
        return Callbacks([])
    more = [callback(given) for given in (*config.train.callbacks, *part.callbacks)]
    return Callbacks([EventLog(workdir), TensorBoard(workdir), *more])


def _note_size(setup: Setup) -> None:
    """Says where an update takes fewer targets than the options ask for."""
    batches, asked = setup.batches, setup.config.train.batch_size
    if asked > batches.targets_per_epoch and batches.steps_per_epoch == 1:
        say(
            f"train.batch_size={asked:,}, and the data have {batches.targets_per_epoch:,}"
            " targets: each update takes them all"
        )


def abstract_state(setup: Setup) -> TrainState:
    """Returns shapes, types and devices of the state, to restore a checkpoint into."""
    return setup.task.devices.abstract(jax.eval_shape(setup.initial_state))


def begun(
    setup: Setup,
    workdir: Workdir,
    checkpoints: Checkpoints,
    callbacks: Callback,
    start: Callable[[Setup], Begun] = anew,
) -> tuple[Journal, TrainState]:
    """Returns the journal and the state of a training that begins or goes on, and tells of it."""
    found = checkpoints.restore_last(abstract_state(setup))
    if found is None:
        state, history = start(setup)
    else:
        state, history = found[0], History(**found[1])
        best = checkpoints.best_progress()
        if best is not None and best["best"] > history.best:
            # Of a process that died before its next `save_last`: those are the weights that are
            # kept, and what is computed again need not be equal to the last bit (another mesh, a
            # GPU).
            history.best, history.best_epoch = best["best"], best["best_epoch"]
    options = flattened(to_dict(setup.config))
    lengths = setup.total_steps, setup.steps_per_epoch
    place = workdir.path, options, int(state.step), history.epochs
    callbacks.on_start(Start(*place, *lengths))
    metric = setup.config.train.stop_metric
    return Journal(checkpoints, callbacks, history, metric), state


def validation_event(validate: Evaluator, variables: Variables) -> dict[str, Any]:
    """Validates, and makes the event for the log, without metrics where there is no target."""
    if not validate.batches.examples:
        return {"kind": "validation", "valid": {}}
    ranks = validate(variables)
    cutoffs, weights = _cutoffs(validate.config), validate.orders.weights_of(ranks)
    by_step = {
        f"step_{k}": evaluator.metrics(ranks.by_step[:, k], (SELECTION_CUTOFF,), weights)[SELECTION]
        for k in range(ranks.by_step.shape[1])
    }
    return {
        "kind": "validation",
        "valid": evaluator.metrics(ranks.final, (*cutoffs, SELECTION_CUTOFF), weights),
        f"valid_{SELECTION}_by_step": by_step,
    }


def _cutoffs(config: Config) -> tuple[int, ...]:
    """Returns the cut-offs of a validation, also that of the metric that chooses the best epoch.

    Raises:
        UserError: it is no metric.
    """
    metric, cutoffs = config.train.stop_metric, config.eval.cutoffs
    _, _, k = metric.partition("@")
    cutoffs = (*cutoffs, int(k)) if k.isdecimal() and int(k) else cutoffs
    if metric not in names(cutoffs):
        raise UserError(
            f"train.stop_metric={metric!r} is no metric; it may be {', '.join(names((20,)))}, with"
            " any number after @"
        )
    return cutoffs


class _Loop:
    """A training from its start, or from a checkpoint, to its end.

    Its progress is (step, history.epochs) and nothing else. An epoch whose updates are done, but
    which `history` does not count, has still to be validated, also after a restart.
    """

    def __init__(
        self,
        setup: Setup,
        journal: Journal,
        state: TrainState,
        interruption: Interruption,
        started: float,
        epochs: int | None = None,
    ):
        self.setup, self.epochs = setup, epochs
        _cutoffs(setup.config)  # what is no metric is refused before the first epoch, not after it
        self.updates: dict[bool, UpdateFunction] = {}
        self.abstract_state = abstract_state(setup)
        self.journal, self.state, self.history = journal, state, journal.history
        self.step = int(self.state.step)
        # Number of the newest checkpoint: what was restored is not written again.
        self.saved = self.history.place(self.step) if self.step else None
        self.saved_at = time.monotonic()
        self.meter = Meter(self.history, started, self._report)
        self.interruption = interruption
        self.ballot = hosts.Ballot()

    def run(self) -> None:
        """Trains and validates epoch after epoch until the training ends."""
        while not self._stopped():
            if self.history.epochs < self.setup.epochs_done(self.step):
                self._validate()
            else:
                self._train_epoch()

    def _stopped(self) -> bool:
        """Says whether nothing is left to do.

        Raises:
            KeyboardInterrupt: a signal came; everything is saved.
        """
        if hosts.any_host([self.interruption.requested])[0]:
            self._save()
            raise KeyboardInterrupt
        return self.journal.has_ended(self.setup, self.step, self.epochs)

    def _train_epoch(self) -> None:
        """Makes updates until the epoch (or the run) ends, or a signal asks to stop."""
        contrast = self.setup.contrast(self.step)
        is_new = contrast not in self.updates
        if is_new:  # once in a run; twice where the contrastive term starts later
            self.updates[contrast] = self.setup.update_function(contrast)
        update = self.updates[contrast]
        self.meter.start(compiling=is_new)
        for batch, targets in self.setup.rest_of_epoch(self.step):
            self.state, parts = update(self.state, batch)
            self.step += 1
            self.meter.dispatched(self.step, targets, parts)
            if is_new:
                self.journal.checkpoints.load_ahead()
                is_new = False
            minutes = (time.monotonic() - self.saved_at) / 60
            due = minutes > self.setup.config.train.checkpoint_minutes
            stop, due = self.ballot.ask([self.interruption.requested, due])
            if stop:
                break
            if due and not self.setup.epoch_ends(self.step):
                self._save()
        self.meter.settle()

    def _report(self, reading: Reading) -> None:
        """Tells of a finished update, and stops if it went wrong."""
        step, parts = reading.step, reading.parts
        if not math.isfinite(parts["loss"]):
            raise self._diverged(f"the loss is {parts['loss']}", step)
        setup = self.setup
        every = setup.config.train.log_every_steps
        is_logged = step % every == 0 or setup.epoch_ends(step)
        self.journal.callbacks.on_update(
            Update(
                step,
                setup.epoch_of(step),
                parts,
                reading.targets_per_second,
                reading.seconds_per_step,
                is_logged,
            )
        )

    def _validate(self) -> None:
        """Ends an epoch: ranks the validation split, keeps the best parameters, tells, saves."""
        self._check_state()
        try:
            # One of several hosts cannot leave the others alone in the middle of it.
            alone = jax.process_count() == 1
            with self.interruption.at_once() if alone else contextlib.nullcontext():
                event = validation_event(self.setup.validate, self.state.variables)
        except KeyboardInterrupt:
            self._save()  # the epoch's updates; it will be validated after the restart
            raise
        self.journal.end_epoch(self.step, self.state, event)
        self._save()

    def _save(self) -> None:
        """Saves the state that a restart continues from, if it is finite.

        Raises:
            UserError: it holds a NaN or an infinity.
        """
        self.meter.settle()
        number = self.history.place(self.step)
        if self.saved == number:
            return
        self._check_state()
        self.journal.save(self.step, self.state)
        self.saved, self.saved_at = number, time.monotonic()

    def _check_state(self) -> None:
        # The loss of an update is that of the parameters before it.
        if not all_finite((self.state.variables, self.state.optimizer)):
            raise self._diverged("the parameters or their moments are not finite", self.step)

    def _diverged(self, what: str, step: int) -> DivergedError:
        return DivergedError(
            f"{what} at step {step} (epoch {self.setup.epoch_of(step)}); checkpoints before that"
            " are kept; try a lower train.learning_rate, train.clip_norm=1,"
            " train.warmup_steps=500 or a higher method.temperature"
        )
