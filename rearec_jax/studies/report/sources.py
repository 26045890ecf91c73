"""Reads the directories that a report is about: runs, in groups of the same data, and studies."""

from collections.abc import Sequence
import dataclasses
import functools
import pathlib
from typing import Any

from rearec_jax.config import AnalysisConfig
from rearec_jax.errors import UserError
from rearec_jax.studies.analysis import comparable_runs
from rearec_jax.studies.analysis.paired_tests import Comparison, compare
from rearec_jax.studies.grid import sweep_table
from rearec_jax.studies.grid.sweep_table import SweepRow
from rearec_jax.studies.report import run_files
from rearec_jax.studies.report.run_files import RunFiles


@dataclasses.dataclass(frozen=True)
class DataSet:
    """The runs on the same data that are ranked by the same rules; the first is the baseline."""

    name: str  # the name of the data, with the rules of ranking where they are not the usual ones
    runs: tuple[RunFiles, ...]
    comparison: Comparison | None  # of the finished runs, where several can be compared
    why_not: str  # the reason why finished runs cannot be compared; "" where there is none
    is_local: bool = True  # whether the page shows the directories


@dataclasses.dataclass(frozen=True)
class Study:
    """The finished cells of a grid that varies options."""

    path: pathlib.Path  # the root of the grid
    rows: tuple[SweepRow, ...]  # a row for each method and combination of values
    notes: tuple[str, ...]  # the sentences that a reader needs beside them


@dataclasses.dataclass(frozen=True)
class Sources:
    """All that a report is about: groups of runs, and studies."""

    data_sets: tuple[DataSet, ...]
    studies: tuple[Study, ...]

    @property
    def runs(self) -> list[RunFiles]:
        """The runs of all data sets."""
        return [run for data in self.data_sets for run in data.runs]


def read(names: Sequence[str], options: AnalysisConfig) -> Sources:
    """Reads the work directories of runs and the roots of studies, in the order given.

    Raises:
        UserError: no directory is named, one is named twice, one is neither, or a file is damaged.
    """
    if not names:
        raise UserError(
            "--mode=report needs --runs=DIR,DIR,... (work directories of runs, roots of studies),"
            " or --workdir=DIR of one run"
        )
    runs, studies = [], []
    for path in comparable_runs.distinct(names):
        is_run = (path / "config.json").exists()
        if not is_run and sweep_table.is_sweep(path):
            studies.append(_study(path))
        elif not is_run and (cells := sorted(path.glob("*/*/summary.json"))):
            raise UserError(  # its runs may be of many data sets, which make no good report
                f"--runs: {path} is the root of a grid; name the cells to report, such as"
                f" {cells[0].parent}"
            )
        else:
            runs.append(run_files.read(path))
    return Sources(tuple(_data_sets(runs, options)), tuple(studies))


def without_local(found: Sources) -> Sources:
    """Returns the sources without what stays where it is: paths, and raw ids of users."""
    data_sets = [
        dataclasses.replace(
            data,
            is_local=False,
            runs=tuple(_without_local(run) for run in data.runs),
            why_not=functools.reduce(
                lambda text, run: text.replace(str(run.path), run.path.name),
                data.runs,
                data.why_not,
            ),
        )
        for data in found.data_sets
    ]
    studies = [dataclasses.replace(s, path=pathlib.Path(s.path.name)) for s in found.studies]
    return Sources(tuple(data_sets), tuple(studies))


def _without_local(run: RunFiles) -> RunFiles:
    config = dataclasses.replace(
        run.config,
        data=_without_paths(run.config.data),
        text=_without_paths(run.config.text),
        analysis=dataclasses.replace(run.config.analysis, story_users=()),
    )
    stories = [{**told, "user": str(number)} for number, told in enumerate(run.stories, start=1)]
    return dataclasses.replace(run, config=config, stories=stories)


def _without_paths(options: Any) -> Any:
    """Returns a section of the options in which all that name places have their defaults."""
    places = [
        field
        for field in dataclasses.fields(options)
        if field.name.endswith(("path", "_dir")) or field.name in ("mirror", "hint")
    ]
    return dataclasses.replace(options, **{field.name: field.default for field in places})


def _study(path: pathlib.Path) -> Study:
    rows, notes = sweep_table.read(path)
    if not rows:
        raise UserError(f"{path} holds no finished cell of a study; run it first")
    return Study(path, tuple(rows), tuple(notes))


def _data_sets(found: Sequence[RunFiles], options: AnalysisConfig) -> list[DataSet]:
    members: dict[tuple[str, str, bool, int], list[RunFiles]] = {}
    for run in found:
        rules = run.config.eval
        key = (run.config.data.name, run.digest, rules.exclude_seen, rules.max_users)
        members.setdefault(key, []).append(run)
    names = _names(list(members))
    sets = []
    for name, runs in zip(names, members.values(), strict=True):
        comparison, why_not = _compared(runs, options)
        sets.append(DataSet(name, tuple(_labelled(runs)), comparison, why_not))
    return sets


def _names(keys: Sequence[tuple[str, str, bool, int]]) -> list[str]:
    """Returns the names of the data, with the rules of ranking that are not the usual ones.

    Other data of the same name have a number.
    """
    names: list[str] = []
    for data, _, exclude_seen, max_users in keys:
        rules = ["seen items excluded"] * exclude_seen
        rules += [f"sample of {max_users:,} users"] * bool(max_users)
        name = f"{data} ({', '.join(rules)})" if rules else data
        count = sum(known == name or known.startswith(f"{name} #") for known in names)
        names.append(f"{name} #{count + 1}" if count else name)
    return names


def _labelled(runs: Sequence[RunFiles]) -> list[RunFiles]:
    """Labels runs by the method and, where that is not enough, options, seed and a number."""
    labels = comparable_runs.labels([run.config for run in runs])
    seeded = [
        f"{label}, seed {run.config.seed}" if labels.count(label) > 1 else label
        for label, run in zip(labels, runs, strict=True)
    ]
    return [
        dataclasses.replace(
            run,
            label=f"{label} #{seeded[: place + 1].count(label)}"
            if seeded.count(label) > 1
            else label,
        )
        for place, (label, run) in enumerate(zip(seeded, runs, strict=True))
    ]


def _compared(runs: Sequence[RunFiles], options: AnalysisConfig) -> tuple[Comparison | None, str]:
    finished = [str(run.path) for run in runs if run.ranks is not None]
    if len(finished) < 2:
        return None, ""
    try:
        groups = comparable_runs.group(comparable_runs.read(finished))
    except UserError as error:
        return None, str(error)
    return compare(groups, options), ""
