"""Prints the table of a search: the best candidates, and how far each was trained."""

from collections.abc import Sequence

from rich.text import Text

from rearec_jax.studies.terminal import fraction, say, table, wide_console
from rearec_jax.studies.tune.ledger import FAILED, Ledger
from rearec_jax.studies.tune.space import Candidate

ROWS = 15
HEADINGS = ("Trial", "Valid NDCG@20", "Epochs", "Best", "Minutes", "Options")


def print_table(
    ledger: Ledger, candidates: Sequence[Candidate], rungs: Sequence[int], rows: int = ROWS
) -> None:
    """Prints the table to standard output, best first, with ``rows`` rows at most."""
    trials = {record.trial for record in ledger.records}
    last = [record for trial in trials if (record := ledger.last(trial)) is not None]
    shown = table(HEADINGS)
    shown.columns[-1].justify = "left"  # the options
    for record in sorted(last, key=lambda r: (-r.metric, r.epochs, r.trial))[:rows]:
        candidate = candidates[record.trial]
        seconds = sum(r.seconds for r in ledger.records if r.trial == record.trial)
        cells = candidate.name, fraction(record.metric), str(record.epochs), str(record.best_epoch)
        shown.add_row(*map(Text, (*cells, f"{seconds / 60:.1f}", candidate.label)))
    console = wide_console()
    if last:
        console.print(shown)
    say(_counts(ledger, len(last), rungs), console)


def _counts(ledger: Ledger, done: int, rungs: Sequence[int]) -> str:
    failed = sum(record.status == FAILED for record in ledger.records)
    reached = [sum(r.rung == k for r in ledger.records) for k in range(len(rungs))]
    steps = ", ".join(f"{n} to epoch {e}" for n, e in zip(reached, rungs, strict=True) if n)
    text = f"{done} trials in {ledger.seconds / 60:.1f} minutes"
    text += f": {steps}" if steps else ""
    return text + (f"; {failed} failed" if failed else "")
