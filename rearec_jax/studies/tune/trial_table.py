"""Prints the table of a search: the best candidates, and how far each was trained."""

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from rearec_jax.studies.terminal import fraction, wide_console
from rearec_jax.studies.tune.ledger import FAILED, Ledger, Record
from rearec_jax.studies.tune.space import Candidate

ROWS = 15
HEADINGS = ("Valid NDCG@20", "Epochs", "Best", "Minutes")


def print_table(
    ledger: Ledger, candidates: Sequence[Candidate], rungs: Sequence[int], rows: int = ROWS
) -> None:
    """Prints the table to standard output, best first.

    Args:
        ledger: the results.
        candidates: all candidates, by their numbers.
        rungs: the epochs of each rung.
        rows: the number of rows at most.
    """
    trials = {record.trial for record in ledger.records}
    last = [record for trial in trials if (record := ledger.last(trial)) is not None]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("Trial", overflow="fold")
    for heading in HEADINGS:
        table.add_column(heading, justify="right")
    table.add_column("Options", overflow="fold")
    for record in sorted(last, key=lambda r: (-r.metric, r.epochs, r.trial))[:rows]:
        candidate = candidates[record.trial]
        table.add_row(*map(Text, (candidate.name, *_cells(record, ledger), candidate.label)))
    console = wide_console()
    if last:
        console.print(table)
    console.print(_counts(ledger, len(last), rungs), markup=False, highlight=False)


def _cells(record: Record, ledger: Ledger) -> tuple[str, ...]:
    seconds = sum(r.seconds for r in ledger.records if r.trial == record.trial)
    return (
        fraction(record.metric),
        str(record.epochs),
        str(record.best_epoch),
        f"{seconds / 60:.1f}",
    )


def _counts(ledger: Ledger, done: int, rungs: Sequence[int]) -> str:
    failed = sum(record.status == FAILED for record in ledger.records)
    reached = [sum(r.rung == k for r in ledger.records) for k in range(len(rungs))]
    steps = ", ".join(f"{n} to epoch {e}" for n, e in zip(reached, rungs, strict=True) if n)
    text = f"{done} trials in {ledger.seconds / 60:.1f} minutes"
    text += f": {steps}" if steps else ""
    return text + (f"; {failed} failed" if failed else "")
