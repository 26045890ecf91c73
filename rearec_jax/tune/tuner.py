"""--mode=tune: runs the jobs of the schedule until the budget is spent or nothing is left."""

from collections.abc import Sequence
import dataclasses
import math
import pathlib
import time

from ml_collections import config_dict

from rearec_jax import config as config_lib
from rearec_jax import experiment, files, lock
from rearec_jax.config import Config
from rearec_jax.data.interactions import Interactions
from rearec_jax.errors import UserError
from rearec_jax.tune import best, running, tables
from rearec_jax.tune.ledger import DONE, PARTIAL, Ledger, Record, check_search
from rearec_jax.tune.running import say
from rearec_jax.tune.schedule import Job, next_jobs, rungs
from rearec_jax.tune.space import Candidate, candidates, read_space
from rearec_jax.workdir import explained, make_directory

FACTOR = 3  # of those that reach a rung, one in three goes on, three times as far
SEED = 0  # of the order of candidates


@dataclasses.dataclass(frozen=True)
class Request:
    """What the command line asks for."""

    root: pathlib.Path
    options: config_dict.ConfigDict
    arguments: tuple[str, ...]  # --config=FILE --config.name=value ...
    space: tuple[str, ...]  # OPTION=VALUES; none: the default space
    minutes: float = 60.0  # in all, also over several starts of the command
    trials: int = 0  # candidates, at most; 0 = as many as the minutes allow
    first_epochs: int = 3  # of the first rung
    command: str = ""  # for the docstring of best.py


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
    space = read_space(request.space, request.arguments, config)
    found = candidates(space, request.options, request.arguments, SEED)
    make_directory(request.root)
    with explained(request.root), lock.alone(request.root):
        settings = {"factor": FACTOR, "first_epochs": request.first_epochs, "seed": SEED}
        check_search(request.root / "search.json", config, space, settings)
        ledger = Ledger(request.root / "trials.parquet", found)
        search = _Search(request, config, found, ledger)
        search.run()
    return ledger.best()


class _Search:
    """The jobs of one process."""

    def __init__(
        self, request: Request, config: Config, found: Sequence[Candidate], ledger: Ledger
    ):
        self.request, self.candidates, self.ledger = request, found, ledger
        self.limit = min(request.trials or len(found), len(found))
        self.rungs = rungs(config.train.epochs, request.first_epochs, FACTOR)
        self.deadline = time.monotonic() + 60 * request.minutes - ledger.seconds
        self.data: dict[object, Interactions] = {}

    def run(self) -> None:
        """Until the budget is spent, nothing is left, or a signal comes."""
        epochs = ", ".join(map(str, self.rungs))
        say(f"{self.limit} candidates, {epochs} epochs, {self.request.minutes:g} minutes")
        try:
            while (job := self._next()) is not None:
                record = self._do(job)
                self.ledger.add([record])
                self._write_best()
                if record.status == PARTIAL and not self._is_over():
                    raise KeyboardInterrupt
        finally:
            self._show()

    def _is_over(self) -> bool:
        return time.monotonic() >= self.deadline

    def _next(self) -> Job | None:
        if self._is_over():
            return None
        scores = self.ledger.scores(self.limit)
        jobs = next_jobs([0] * self.limit, scores, len(self.rungs), FACTOR)
        return jobs[0] if jobs else None

    def _do(self, job: Job) -> Record:
        before = self.ledger.last(job.candidate)
        if before is not None and before.epochs < self.rungs[before.rung]:
            # It has stopped early: there is nothing to train.
            return dataclasses.replace(before, rung=job.rung, seconds=0.0)
        candidate, epochs = self.candidates[job.candidate], self.rungs[job.rung]
        spent, minutes = self.ledger.seconds / 60, self.request.minutes
        say(
            f"{spent:.1f} of {minutes:g} minutes; trial {candidate.name} to epoch {epochs}: "
            + candidate.label
        )
        return running.train_alone(
            self._directory(candidate),
            candidate,
            job,
            self._read_data(candidate.config),
            epochs,
            self.deadline,
        )

    def _directory(self, candidate: Candidate) -> pathlib.Path:
        return self.request.root / "trials" / candidate.name

    def _read_data(self, config: Config) -> Interactions:
        """Read once for all candidates that use the same."""
        key = (config.data, config.text, config.model.items != "ids")
        if key not in self.data:
            self.data[key] = experiment.read_data(config)
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
        tables.print_table(self.ledger, self.candidates, self.rungs)
        record = self.ledger.best()
        if record is None:
            return
        path = self.request.root / "best.py"
        trial = self._directory(self.candidates[record.trial])
        say(f"written: {path}\ntrain the best to its end, and evaluate it on the test split:")
        say(f"  python -m rearec_jax.main --config={path} --workdir={trial}")


def _check(request: Request) -> None:
    if not 0 < request.minutes < math.inf:
        raise UserError(f"--minutes={request.minutes:g} must be a positive number of minutes")
    if request.trials < 0:
        raise UserError(f"--trials={request.trials} must not be negative (0 = no limit)")
    if request.first_epochs < 1:
        raise UserError(f"--first_epochs={request.first_epochs} must be at least 1")
    if files.is_remote(request.root):
        raise UserError(f"--workdir={request.root}: --mode=tune needs a local directory")
