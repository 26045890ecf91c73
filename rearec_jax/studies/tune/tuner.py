"""Runs the jobs of a search until the budget is spent or nothing is left."""

from collections.abc import Sequence
import contextlib
import dataclasses
import math
import pathlib
import shlex
import time

import jax
from ml_collections import config_dict

from rearec_jax import config as config_lib
from rearec_jax.config import Config
from rearec_jax.data import read
from rearec_jax.data.interactions import VALIDATION, Interactions
from rearec_jax.devices.mesh import ONE, make_devices
from rearec_jax.errors import UserError
from rearec_jax.methods import METHODS
from rearec_jax.run import files, lock
from rearec_jax.run.interruption import Interruption
from rearec_jax.run.workdir import Workdir, explained, make_directory
from rearec_jax.studies.terminal import say
from rearec_jax.studies.tune import alone, best, trial_table
from rearec_jax.studies.tune.ledger import DONE, PARTIAL, Ledger, Record, check_search
from rearec_jax.studies.tune.schedule import Job, next_jobs, rungs
from rearec_jax.studies.tune.shared_updates import SharedUpdates, make_shared_updates
from rearec_jax.studies.tune.space import Candidate, candidates, group_of, read_space
from rearec_jax.studies.tune.together import train_together
from rearec_jax.studies.tune.trial import TOO_LARGE, Trial

FACTOR = 3  # one in three of the candidates at a rung goes on, three times as far
SEED = 0  # of the order of candidates
PARALLEL = 4  # candidates at once on an accelerator, unless --parallel says otherwise
KEPT = 8  # groups whose compiled updates are kept


@dataclasses.dataclass(frozen=True)
class Request:
    """A search, as the command line describes it."""

    root: pathlib.Path  # the directory of the search
    options: config_dict.ConfigDict  # where the search starts, not resolved yet
    arguments: tuple[str, ...]  # the arguments that set it: --config=FILE --config.name=value ...
    space: tuple[str, ...]  # the values of --space, each OPTION=VALUES; none for the default space
    minutes: float = 60.0  # the budget of the whole search, also over several starts of the command
    trials: int = 0  # the number of candidates at most; 0 for as many as the minutes allow
    parallel: int = 0  # candidates that train at once; 0 for one on CPUs and PARALLEL elsewhere
    first_epochs: int = 3  # the epochs of the first rung
    command: str = ""  # the command line, for the docstring of best.py


def tune(request: Request) -> Record | None:
    """Searches, writes trials.parquet and best.py after each job, and prints the table.

    Returns:
        The record of the best candidate, if any is done.

    Raises:
        UserError: whatever is wrong with flags, options, data or directory.
        KeyboardInterrupt: stopped by a signal, all saved.
    """
    _check(request)
    config = config_lib.resolve(request.options)
    if config.train.start_from:
        raise UserError(
            f"train.start_from={config.train.start_from} is not for a search, whose candidates"
            " start anew; leave it out"
        )
    space = read_space(request.space, request.arguments, config)
    found = candidates(space, request.options, request.arguments, SEED)
    make_directory(request.root)
    with contextlib.ExitStack() as held:
        with explained(request.root):
            held.enter_context(lock.alone(request.root))
        settings = {"factor": FACTOR, "first_epochs": request.first_epochs, "seed": SEED}
        check_search(request.root / "search.json", config, space, settings)
        ledger = Ledger(request.root / "trials.parquet", found)
        search = _Search(request, config, found, ledger)
        search.run()
    return ledger.best()


