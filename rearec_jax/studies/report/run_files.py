"""Reads the files of one work directory for a report; what is missing is None or empty."""

from collections.abc import Mapping, Sequence
import dataclasses
import json
import pathlib
from typing import Any

import polars as pl

from rearec_jax.config import Config
from rearec_jax.data.parquet import DAMAGED
from rearec_jax.errors import UserError
from rearec_jax.evaluation import rank_file
from rearec_jax.evaluation.rank_file import UserRanks
from rearec_jax.run.events import read_events
from rearec_jax.run.workdir import Workdir
from rearec_jax.studies.analysis import from_ranks
from rearec_jax.studies.analysis.accuracy import BY
from rearec_jax.studies.analysis.comparable_runs import config_of
from rearec_jax.studies.report.intervals import with_intervals

METRIC = "ndcg@10"  # the metric of figures, and of the answer
Rows = Sequence[Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class RunFiles:
    """The files of a run, finished or not."""

    path: pathlib.Path  # the work directory
    label: str  # the name of the run in figures and tables, which depends on all runs of the report
    config: Config  # the options
    summary: Mapping[str, Any]  # the contents of summary.json; empty for a run that is not finished
    events: Rows  # the events of metrics.jsonl
    ranks: UserRanks | None  # the ranks of ranks.parquet
    tables: Mapping[str, Any]  # the tables of analysis/, and those that the ranks alone give
    stories: Rows  # the stories of analysis/
    projection: pl.DataFrame | None  # the projected states of analysis/: user, step, x, y
    digest: str  # the digest of the interactions; in older runs that of the text vectors as well

    @property
    def steps(self) -> list[str]:
        """The names 'step 0' ... of a run that reasons; empty where there are fewer than two."""
        names = [row["representation"] for row in self.tables.get("accuracy_by_step", [])]
        steps = [name for name in names if name != rank_file.FINAL]
        return steps if len(steps) > 1 else []


def read(path: pathlib.Path) -> RunFiles:
    """Reads the files of a work directory.

    Raises:
        UserError: it is no work directory, or a file in it is damaged.
    """
    config, workdir = config_of(path), Workdir(path)
    summary = _json(workdir.summary, dict)
    ranks_file = path / "ranks.parquet"
    ranks = rank_file.read(ranks_file) if summary and ranks_file.exists() else None
    tables = _json(path / "analysis/tables.json", dict) if summary else {}
    if ranks is not None:
        tables |= {name: frame.to_dicts() for name, frame in from_ranks.tables(ranks).items()}
        for by in BY:
            tables[f"by_{by}"] = with_intervals(tables[f"by_{by}"], ranks, by, METRIC)
    return RunFiles(
        path=path,
        label=path.name,
        config=config,
        summary=summary,
        events=read_events(workdir),
        ranks=ranks,
        tables=tables,
        stories=_json(path / "analysis/stories.json", list) if summary else [],
        projection=_projection(path / "analysis/projection.parquet") if summary else None,
        digest=_digest(workdir.data),
    )


def _digest(path: pathlib.Path) -> str:
    found = _json(path, dict)
    return str(found.get("interactions", found.get("digest", "")))


def _json(path: pathlib.Path, kind: type) -> Any:
    """Returns the content of a file that holds a ``kind``; an empty one where there is no file."""
    if not path.exists():
        return kind()
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, kind):
            raise ValueError("not what this program writes")
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error
    return value


def _projection(path: pathlib.Path) -> pl.DataFrame | None:
    if not path.exists():
        return None
    try:
        return pl.read_parquet(path, columns=["user", "step", "x", "y"])
    except DAMAGED as error:
        raise _damaged(path, error) from error


def _damaged(path: pathlib.Path, error: Exception) -> UserError:
    run = path.parent.parent if path.parent.name == "analysis" else path.parent
    mode = "analyse" if run != path.parent else "evaluate"
    return UserError(
        f"{path} cannot be read ({error}); write it anew with --mode={mode} --workdir={run}"
    )
