"""Several candidates of a group on their way to a rung at once, in one vectorised program.

Each keeps its own work directory, log and checkpoints, as if it had trained alone: any of them may
go on alone, or with others, from there.
"""

from collections.abc import Sequence
import contextlib
import dataclasses
import pathlib
import time
from typing import Any

import jax
import numpy as np

from rearec_jax.data.interactions import Interactions
from rearec_jax.run.checkpoint import Checkpoints
from rearec_jax.run.events import EventLog
from rearec_jax.run.interruption import Interruption
from rearec_jax.run.workdir import Workdir
from rearec_jax.studies.tune.alone import at_rung, record_of, say, trial_directory
from rearec_jax.studies.tune.ledger import DONE, FAILED, PARTIAL, Record
from rearec_jax.studies.tune.schedule import Job
from rearec_jax.studies.tune.shared_programs import Programs, stack, take
from rearec_jax.studies.tune.space import Candidate
from rearec_jax.training import loop
from rearec_jax.training.history import History
from rearec_jax.training.setup import Setup
from rearec_jax.training.step import TrainState, UpdateFunction, all_finite


@dataclasses.dataclass
class Member:
    """One candidate of the group."""

    candidate: Candidate
    job: Job
    setup: Setup
    workdir: Workdir
    checkpoints: Checkpoints
    log: EventLog
    history: History
    status: str = PARTIAL  # until it has reached the rung, or failed


def train_together(
    directories: Sequence[pathlib.Path],
    candidates: Sequence[Candidate],
    jobs: Sequence[Job],
    data: Interactions,
    epochs: int,
    interruption: Interruption,
    programs: Programs,
) -> list[Record] | None:
    """As `running.train_alone`, for candidates of one group; None if they are not at one step.

    Args:
        interruption: open, with the deadline.
    """
    started = time.perf_counter()
    with contextlib.ExitStack() as held:
        members, states = [], []
        for directory, candidate, job in zip(directories, candidates, jobs, strict=True):
            workdir = held.enter_context(trial_directory(directory, candidate, data))
            checkpoints = held.enter_context(Checkpoints(workdir.checkpoints))
            log = held.enter_context(EventLog(workdir))
            setup = programs.setup_of(candidate.config)
            state, history = loop.first_state(setup, checkpoints, log)
            members.append(Member(candidate, job, setup, workdir, checkpoints, log, history))
            states.append(state)
        if len({(int(s.step), m.history.epochs) for s, m in zip(states, members, strict=True)}) > 1:
            return None
        _Loop(members, stack(states), programs, interruption, epochs).run()
        for member in members:
            member.checkpoints.wait()
        reached = [at_rung(member.workdir, member.history, epochs) for member in members]
    seconds = (time.perf_counter() - started) / len(members)
    return [
        record_of(member.job, member.status, history, seconds)
        for member, history in zip(members, reached, strict=True)
    ]


class _Loop:
    """All members step by step. One that has ended is computed on, and no longer looked at."""

    def __init__(
        self,
        members: Sequence[Member],
        state: TrainState,
        programs: Programs,
        interruption: Interruption,
        epochs: int,
    ):
        self.members, self.state, self.programs = members, state, programs
        self.interruption, self.epochs = interruption, epochs
        self.setup = programs.setup
        self.step = int(state.step)
        self.updates: dict[bool, UpdateFunction] = {}
        self.parts: dict[str, np.ndarray] = {}
        self.saved_step = self.step  # the members were restored from there, or begin
        for member in members:
            self._see_end(member)  # a killed process may have got there, and not said so

    @property
    def running(self) -> list[tuple[int, Member]]:
        """With their places in the stack."""
        return [(i, m) for i, m in enumerate(self.members) if m.status == PARTIAL]

    def run(self) -> None:
        """Until all have ended, or a signal or the deadline comes; then all is saved."""
        while self.running and not self.interruption.requested:
            if self.running[0][1].history.epochs < self.setup.epochs_done(self.step):
                self._validate()
            else:
                self._train_epoch()
        for index, member in self.running:
            one = take(self.state, index)
            if self.saved_step != self.step and self._is_finite(one, member):
                self._save(one, member)

    def _train_epoch(self) -> None:
        """Updates until the epoch ends, a signal comes, or no member is left."""
        contrast = self.members[0].setup.contrast(self.step)
        if contrast not in self.updates:
            configs = [member.candidate.config for member in self.members]
            self.updates[contrast] = self.programs.update_together(configs, contrast)
        pending: dict[str, Any] | None = None
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

    def _read(self, parts: dict[str, Any] | None) -> None:
        if parts is None:
            return
        self.parts = {name: np.asarray(values) for name, values in jax.device_get(parts).items()}
        for index, member in self.running:
            if not np.isfinite(self.parts["loss"][index]):
                self._fail(member, f"the loss is {self.parts['loss'][index]}")

    def _validate(self) -> None:
        """The end of an epoch, for each member as in a training alone."""
        for index, member in self.running:
            one = take(self.state, index)
            if not self._is_finite(one, member):
                continue
            cutoffs = self.setup.config.eval.cutoffs
            event = loop.validation_event(self.setup.validate(one.variables), cutoffs)
            score = event["valid"][loop.SELECTION]
            place = {"step": self.step, "epoch": member.history.epochs + 1}
            if member.history.count_epoch(score):
                number = member.history.place(self.step)
                member.checkpoints.save_best(number, one, dataclasses.asdict(member.history))
            if self.parts:  # none where an epoch is validated again after a restart
                parts = {name: float(values[index]) for name, values in self.parts.items()}
                member.log.append({**place, "kind": "training", "parts": parts})
            member.log.append({**place, **event, "seconds": member.history.seconds})
            self._save(one, member)
            self._see_end(member)
        self.saved_step = self.step
        best = max((m.history.best, m.candidate.name) for m in self.members)
        epoch = self.setup.epoch_of(self.step)
        say(f"epoch {epoch}: {len(self.running)} go on; best {best[0]:.4f} (trial {best[1]})")

    def _see_end(self, member: Member) -> None:
        history = member.history
        validated = history.epochs == self.setup.epochs_done(self.step)
        ended = history.epochs >= self.epochs or member.setup.ends(self.step, history)
        if validated and ended:
            member.status = DONE

    def _save(self, state: TrainState, member: Member) -> None:
        number = member.history.place(self.step)
        member.checkpoints.save_last(number, state, dataclasses.asdict(member.history))

    def _is_finite(self, state: TrainState, member: Member) -> bool:
        if all_finite((state.variables, state.optimizer)):
            return True
        self._fail(member, "the parameters or their moments are not finite")
        return False

    def _fail(self, member: Member, why: str) -> None:
        say(f"trial {member.candidate.name} failed: {why} at step {self.step}")
        member.status = FAILED
