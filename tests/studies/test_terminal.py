"""What the tables of all studies share."""

import io

from rich.console import Console

from rearec_jax.studies import terminal
from tests import markdown


def printed(width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    shown = terminal.table(("Run", "NDCG", "Seeds"))
    shown.add_row("a label of many words", ".1234", "1")
    shown.add_row("short", ".5", "10")
    terminal.show(shown, ["[bold]a remark[/bold]"], console)
    return console.file.getvalue()


def test_numbers_end_and_words_begin_in_one_column():
    _, heading, _, first, second, *_ = printed(80).splitlines()
    assert heading.index("Run") == first.index("a label") == second.index("short")
    assert first.index(".1234") + len(".1234") == second.index(".5") + len(".5")
    assert heading.rindex("s") == first.rindex("1") == second.rindex("0")


def test_nothing_is_cut_off_and_remarks_are_no_markup():
    text = printed(26)
    assert "…" not in text and "words" in text and ".1234" in text
    assert "[bold]a remark[/bold]" in text


def test_markdown_escapes_what_would_end_a_cell():
    lines = terminal.markdown_table(("A|B", "n"), [("x|y", ".1")], words=1)
    assert lines == [r"| A\|B | n |", "| --- | ---: |", r"| x\|y | .1 |"]
    (row,) = markdown.rows("\n".join(terminal.markdown_table(("A", "n"), [("x", ".1")], words=1)))
    assert row == {"A": "x", "n": ".1"}
