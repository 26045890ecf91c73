"""The functions that the tables of all studies share when they are printed."""

from rich.console import Console

from rearec_jax.run.progress import say as say

PIPE_COLUMNS = 120  # the width of a line where there is no terminal
MISSING = "-"


def wide_console() -> Console:
    """Returns a console of the terminal's width, or of PIPE_COLUMNS where there is no terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=PIPE_COLUMNS)


def fraction(value: float) -> str:
    """Formats a metric between 0 and 1 in four digits: .0413."""
    return f"{value:.4f}".removeprefix("0")
