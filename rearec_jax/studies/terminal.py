"""The functions that the tables of all studies share, in a terminal and as Markdown."""

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rearec_jax.run.progress import say as say

PIPE_COLUMNS = 120  # the width of a line where there is no terminal
MISSING = "-"


def wide_console(console: Console | None = None) -> Console:
    """Returns a console of the terminal's width, or of PIPE_COLUMNS where there is no terminal."""
    console = console or Console()
    return console if console.is_terminal else Console(file=console.file, width=PIPE_COLUMNS)


def show(shown: Table, remarks: Iterable[str], console: Console) -> None:
    """Prints a table, and remarks below it."""
    console.print(shown)
    for remark in remarks:
        say(remark, console)


def table(headings: Sequence[str], words: int = 1) -> Table:
    """Returns a table without rows: the first ``words`` columns hold words, the others numbers."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for number, heading in enumerate(headings):
        made.add_column(
            Text(heading),
            justify="left" if number < words else "right",
            overflow="fold",  # cut off, labels might look alike
        )
    return made


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]], words: int) -> list[str]:
    """Returns the lines of a Markdown table, whose columns are as in `table`."""
    rule = ["---"] * words + ["---:"] * (len(headings) - words)
    return [
        "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"
        for cells in (headings, rule, *rows)
    ]


def fraction(value: float) -> str:
    """Formats a metric between 0 and 1 in four digits: .0413."""
    return f"{value:.4f}".removeprefix("0")
