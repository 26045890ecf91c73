"""Trains several trials of a group at once, with one vectorised update.

Each trial keeps its work directory, log and checkpoints as if it had trained alone: any of them may
go on from there alone, or with others.
"""

from collections.abc import Mapping, Sequence
import contextlib
import dataclasses
import time

import jax
from jaxtyping import Array
import numpy as np

from rearec_jax.data.interactions import Interactions
from rearec_jax.run.callbacks import Callbacks, Update
from rearec_jax.run.checkpoint import Checkpoints
from rearec_jax.run.events import EventLog, TensorBoard
from rearec_jax.run.interruption import Interruption
from rearec_jax.run.workdir import Workdir
from rearec_jax.studies.terminal import say
from rearec_jax.studies.tune.ledger import DONE, FAILED, PARTIAL, Record
from rearec_jax.studies.tune.shared_updates import SharedUpdates, stack, take
from rearec_jax.studies.tune.trial import Trial, at_rung
from rearec_jax.training import loop
from rearec_jax.training.history import History
from rearec_jax.training.journal import Journal
from rearec_jax.training.setup import Setup
from rearec_jax.training.step import TrainState, UpdateFunction, all_finite


@dataclasses.dataclass
class Member:
    """One of the trials that train together."""

    trial: Trial
    setup: Setup  # the set-up of its candidate
    workdir: Workdir  # its work directory, which is open
    journal: Journal  # its checkpoints, log and history
    status: str = PARTIAL  # until it has reached the rung (DONE) or has FAILED

    @property
    def history(self) -> History:
        """The epochs and the metric that the trial has reached so far."""
        return self.journal.history


def train_together(
    trials: Sequence[Trial], data: Interactions, shared: SharedUpdates, interruption: Interruption
) -> list[Record] | None:
    """Trains trials of one group and one rung to it; returns None if they are not at one step.

    The records are as those of `alone.train_alone`; of the seconds each trial has an equal share.
    The interruption is an open one, with the deadline.
    """
    started = time.perf_counter()
    with contextlib.ExitStack() as held:
        members, states = [], []
        for trial in trials:
            workdir = held.enter_context(trial.opened(data))
            checkpoints = held.enter_context(Checkpoints(workdir.checkpoints))
            logs = Callbacks([EventLog(workdir), TensorBoard(workdir)])
            held.enter_context(contextlib.closing(logs))
            setup = shared.setup_of(trial.candidate.config)
            journal, state = loop.begun(setup, workdir, checkpoints, logs)
            members.append(Member(trial, setup, workdir, journal))
            states.append(state)
        if len({(int(s.step), m.history.epochs) for s, m in zip(states, members, strict=True)}) > 1:
            return None
        _Loop(members, stack(states), shared, interruption).run()
        for member in members:
            member.journal.checkpoints.wait()
        reached = [at_rung(m.workdir, m.history, m.trial.epochs) for m in members]
    seconds = (time.perf_counter() - started) / len(members)
    return [
        member.trial.record(member.status, history, seconds)
        for member, history in zip(members, reached, strict=True)
    ]


class _Loop:
    """The training of all members, step by step.

    A member that has ended is computed on with the others, and its results are ignored.
    """

    def __init__(
        self,
        members: Sequence[Member],
        state: TrainState,
        shared: SharedUpdates,
        interruption: Interruption,
    ):
        self.members, self.state, self.shared = members, state, shared
        self.interruption, self.setup = interruption, shared.setup
        self.step = int(state.step)
        self.updates: dict[bool, UpdateFunction] = {}
        self.parts: dict[str, np.ndarray] = {}  # of the loss, after the newest update that was read
        self.saved_step = self.step  # the members were restored from there, or begin
        for member in members:
            # A process that was killed may have got there without a record of it.
            self._note_end(member)

    @property
    def running(self) -> list[tuple[int, Member]]:
        """The members that have not ended, with their indices in the stacked state."""
        return [(i, m) for i, m in enumerate(self.members) if m.status == PARTIAL]

    def run(self) -> None:
        """Trains until all have ended, or a signal or the deadline comes; then all is saved."""
        while self.running and not self.interruption.requested:
            if self.running[0][1].history.epochs < self.setup.epochs_done(self.step):
                self._validate()
            else:
                self._train_epoch()
        for index, member in self.running:
            one = take(self.state, index)
            if self.saved_step != self.step and self._is_finite(one, member):
                member.journal.save(self.step, one)

    def _train_epoch(self) -> None:
        """Makes updates until the epoch ends, a signal comes, or no member is left."""
        contrast = self.members[0].setup.contrast(self.step)
        if contrast not in self.updates:
            configs = [member.trial.candidate.config for member in self.members]
            self.updates[contrast] = self.shared.update_together(configs, contrast)
        pending: Mapping[str, Array] = {}
        clock, done = time.perf_counter(), 0
        for batch, targets in self.setup.rest_of_epoch(self.step):
            self.state, parts = self.updates[contrast](self.state, batch)
            self.step += 1
            done += targets
            self._read(pending)  # of the update before: the device does not wait for the host
            pending = parts
            if self.interruption.requested or not self.running:
                break
        self._read(pending)
        seconds = (time.perf_counter() - clock) / len(self.members)
        for _, member in self.running:
            member.history.seconds += seconds
            member.history.targets += done

    def _read(self, parts: Mapping[str, Array]) -> None:
        """Waits for the loss of an update; a member whose loss is not finite fails."""
        if not parts:
            return
        self.parts = {name: np.asarray(values) for name, values in jax.device_get(parts).items()}
        for index, member in self.running:
            if not np.isfinite(self.parts["loss"][index]):
                self._fail(member, f"the loss is {self.parts['loss'][index]}")

    def _validate(self) -> None:
        """Ends an epoch, for each member as in a training alone."""
        for index, member in self.running:
            one = take(self.state, index)
            if not self._is_finite(one, member):
                continue
            event = loop.validation_event(self.setup.validate, one.variables)
            if self.parts:  # none where an epoch is validated again after a restart
                parts = {name: float(values[index]) for name, values in self.parts.items()}
                update = Update(self.step, member.history.epochs + 1, parts)
                member.journal.callbacks.on_update(update)
            member.journal.end_epoch(self.step, one, event)
            member.journal.save(self.step, one)
            self._note_end(member)
        self.saved_step = self.step
        best = max((m.history.best, m.trial.candidate.name) for m in self.members)
        epoch = self.setup.epoch_of(self.step)
        say(f"epoch {epoch}: {len(self.running)} go on; best {best[0]:.4f} (trial {best[1]})")

    def _note_end(self, member: Member) -> None:
        if member.journal.has_ended(member.setup, self.step, member.trial.epochs):
            member.status = DONE

    def _is_finite(self, state: TrainState, member: Member) -> bool:
        """Says whether a member's state is finite; the member fails where it is not."""
        if all_finite((state.variables, state.optimizer)):
            return True
        self._fail(member, "the parameters or their moments are not finite")
        return False

    def _fail(self, member: Member, why: str) -> None:
        say(f"trial {member.trial.candidate.name} failed: {why} at step {self.step}")
        member.status = FAILED
