"""Shows a comparison as tables in the terminal, as Markdown, and as JSON."""

from collections.abc import Iterator
import dataclasses
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rearec_jax.evaluation.metrics import METRICS
from rearec_jax.evaluation.summary_table import COLUMNS
from rearec_jax.studies.analysis.paired_tests import Comparison, Difference, Estimate
from rearec_jax.studies.analysis.significance import stars
from rearec_jax.studies.terminal import MISSING, PIPE_COLUMNS, fraction, say

DIFFERENCES = ("Metric", "Difference", "Relative", "95% interval", "p (t)", "p (Holm)")
DIFFERENCES += ("p (boot)", "p (seeds)", "d")


def print_comparison(compared: Comparison, with_holm: bool, console: Console | None = None) -> None:
    """Prints the tables of means and of tests.

    Args:
        compared: the comparison.
        with_holm: whether stars are those of the p that Holm's correction gives.
        console: where to print; standard output by default.
    """
    console = console or Console()
    if not console.is_terminal and console.width < PIPE_COLUMNS:
        console = Console(file=console.file, width=PIPE_COLUMNS)
    table = _table("Test", *(COLUMNS[name] for name in METRICS), "Seeds")
    for cells in _means(compared, with_holm):
        table.add_row(*map(Text, cells))
    console.print(table)
    if compared.differences:
        table = _table(_against(compared), *DIFFERENCES)
        previous = ""
        for label, *cells in _tests(compared):
            table.add_row(*map(Text, ["" if label == previous else label, *cells]))
            previous = label
        console.print(table)
    for line in remarks(compared, with_holm):
        say(line, console)


def markdown(compared: Comparison, with_holm: bool) -> str:
    """Returns the tables and the remarks as Markdown."""
    lines = _markdown_table(["Test", *(COLUMNS[name] for name in METRICS), "Seeds"])
    lines += [_line(cells) for cells in _means(compared, with_holm)]
    if compared.differences:
        lines += ["", *_markdown_table([_against(compared), *DIFFERENCES])]
        lines += [_line(cells) for cells in _tests(compared)]
    lines += ["", *(f"- {line}" for line in remarks(compared, with_holm))]
    return "\n".join(lines) + "\n"


def tables(
    compared: Comparison, with_holm: bool
) -> tuple[tuple[list[str], list[list[str]]], tuple[list[str], list[list[str]]]]:
    """Returns headings and rows of the means, and of the tests.

    The tests have no rows where there is one group.
    """
    means = ["Test", *(COLUMNS[name] for name in METRICS), "Seeds"]
    tests = [_against(compared), *DIFFERENCES]
    return (means, list(_means(compared, with_holm))), (tests, list(_tests(compared)))


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
                "metrics": {name: dataclasses.asdict(value) for name, value in values.items()},
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


def _against(compared: Comparison) -> str:
    return f"Against {compared.groups[0].label}"


def _difference_as_json(each: Difference) -> dict[str, Any]:
    tests = {"t_test": each.t_test._asdict(), "bootstrap": each.bootstrap._asdict()}
    return dataclasses.asdict(each) | tests


def _means(compared: Comparison, with_holm: bool) -> Iterator[list[str]]:
    for group, values in zip(compared.groups, compared.estimates, strict=True):
        tests = {each.metric: each for each in compared.differences if each.label == group.label}
        cells = [_estimate(values[name]) + _stars(tests.get(name), with_holm) for name in METRICS]
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


def _estimate(value: Estimate) -> str:
    spread = "" if value.deviation is None else f" ±{fraction(value.deviation)}"
    return fraction(value.mean) + spread


def _stars(test: Difference | None, with_holm: bool) -> str:
    if test is None:
        return ""
    return stars(test.holm if with_holm else test.t_test.p)


def _signed(value: float) -> str:
    return f"{value:+.4f}".replace("0.", ".", 1)


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column(headings[0], overflow="fold")  # cut off, labels might look the same
    for heading in headings[1:]:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _markdown_table(headings: list[str]) -> list[str]:
    return [_line(headings), _line(["---"] + ["---:"] * (len(headings) - 1))]


def _line(cells: list[str]) -> str:
    escaped = (cell.replace("|", r"\|").replace("*", r"\*") for cell in cells)
    return "| " + " | ".join(escaped) + " |"
