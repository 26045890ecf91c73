"""The results of a search: trials.parquet, a row for each candidate and rung that it reached."""

from collections.abc import Mapping, Sequence
import dataclasses
import json
import math
import pathlib
from typing import Any

import polars as pl

from rearec_jax import config as config_lib
from rearec_jax.config import Config
from rearec_jax.config.compare import clashes
from rearec_jax.data.parquet import DAMAGED
from rearec_jax.errors import UserError
from rearec_jax.run import files
from rearec_jax.run.workdir import explained, write_whole
from rearec_jax.studies.tune.schedule import Scores
from rearec_jax.studies.tune.space import Candidate, Values

DONE, FAILED, PARTIAL = "done", "failed", "partial"
METRIC = "valid_ndcg@20"

Settings = Mapping[str, int]
_COLUMNS = {  # of trials.parquet, in the order of the fields of `Record`
    "trial": pl.Int64,
    "rung": pl.Int64,
    "status": pl.String,
    "epochs": pl.Int64,
    METRIC: pl.Float64,
    "best_epoch": pl.Int64,
    "seconds": pl.Float64,
}


@dataclasses.dataclass(frozen=True)
class Record:
    """The result of a job."""

    trial: int  # the number of the candidate
    rung: int  # the index of the rung
    # "done"; "failed" where the training diverged or needed too much memory; or "partial" where it
    # was stopped before the rung
    status: str
    epochs: int = 0  # the number of epochs that are finished
    metric: float = -1.0  # the validation NDCG@20 of the best of them
    best_epoch: int = 0  # that epoch, counted from 1; 0 where none is finished
    seconds: float = 0.0  # the seconds since the rung before, with compilation and validation


class Ledger:
    """The records of one search, which are kept on disk."""

    def __init__(self, path: pathlib.Path, candidates: Sequence[Candidate]):
        """Reads the records at ``path``, where there are any.

        Raises:
            UserError: the file cannot be read, or its trials have other options than
                ``candidates``.
        """
        self.path = path
        self._candidates = candidates
        self._records: dict[tuple[int, int], Record] = {}
        if path.exists():
            found = _read(path)
            for row in found.select(list(_COLUMNS)).rows():
                record = Record(*row)
                self._records[record.trial, record.rung] = record
            unknown = any(trial >= len(candidates) for trial, _ in self._records)
            if unknown or not found.equals(self.table()):
                raise UserError(
                    f"{path} numbers its trials in another order than this version; choose another"
                    " --workdir"
                )

    @property
    def records(self) -> list[Record]:
        """All records, by trial and rung."""
        return [self._records[key] for key in sorted(self._records)]

    @property
    def seconds(self) -> float:
        """The seconds that all records have taken."""
        return math.fsum(record.seconds for record in self._records.values())

    def scores(self, limit: int) -> Scores:
        """Returns what the schedule decides by: the scores of the first ``limit`` candidates."""
        return {
            key: record.metric if record.status == DONE else -math.inf
            for key, record in self._records.items()
            if record.status != PARTIAL and record.trial < limit
        }

    def last(self, trial: int) -> Record | None:
        """Returns the trial's record of the highest rung that is done; None where none is."""
        done = [r for r in self.records if r.trial == trial and r.status == DONE]
        return done[-1] if done else None

    def best(self) -> Record | None:
        """Returns the record with the highest metric; None where no trial is done.

        Of equal metrics the one with fewer epochs is better, then the earlier trial. A trial that
        failed at a later rung does not count, as its full training would fail too.
        """
        failed = {record.trial for record in self.records if record.status == FAILED}
        done = [r for r in self.records if r.status == DONE and r.trial not in failed]
        return min(done, key=lambda r: (-r.metric, r.epochs, r.trial), default=None)

    def add(self, records: Sequence[Record]) -> None:
        """Adds records, which are on disk when this returns.

        A record replaces that of the same trial and rung, and takes over its seconds.
        """
        for record in records:
            key = record.trial, record.rung
            before = self._records[key].seconds if key in self._records else 0.0
            seconds = before + record.seconds
            self._records[key] = dataclasses.replace(record, seconds=seconds)
        with explained(self.path):
            files.write_whole(self.path, self.table().write_parquet)

    def table(self) -> pl.DataFrame:
        """Returns the table of trials.parquet.

        It has a column for each option that is searched, which is empty where a trial leaves the
        option as given.
        """
        names = list(dict.fromkeys(n for c in self._candidates for n, _ in c.values))
        rows = []
        for record in self.records:
            options = dict(self._candidates[record.trial].values)
            numbers = dict(zip(_COLUMNS, dataclasses.astuple(record), strict=True))
            rows.append(numbers | {name: options.get(name) for name in names})
        return pl.DataFrame(rows, schema={**_COLUMNS, **dict.fromkeys(names, pl.String)})


def _read(path: pathlib.Path) -> pl.DataFrame:
    try:
        found = pl.read_parquet(path)
        found.select(list(_COLUMNS))
    except DAMAGED as error:
        raise UserError(
            f"{path} cannot be read ({str(error).partition(chr(10))[0]}); restore it, or choose"
            " another --workdir"
        ) from error
    return found


def check_search(path: pathlib.Path, config: Config, space: Values, settings: Settings) -> None:
    """Writes what is searched to a new search.json, or compares it with one that is there.

    Raises:
        UserError: the directory holds another search; the message lists what differs.
    """
    wanted: dict[str, Any] = {
        "space": {name: ",".join(values) for name, values in space.items()},
        "settings": dict(settings),
        "config": config_lib.to_dict(config),
    }
    if not path.exists():
        write_whole(path, json.dumps(wanted, indent=2) + "\n")
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        lines = clashes(found["config"], wanted["config"])
        for part in ("space", "settings"):
            lines += config_lib.difference({part: found[part]}, {part: wanted[part]})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} cannot be read ({error}); choose another --workdir") from error
    if lines:
        raise UserError(
            f"{path.parent} holds another search; choose another --workdir, or set back:\n  "
            + "\n  ".join(lines)
        )
