"""Shows the paper's table in a terminal and as Markdown."""

from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from rearec_jax.studies import terminal
from rearec_jax.studies.estimate import Estimate
from rearec_jax.studies.grid.means import Block, Comparison, Row

HEADINGS = ("NDCG@10", "NDCG@20", "Recall@10", "Recall@20", "Seeds", "Epoch", "Minutes")
CAPTION = (
    "Test split. Mean ± standard deviation of the sample where there is more than one seed; bold:"
    " the best of a data set and backbone; improvement: in each column, the better of +ERL and +PRL"
    " over base, by the seeds that both have; epoch: the best one; minutes: of training."
)
WIDE_COLUMNS = 94  # the width of a terminal with room for means and deviations side by side


def print_table(compared: Sequence[Comparison], remarks: Sequence[str] = ()) -> None:
    """Prints the table and the remarks to standard output."""
    console = terminal.wide_console()
    shown = terminal.table(("Test", *HEADINGS))
    for comparison in compared:
        _add_sections(shown, comparison, narrow=console.width < WIDE_COLUMNS)
    terminal.show(shown, remarks, console)


def markdown(compared: Sequence[Comparison], remarks: Sequence[str] = ()) -> str:
    """Returns the table, its caption and the remarks as Markdown."""
    rows = [
        [comparison.dataset, backbone]
        + [f"**{cell}**" if strong else cell for cell, strong in zip(cells, bold, strict=True)]
        for comparison in compared
        for backbone, cells, bold in _rows(comparison)
    ]
    headings = ("Data set", "Backbone", "Method", *HEADINGS)
    lines = [*terminal.markdown_table(headings, rows, words=3), "", CAPTION]
    if remarks:
        lines += ["", *(f"- {remark}" for remark in remarks)]
    return "\n".join(lines) + "\n"


def code(commands: Sequence[str]) -> list[str]:
    """Returns the commands that made a table as one block of Markdown; none without commands."""
    return ["\n".join(["```bash", *commands, "```"]) + "\n"] if commands else []


def _add_sections(table: Table, comparison: Comparison, narrow: bool) -> None:
    """Adds a data set's rows, with deviations below their means where ``narrow``."""
    table.add_section()
    table.add_row(Text(comparison.dataset, style="bold"))
    previous = ""
    for backbone, cells, bold in _rows(comparison):
        if backbone != previous:
            table.add_row(Text(f" {backbone}", style="bold"))
            previous = backbone
        if narrow:
            cells = [cell.replace(" ±", "\n±") for cell in cells]
        texts = [Text(c, style="bold" if b else "") for c, b in zip(cells, bold, strict=True)]
        table.add_row(Text.assemble("  " if backbone else " ", texts[0]), *texts[1:])


def _rows(comparison: Comparison) -> Iterator[tuple[str, list[str], list[bool]]]:
    """Yields each row's backbone ("" for popularity), its cells, and which of them are the best."""
    plain = [False] * (1 + len(HEADINGS))
    if comparison.popularity is not None:
        values = map(_shown, comparison.popularity.values)
        yield "", [comparison.popularity.label, *values, "", "", ""], plain
    for block in comparison.blocks:
        best = _best(block)
        for row in block.rows:
            bold = [_mean(value) == top for value, top in zip(row.values, best, strict=True)]
            yield block.backbone, cells(row), [False, *bold, False, False, False]
        gains = [terminal.MISSING if gain is None else f"{gain:+.1%}" for gain in block.improvement]
        yield block.backbone, ["improvement", *gains, "", "", ""], plain


def _best(block: Block) -> list[str]:
    """Returns the highest mean of each column as shown: values that look equal are all bold."""
    columns = zip(*(row.values for row in block.rows), strict=True)
    return [max((_mean(v) for v in values if v), key=float, default="") for values in columns]


def cells(row: Row) -> list[str]:
    """Returns the cells of a row: the label, then one for each of HEADINGS."""
    seeds = str(row.seeds) if row.seeds else terminal.MISSING
    values = map(_shown, row.values)
    return [row.label, *values, seeds, _rounded(row.best_epoch, 0), _rounded(row.minutes, 1)]


def _rounded(value: float | None, digits: int) -> str:
    return terminal.MISSING if value is None else f"{value:,.{digits}f}"


def _shown(value: Estimate | None) -> str:
    return terminal.MISSING if value is None else str(value)


def _mean(value: Estimate | None) -> str:
    return terminal.MISSING if value is None else terminal.fraction(value.mean)