class _Search:
    """The part of a search that one process does."""

    def __init__(
        self, request: Request, config: Config, found: Sequence[Candidate], ledger: Ledger
    ):
        self.request, self.candidates, self.ledger = request, found, ledger
        self.at_once = _at_once(request.parallel, config)
        self.groups = [group_of(candidate.config) for candidate in found]
        self.limit = min(request.trials or len(found), len(found))
        self.rungs = rungs(config.train.epochs, request.first_epochs, FACTOR)
        self.deadline = time.monotonic() + 60 * request.minutes - ledger.seconds
        self.signalled = False
        self.data: dict[object, Interactions] = {}
        self.shared_updates: dict[Config, SharedUpdates] = {}

    def run(self) -> None:
        """Trains until the budget is spent, nothing is left, or a signal comes."""
        epochs = ", ".join(map(str, self.rungs))
        say(f"{self.limit} candidates, rungs at {epochs} epochs, {self.request.minutes:g} minutes")
        try:
            while jobs := self._next():
                records = self._do(jobs)
                self.ledger.add(records)
                self._write_best()
                partial = any(record.status == PARTIAL for record in records)
                if self.signalled or (partial and not self._is_over()):
                    raise KeyboardInterrupt
        finally:
            self._show()

    def _is_over(self) -> bool:
        return time.monotonic() >= self.deadline

    def _next(self) -> list[Job]:
        if self._is_over():
            return []
        scores = self.ledger.scores(self.limit)
        groups, at_once = self.groups[: self.limit], self.at_once
        return next_jobs(groups, scores, len(self.rungs), FACTOR, at_once)

    def _do(self, jobs: Sequence[Job]) -> list[Record]:
        ended = [record for job in jobs if (record := self._ended(job)) is not None]
        if ended:
            return ended  # the schedule will name the other jobs again
        records = self._together(jobs) if len(jobs) > 1 else None
        return records or [self._alone(jobs[0])]

    def _ended(self, job: Job) -> Record | None:
        """Returns the record of a trial that stopped early at an earlier rung; None for others.

        There is nothing to train in it, so its earlier result is that of this rung too.
        """
        before = self.ledger.last(job.candidate)
        if before is None or before.epochs >= self.rungs[before.rung]:
            return None
        return dataclasses.replace(before, rung=job.rung, seconds=0.0)

    def _together(self, jobs: Sequence[Job]) -> list[Record] | None:
        trials = [self._trial(job) for job in jobs]
        config = trials[0].candidate.config
        if _crashes(config):
            return None
        self._announce(trials)
        with Interruption(self.deadline) as interruption:
            try:
                data, shared = self._read_data(config), self._shared_updates(config)
                records = train_together(trials, data, shared, interruption)
            except jax.errors.JaxRuntimeError as error:
                if TOO_LARGE not in str(error):
                    raise
                say(f"too little memory for {len(jobs)} at once: from here on one at a time")
                self.at_once, records = 1, None
        self.signalled = interruption.signalled
        return records

    def _alone(self, job: Job) -> Record:
        trial = self._trial(job)
        self._announce([trial])
        config = trial.candidate.config
        setup = self._shared_updates(config).setup_of(config)
        return alone.train_alone(trial, self._read_data(config), setup, self.deadline)

    def _trial(self, job: Job) -> Trial:
        candidate = self.candidates[job.candidate]
        return Trial(candidate, job, self._directory(candidate), self.rungs[job.rung])

    def _announce(self, trials: Sequence[Trial]) -> None:
        spent, minutes = self.ledger.seconds / 60, self.request.minutes
        say(f"{spent:.1f} of {minutes:g} minutes, to epoch {trials[0].epochs}:")
        for trial in trials:
            say(f"  trial {trial.candidate.name}: {trial.candidate.label}")

    def _directory(self, candidate: Candidate) -> pathlib.Path:
        return self.request.root / "trials" / candidate.name

    def _shared_updates(self, config: Config) -> SharedUpdates:
        """Returns the shared updates of the candidate's group, which are kept for KEPT groups."""
        group = group_of(config)
        if group not in self.shared_updates:
            while len(self.shared_updates) >= KEPT:
                self.shared_updates.pop(next(iter(self.shared_updates)))
            self.shared_updates[group] = make_shared_updates(config, self._read_data(config))
        return self.shared_updates[group]

    def _read_data(self, config: Config) -> Interactions:
        """Returns the data of a candidate, which are read once for all that use the same."""
        key = (config.data, config.text, config.model.items != "ids")
        if key not in self.data:
            data = read.read_data(config)
            if not (data.split == VALIDATION).any():
                raise UserError(
                    "--mode=tune compares candidates by validation, and the data have no row for"
                    " it; mark some as valid in data.split_column"
                )
            # Candidates may differ in what is read of the items, never in the interactions.
            same = dataclasses.replace(data, item_vectors=None, item_features=None)
            Workdir(self.request.root).check_data(same.digests())
            self.data[key] = data
        return self.data[key]

    def _write_best(self) -> None:
        record = self.ledger.best()
        if record is None:
            return
        done = len({r.trial for r in self.ledger.records if r.status == DONE})
        text = (
            f"    {self.request.command}\n\n"
            f"Validation NDCG@20 {record.metric:.4f} in epoch {record.best_epoch}, trial"
            f" {record.trial:04d} of {done}, trained for {record.epochs} of"
            f" {self.rungs[-1]} epochs; the search has taken {self.ledger.seconds / 60:.1f}"
            " minutes. The test split has not been looked at.\n"
        )
        best.write_best(self.request.root / "best.py", self.candidates[record.trial], text)

    def _show(self) -> None:
        trial_table.print_table(self.ledger, self.candidates, self.rungs)
        record = self.ledger.best()
        if record is None:
            return
        path = self.request.root / "best.py"
        trial = self._directory(self.candidates[record.trial])
        say(f"written: {path}\ntrain the best to its end, and evaluate it on the test split:")
        command = ["python", "-m", "rearec_jax.main", f"--config={path}", f"--workdir={trial}"]
        say("  " + shlex.join(command))


def _crashes(config: Config) -> bool:
    """Says whether updates of several such candidates at once crash.

    XLA's program of several ERL updates with KL ends in a segmentation fault (CPU, JAX 0.10.2).
    """
    method = config.method
    return jax.default_backend() == "cpu" and METHODS[method.name].whole_catalogue(method)


def _at_once(requested: int, config: Config) -> int:
    """Returns how many candidates train with one vectorised update.

    Raises:
        UserError: several are requested, and each would train on several devices.
    """
    several = make_devices(config.mesh.data, config.mesh.model) != ONE
    if several and requested > 1:
        raise UserError(
            f"--parallel={requested} trains several candidates on one device; set"
            " --config.mesh.data=1, or leave --parallel out"
        )
    return requested or (1 if several or jax.default_backend() == "cpu" else PARALLEL)


def _check(request: Request) -> None:
    if not 0 < request.minutes < math.inf:
        raise UserError(f"--minutes={request.minutes:g} must be a positive number of minutes")
    for flag, zero in {"parallel": "as fits", "trials": "no limit"}.items():
        if (value := getattr(request, flag)) < 0:
            raise UserError(f"--{flag}={value} must not be negative (0 = {zero})")
    if request.first_epochs < 1:
        raise UserError(f"--first_epochs={request.first_epochs} must be at least 1")
    if files.is_remote(request.root):
        raise UserError(f"--workdir={request.root}: --mode=tune needs a local directory")
