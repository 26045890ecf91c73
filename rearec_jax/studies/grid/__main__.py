"""The command line of the grid: runs what is missing, then prints the table.

Exit codes: 0 where all is done; 1 where at least one cell failed; 2 after a mistake of the user's,
which one sentence names; 130 after Ctrl-C or SIGTERM, where the same command continues.
"""

from collections.abc import Sequence
import pathlib
import shlex
import sys

from rearec_jax.run import front_door

if __name__ == "__main__":
    front_door.open_door()  # before the imports, which take a second

from rearec_jax.errors import UserError
from rearec_jax.run.front_door import FAILED, INTERRUPTED, SENTENCE
from rearec_jax.run.workdir import write_whole
from rearec_jax.studies import program
from rearec_jax.studies.grid import (
    agreement,
    cells,
    means,
    paper_table,
    runner,
    summaries,
    sweep_table,
)
from rearec_jax.studies.grid.options import Options, parse

GRACE_SECONDS = 1.5 * front_door.GRACE_SECONDS  # a cell that is told to stop ends before


def main(arguments: Sequence[str]) -> int:
    """Runs a grid, or prints its table or its commands; returns the exit code."""
    options = parse(arguments)
    requested = cells.make_cells(options) if not options.table or options.has_configs else []
    if options.table:
        _show(options, requested)
        return 0
    cells.check(requested)
    agreement.check(options.root, requested)
    if options.dry_run:
        missing = [shlex.join(cell.command) for cell in requested if not cell.is_done]
        print("\n".join(missing))  # at once: `| head` may close the pipe
        return 0
    summaries.note_command(options.root, arguments)
    tally = runner.run_cells(requested)
    tally.say()
    _show(options, requested)
    if tally.left:  # only after Ctrl-C or SIGTERM
        program.note(SENTENCE)
        return INTERRUPTED
    return FAILED if tally.failed else 0


def _show(options: Options, requested: Sequence[cells.Cell]) -> None:
    """Prints the table of the methods and that of the variants, where a root holds them."""
    results, remarks = summaries.read(options.root)
    rows, notes = sweep_table.read(options.root)
    if not results and not rows and options.table and (options.vary or not requested):
        raise UserError(f"{options.root} holds no finished cell of a grid; name another --root")
    texts = []
    if results or not (rows or options.vary):
        pairs = [] if options.vary else [(cell.dataset, cell.backbone) for cell in requested]
        compared = means.compare(results, pairs)
        remarks += means.remarks(results)
        paper_table.print_table(compared, remarks)
        texts.append(paper_table.markdown(compared, remarks))
    if rows or options.vary:
        sweep_table.print_table(rows, [*notes, sweep_table.CAPTION])
        texts.append(sweep_table.markdown(rows, notes))
    if options.markdown:
        texts += paper_table.code(summaries.read_commands(options.root))
        write_whole(pathlib.Path(options.markdown), "\n".join(texts), "--markdown")


def run() -> None:
    """Runs `main`, and raises SystemExit; a mistake of the user's becomes one sentence."""
    sys.exit(front_door.exit_code(lambda: main(sys.argv[1:])))


if __name__ == "__main__":
    front_door.run_process(lambda: main(sys.argv[1:]), GRACE_SECONDS)
