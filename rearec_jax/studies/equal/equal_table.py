"""Shows what each training costs, and its accuracy with equal epochs beside that at equal cost."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from rearec_jax.evaluation.metrics import METRICS
from rearec_jax.evaluation.summary_table import COLUMNS
from rearec_jax.studies.analysis.comparison_table import exact
from rearec_jax.studies.analysis.paired_tests import Comparison, Difference
from rearec_jax.studies.equal.plan import EqualPlan
from rearec_jax.studies.terminal import MISSING, fraction, markdown_table, say, table, wide_console

TableCells = tuple[list[str], list[list[str]], int]  # headings, rows, columns of words


def tables(plan: EqualPlan, compared: Comparison, pairs: Mapping[str, str]) -> list[TableCells]:
    """Returns the table of costs, and that of accuracies.

    Args:
        plan: the epochs and costs of the groups.
        compared: all runs, with their own epochs and at equal cost.
        pairs: the label of each group at equal cost, by the label of the group in ``plan``; a
            method whose own training costs the same stands for both.
    """
    unit = plan.unit
    headings = ["Training", "Own epochs", f"An epoch ({unit})", "Equal epochs", "Of the baseline's"]
    rows = [
        [
            share.label,
            f"{share.given:g}",
            f"{share.cost.epoch:.3g}",
            str(share.epochs) if number else MISSING,
            f"{share.epochs * share.cost.epoch / plan.budget:.0%}" if number else "100%",
            f"{share.cost.evaluation:.3g}",
        ]
        for number, share in enumerate(plan.shares)
    ]
    return [
        ([*headings, f"Evaluating once ({unit})"], rows, 1),
        (_headings(plan), _accuracies(plan, compared, pairs), 2),
    ]


def _headings(plan: EqualPlan) -> list[str]:
    tested = ("Relative", "p (t)", "p (seeds)")
    own, equal = ("Own epochs", *tested), (f"Equal {plan.unit}", *tested)
    return [f"Against {plan.shares[0].label}", "Metric", "Baseline", *own, *equal]


def _accuracies(plan: EqualPlan, compared: Comparison, pairs: Mapping[str, str]) -> list[list[str]]:
    means = {
        group.label: {name: value.mean for name, value in found.items()}
        for group, found in zip(compared.groups, compared.estimates, strict=True)
    }
    tests = {(each.label, each.metric): each for each in compared.differences}
    own = {each.label: label for each, label in zip(plan.shares, pairs, strict=True)}
    rows = []
    for share in plan.shares[1:]:
        for metric in METRICS:
            row = [share.label, COLUMNS[metric], fraction(means[compared.groups[0].label][metric])]
            for label in (own[share.label], pairs[own[share.label]]):
                row += [fraction(means[label][metric]), *_tested(tests[label, metric])]
            rows.append(row)
    return rows


def _tested(test: Difference) -> list[str]:
    relative = MISSING if test.relative is None else f"{test.relative:+.1%}"
    return [relative, exact(test.t_test.p), exact(test.seeds)]


def remarks(plan: EqualPlan) -> list[str]:
    """Returns the sentences that a reader needs beside the numbers."""
    how = {
        "seconds": "measured here, in turns of a few updates each; the fastest counts",
        "flops": "those of matrix products, counted in the program",
    }
    return [
        f"{plan.unit} of updates alone ({how[plan.unit]}). Evaluations are not part of the budget.",
        "Equal epochs are whole; no training stops early; a cosine schedule ends with the last.",
    ]


def print_equal(found: Sequence[TableCells], lines: Sequence[str]) -> None:
    """Prints the tables and the remarks to standard output."""
    console = wide_console()
    for headings, rows, words in found:
        shown = table(headings, words)
        previous = ""
        for label, *cells in rows:
            shown.add_row(*map(Text, ["" if label == previous else label, *cells]))
            previous = label
        console.print(shown)
    for line in lines:
        say(line, console)


def markdown(found: Sequence[TableCells], lines: Sequence[str]) -> str:
    """Returns the tables and the remarks as Markdown."""
    text: list[str] = []
    for headings, rows, words in found:
        text += [*markdown_table(headings, rows, words), ""]
    return "\n".join([*text, *(f"- {line}" for line in lines)]) + "\n"


def as_json(plan: EqualPlan, pairs: Mapping[str, str]) -> dict[str, Any]:
    """Returns the costs and epochs, unrounded."""
    shares = [
        {
            "label": own,
            "label_at_equal_cost": equal,
            "epochs": share.given,
            "equal_epochs": share.epochs,
            "cost": share.cost._asdict(),
        }
        for share, (own, equal) in zip(plan.shares, pairs.items(), strict=True)
    ]
    return {"unit": plan.unit, "budget": plan.budget, "groups": shares}
