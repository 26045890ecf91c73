"""The command line of the study of recovery, whose flags are those of the grid.

It runs the baseline and the methods, then the baselines that get what a method got, one process
after another, and prints the table. Exit codes are the grid's; the same command continues.
"""

from collections.abc import Sequence
import dataclasses
import itertools
import json
import pathlib
import shlex
import sys

from rearec_jax.run import front_door

if __name__ == "__main__":
    front_door.open_door()  # before the imports, which take seconds

from rearec_jax.config import AnalysisConfig, resolve
from rearec_jax.errors import UserError
from rearec_jax.methods import BASELINE, METHODS
from rearec_jax.run.front_door import FAILED, INTERRUPTED, SENTENCE
from rearec_jax.run.workdir import write_whole
from rearec_jax.studies import program
from rearec_jax.studies.analysis import comparable_runs, paired_tests
from rearec_jax.studies.equal.plan import make_plan
from rearec_jax.studies.grid import cells, runner
from rearec_jax.studies.grid.__main__ import GRACE_SECONDS
from rearec_jax.studies.grid.cells import Cell
from rearec_jax.studies.grid.options import Options, parse
from rearec_jax.studies.recovery import recovery_table
from rearec_jax.studies.recovery.controls import CONTROLS, Control, Pair, cells_of
from rearec_jax.studies.recovery.recovery_table import Recovered


def main(arguments: Sequence[str]) -> int:
    """Runs the study, or prints its table or its first commands; returns the exit code."""
    options = _options(arguments)
    first = cells.make_cells(options)
    cells.check(first)
    if options.dry_run:
        print("\n".join(shlex.join(cell.command) for cell in first if not cell.is_done))
        return 0
    if not options.table and (code := _run(first)):
        return code
    studies = []
    for key, group in itertools.groupby(sorted(first, key=_key), _key):
        own = [cell for cell in group if cell.is_done]
        baselines = [cell for cell in own if cell.method == BASELINE]
        for name in options.methods[1:]:
            methods = [cell for cell in own if cell.method == name]
            if not baselines or not methods:
                raise UserError(f"{'/'.join(key)}: {name} and {BASELINE} are not finished yet")
            studies.append((baselines, methods, _controls(baselines, methods)))
    more = {  # by their directories, as methods may share some
        cell.workdir.path: cell
        for baselines, _, made in studies
        for control in made
        for cell in _cells(baselines, control)
    }
    cells.check(list(more.values()))
    if not options.table and (code := _run(list(more.values()))):
        return code
    found = [_recovered(*study) for study in studies]
    recovery_table.print_tables(found)
    if options.markdown:
        write_whole(pathlib.Path(options.markdown), recovery_table.markdown(found), "--markdown")
    return 0


def _options(arguments: Sequence[str]) -> Options:
    options = parse(arguments)
    if options.vary:
        raise UserError("the study of recovery varies what it needs; leave out --vary and --study")
    methods = tuple(name for name in options.methods if name != BASELINE)
    if unknown := [name for name in methods if name not in METHODS]:
        raise UserError(f"--methods={unknown[0]} must be of {', '.join(METHODS)}")
    if not methods:
        raise UserError("--methods names no method beside base; name one, such as --methods=prl")
    return dataclasses.replace(options, methods=(BASELINE, *methods))


def _run(requested: Sequence[Cell]) -> int:
    """Runs cells; returns the exit code where not all of them are done, else 0."""
    tally = runner.run_cells(requested)
    tally.say()
    if tally.left:
        program.note(SENTENCE)
        return INTERRUPTED
    return FAILED if tally.failed or tally.elsewhere else 0


def _key(cell: Cell) -> tuple[str, str]:
    return cell.dataset, cell.backbone


def _controls(baselines: Sequence[Cell], methods: Sequence[Cell]) -> list[Control]:
    """Returns the controls of a method, whose seconds are measured once and then kept."""
    groups = [
        comparable_runs.Group(own[0].method, tuple(comparable_runs.read(_paths(own))))
        for own in (methods, baselines)
    ]
    of_method = methods[0].workdir.path
    plan = make_plan(groups, "seconds", of_method.with_name(f"{of_method.name}-seconds.json"))
    summary = json.loads(methods[0].workdir.summary.read_text(encoding="utf-8"))
    pair = Pair(
        method=resolve(methods[0].options),
        baseline=resolve(baselines[0].options),
        epochs=plan.shares[1].epochs,
        items=summary["data"]["items"],
    )
    return [control(pair) for control in CONTROLS]


def _cells(baselines: Sequence[Cell], control: Control) -> list[Cell]:
    return cells_of(baselines, control) if control.options else []


def _paths(own: Sequence[Cell]) -> list[str]:
    return [str(cell.workdir.path) for cell in own]


def _recovered(
    baselines: Sequence[Cell], methods: Sequence[Cell], controls: Sequence[Control]
) -> Recovered:
    trained = [control for control in controls if control.options]
    members = [baselines, *(_cells(baselines, control) for control in trained), methods]
    done = [[cell for cell in own if cell.is_done] for own in members]
    if not all(done):
        raise UserError("some controls are not finished yet; run the same command without --table")
    groups = [
        comparable_runs.Group(str(number), tuple(comparable_runs.read(_paths(own))))
        for number, own in enumerate(done)
    ]
    comparable_runs.check([group.runs[0] for group in groups])
    method = methods[0]
    return Recovered(
        title=f"{method.dataset}, {method.backbone}: {method.method}",
        method=method.method,
        controls=tuple(trained),
        missing=tuple(control for control in controls if not control.options),
        compared=paired_tests.compare(groups, AnalysisConfig()),
    )


if __name__ == "__main__":
    front_door.run_process(lambda: main(sys.argv[1:]), GRACE_SECONDS)
