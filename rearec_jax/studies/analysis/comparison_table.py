"""Shows a comparison as tables in the terminal, as Markdown, and as JSON."""

from collections.abc import Iterator
import dataclasses
from typing import Any

from rich.console import Console
from rich.text import Text

from rearec_jax.evaluation.metrics import METRICS
from rearec_jax.evaluation.summary_table import COLUMNS
from rearec_jax.studies.analysis.paired_tests import Comparison, Difference
from rearec_jax.studies.analysis.significance import stars
from rearec_jax.studies.terminal import MISSING, markdown_table, say, table, wide_console

DIFFERENCES = ("Metric", "Difference", "Relative", "95% interval", "p (t)", "p (Holm)")
DIFFERENCES += ("p (boot)", "p (seeds)", "d")
TableCells = tuple[list[str], list[list[str]]]  # headings, rows


def print_comparison(compared: Comparison, with_holm: bool, console: Console | None = None) -> None:
    """Prints the tables of means and of tests, to standard output by default.

    ``with_holm``: whether stars are those of the p that Holm's correction gives.
    """
    console = wide_console(console)
    for headings, rows in _shown(compared, with_holm):
        shown = table(headings)
        previous = ""
        for label, *cells in rows:
            shown.add_row(*map(Text, ["" if label == previous else label, *cells]))
            previous = label
        console.print(shown)
    for line in remarks(compared, with_holm):
        say(line, console)


def markdown(compared: Comparison, with_holm: bool) -> str:
    """Returns the tables and the remarks as Markdown."""
    lines = []
    for headings, rows in _shown(compared, with_holm):
        first, *rest = [[cell.replace("*", r"\*") for cell in cells] for cells in (headings, *rows)]
        lines += [*markdown_table(first, rest, words=1), ""]
    lines += [f"- {line}" for line in remarks(compared, with_holm)]
    return "\n".join(lines) + "\n"


def tables(compared: Comparison, with_holm: bool) -> tuple[TableCells, TableCells]:
    """Returns headings and rows of the means, and of the tests: none where there is one group."""
    means = ["Test", *(COLUMNS[name] for name in METRICS), "Seeds"]
    tests = [f"Against {compared.groups[0].label}", *DIFFERENCES]
    return (means, list(_means(compared, with_holm))), (tests, list(_tests(compared)))


def _shown(compared: Comparison, with_holm: bool) -> list[TableCells]:
    return [(headings, rows) for headings, rows in tables(compared, with_holm) if rows]


def as_json(compared: Comparison) -> dict[str, Any]:
    """Returns all numbers, unrounded."""
    return {
        "baseline": compared.groups[0].label,
        "users": compared.users,
        "examples": compared.examples,
        "groups": [
            {
                "label": group.label,
                "runs": [str(run.path) for run in group.runs],
                "seeds": [run.config.seed for run in group.runs],
                "metrics": {name: value._asdict() for name, value in values.items()},
            }
            for group, values in zip(compared.groups, compared.estimates, strict=True)
        ],
        "differences": [_difference_as_json(each) for each in compared.differences],
    }


def remarks(compared: Comparison, with_holm: bool) -> list[str]:
    """Returns the sentences that a reader needs beside the numbers."""
    counted = f"{compared.users:,} users"
    if compared.examples != compared.users:
        counted += f", {compared.examples:,} examples"
    lines = [f"{counted}; values are means over seeds ± standard deviation of the sample."]
    if compared.differences:
        corrected = f"Holm's correction for these {len(compared.differences)} tests"
        which = f"after {corrected}" if with_holm else f"not corrected (p (Holm): {corrected})"
        lines.append(f"*** p < .001, ** p < .01, * p < .05 of the t-test over users, {which}.")
        lines.append(
            "The tests over users ask whether these trained models differ; that another seed would"
            " give the same, only several seeds can show (p (seeds))."
        )
        if compared.users < 2:
            lines.append("One user is no sample: the bootstrap has no p and no interval.")
    return lines


def _difference_as_json(each: Difference) -> dict[str, Any]:
    tests = {"t_test": each.t_test._asdict(), "bootstrap": each.bootstrap._asdict()}
    return dataclasses.asdict(each) | tests


def _means(compared: Comparison, with_holm: bool) -> Iterator[list[str]]:
    for group, values in zip(compared.groups, compared.estimates, strict=True):
        tests = {each.metric: each for each in compared.differences if each.label == group.label}
        cells = [str(values[name]) + _stars(tests.get(name), with_holm) for name in METRICS]
        yield [group.label, *cells, str(len(group.runs))]


def _tests(compared: Comparison) -> Iterator[list[str]]:
    for each in compared.differences:
        t = each.t_test
        yield [
            each.label,
            COLUMNS[each.metric],
            _signed(t.mean),
            MISSING if each.relative is None else f"{each.relative:+.1%}",
            f"{_signed(each.bootstrap.low)} to {_signed(each.bootstrap.high)}",
            exact(t.p),
            exact(each.holm),
            exact(each.bootstrap.p),
            exact(each.seeds),
            f"{t.effect:+.3f}",
        ]


def exact(p: float | None) -> str:
    """Returns a p value in three significant digits (.0312), or two below 0.0001 (4.1e-07)."""
    if p is None:
        return MISSING
    if 0 < p < 1e-4:
        return f"{p:.1e}"
    return f"{p:.3g}".replace("0.", ".", 1)


def _stars(test: Difference | None, with_holm: bool) -> str:
    if test is None:
        return ""
    return stars(test.holm if with_holm else test.t_test.p)


def _signed(value: float) -> str:
    return f"{value:+.4f}".replace("0.", ".", 1)
