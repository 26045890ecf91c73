"""docs/reliability.md says what is tried, no more; and of this folder no less."""

import ast
from pathlib import Path
import re

HERE = Path(__file__).resolve().parent
PAGE = HERE.parents[1] / "docs" / "reliability.md"


def _tests_below(folder: Path) -> list[str]:
    return [
        node.name
        for path in sorted(folder.rglob("test_*.py"))
        if path != Path(__file__).resolve()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
    ]


def test_every_row_is_a_test_and_every_test_of_this_folder_a_row():
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")]
    named = [re.findall(r"`(test_\w+)`", line.rstrip("|").rpartition("|")[2]) for line in rows]
    written = [name for names in named for name in names]
    here = _tests_below(HERE)
    assert len(written) == len(set(written)) and len(here) == len(set(here))
    assert set(written) - set(_tests_below(HERE.parent)) == set(), "in the table, but no test"
    assert set(here) - set(written) == set(), "a test, but not in the table"
