"""Shows how much of a method's gain each control recovers."""

from collections.abc import Sequence
import dataclasses

from rich.text import Text

from rearec_jax.evaluation.summary_table import COLUMNS
from rearec_jax.studies.analysis.comparison_table import exact
from rearec_jax.studies.analysis.paired_tests import Comparison
from rearec_jax.studies.recovery.controls import Control
from rearec_jax.studies.terminal import MISSING, markdown_table, say, table, wide_console

SHOWN = ("ndcg@10", "recall@10")  # the metrics of the table; the first is that of the remark


@dataclasses.dataclass(frozen=True)
class Recovered:
    """The controls of one method, and their runs beside the baseline's and the method's.

    title:    The data set, the backbone and the method.
    controls: The controls that were trained, in the order of the comparison's groups.
    missing:  The controls that give the baseline nothing.
    compared: The runs of the baseline, of each control, and of the method.
    """

    title: str
    method: str
    controls: tuple[Control, ...]
    missing: tuple[Control, ...]
    compared: Comparison

    def share(self, number: int, metric: str) -> float | None:
        """Returns the gain of group ``number`` as a share of the method's; None without a gain."""
        means = [found[metric].mean for found in self.compared.estimates]
        gain = means[-1] - means[0]
        return (means[number] - means[0]) / gain if gain > 0 else None


def rows(found: Recovered) -> list[list[str]]:
    """Returns a row for the baseline, for each control, and for the method."""
    compared = found.compared
    names = ["base", *(f"+ {control.sentence}" for control in found.controls), found.method]
    tests = {(each.label, each.metric): each for each in compared.differences}
    made = []
    for number, (name, group) in enumerate(zip(names, compared.groups, strict=True)):
        cells = [name]
        for metric in SHOWN:
            share = found.share(number, metric) if number else None
            test = tests.get((group.label, metric))
            cells.append(str(compared.estimates[number][metric]))
            cells.append(MISSING if share is None else f"{share:.0%}")
            cells.append(exact(None if test is None else test.t_test.p))
        made.append([*cells, str(len(group.runs))])
    return made


def headings(found: Recovered) -> list[str]:
    """Returns the headings of the columns."""
    of_metrics = [[COLUMNS[metric], "Of the gain", "p (t)"] for metric in SHOWN]
    return [found.title, *(cell for cells in of_metrics for cell in cells), "Seeds"]


def remarks(found: Recovered) -> list[str]:
    """Returns what the table says in words."""
    lines = [f"{control.sentence}: the method has no more than base." for control in found.missing]
    metric = SHOWN[0]
    shares = {
        control.sentence: found.share(number, metric)
        for number, control in enumerate(found.controls, 1)
    }
    known = {name: share for name, share in shares.items() if share is not None}
    if not known:
        return [*lines, f"{found.method} gains nothing in {COLUMNS[metric]}: nothing to recover."]
    best = max(known, key=lambda name: known[name])
    recovered = min(1.0, max(0.0, known[best]))
    return [
        *lines,
        f"Of the gain in {COLUMNS[metric]}, {best} recovers the most, {recovered:.0%}; the other"
        f" {1 - recovered:.0%} is what {found.method} has by thinking.",
    ]


CAPTION = (
    "Test split. Of the gain: the difference from base as a share of the method's. p (t): paired"
    " t-test over users against base, not corrected."
)


def print_tables(every: Sequence[Recovered]) -> None:
    """Prints the tables and remarks to standard output."""
    console = wide_console()
    for found in every:
        shown = table(headings(found))
        for row in rows(found):
            shown.add_row(*map(Text, row))
        console.print(shown)
        for line in remarks(found):
            say(line, console)
    say(CAPTION, console)


def markdown(every: Sequence[Recovered]) -> str:
    """Returns the tables and remarks as Markdown."""
    lines: list[str] = []
    for found in every:
        lines += [*markdown_table(headings(found), rows(found), 1), ""]
        lines += [*(f"- {line}" for line in remarks(found)), ""]
    return "\n".join([*lines, CAPTION]) + "\n"
