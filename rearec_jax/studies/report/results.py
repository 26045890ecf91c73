"""Sections of a report: accuracy, significance, groups of users and items."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rearec_jax.evaluation import summary_table
from rearec_jax.evaluation.rank_file import FINAL
from rearec_jax.evaluation.summary_table import BEST_POSSIBLE, COLUMNS, POPULARITY
from rearec_jax.studies.analysis import comparison_table
from rearec_jax.studies.report import comparison_figures, numbers, step_figures
from rearec_jax.studies.report.blocks import Block, Bullets, Note, Table
from rearec_jax.studies.report.drawing import Drawing
from rearec_jax.studies.report.run_files import METRIC
from rearec_jax.studies.report.sources import DataSet

Rows = Sequence[Mapping[str, Any]]
BOUND = "any step"
BY = {
    "history_length": "Items in the history",
    "popularity": "Occurrences of the target in training",
}


def accuracy(data: DataSet) -> Iterator[Block]:
    """Tabulates popularity, each run's steps and result, and the bounds."""
    shown = {  # in the order of the rows; what is the same for all runs has one row
        (name, "") if name in (POPULARITY, BEST_POSSIBLE) else (run.label, name): (metrics, style)
        for run in data.runs
        if run.summary.get("test")
        for name, metrics, style in summary_table.rows(run.summary)
    }
    if (BEST_POSSIBLE, "") in shown:
        shown[BEST_POSSIBLE, ""] = shown.pop((BEST_POSSIBLE, ""))
    styles = [style for _, style in shown.values()]
    if shown:
        yield Table(
            f"{data.name}: accuracy on test. Bold: the method's representation. Best step in"
            " hindsight: each user's best step, chosen with the answer known, a bound and no"
            " result.",
            ("Run", "Representation", *COLUMNS.values()),
            [
                [run, name, *(numbers.share(metrics.get(key)) for key in COLUMNS)]
                for (run, name), (metrics, _) in shown.items()
            ],
            words=2,
            strong=[number for number, style in enumerate(styles) if style == "bold"],
            quiet=[number for number, style in enumerate(styles) if style == "dim"],
        )


def significance(data: DataSet) -> Iterator[Block]:
    """Tabulates means over seeds and paired tests, or says why there are none."""
    compared = data.comparison
    if compared is None:
        if data.why_not:
            yield Note(f"{data.name}: not compared. {data.why_not}.")
        return
    means, tests = comparison_table.tables(compared, with_holm=False)
    yield Table(f"{data.name}: means on test.", *means)
    if compared.differences:
        baseline, *others = (group.label for group in compared.groups)
        caption = f"{data.name}: differences from {baseline}, paired over users."
        yield Table(caption, *tests, words=2)
        yield Drawing(
            numbers.file_name(data.name, "differences"),
            comparison_figures.differences(compared.differences, baseline),
            f"{data.name}: {', '.join(others)} against {baseline} on test, with 95 % intervals"
            f" ({compared.users:,} users, paired bootstrap).",
            "; ".join(
                f"{each.label} {COLUMNS[each.metric]} {each.t_test.mean:+.4f}"
                for each in compared.differences
            ),
        )
    yield Bullets(comparison_table.remarks(compared, with_holm=False))


def groups(data: DataSet) -> Iterator[Block]:
    """Draws and tabulates accuracy in four equal groups, by history and by popularity."""
    tables: list[Table] = []
    for by, words in BY.items():
        runs = [(run.label, run.tables.get(f"by_{by}", [])) for run in data.runs]
        found = [(label, rows) for label, rows in runs if rows]
        if not found:
            continue
        tables.append(_group_table(data, found, words))
        yield Drawing(
            numbers.file_name(data.name, by),
            step_figures.accuracy_by_group(runs, METRIC, words),
            f"{data.name}: test NDCG@10 of four equal groups by {words.lower()}, with 95 %"
            " intervals over users.",
            f"Lines over four groups by {words.lower()}; the numbers are in the table below.",
        )
        for run, (label, rows) in zip(data.runs, runs, strict=True):
            if rows and run.steps:
                yield Drawing(
                    numbers.file_name(data.name, label, "gain", by),
                    step_figures.gain_by_group(rows, METRIC, words),
                    f"{data.name}, {label}: test NDCG@10 of later steps against the same model's"
                    f" step 0, by {words.lower()}, with 95 % intervals, paired over users.",
                    f"Change in per cent over four groups by {words.lower()}; numbers in the table"
                    " below.",
                )
    yield from tables


def _group_table(data: DataSet, found: Sequence[tuple[str, Rows]], words: str) -> Table:
    """Tabulates NDCG@10 with a row for each run and representation, and a column for each group."""
    first = found[0][1]
    groups = list(dict.fromkeys(row["group"] for row in first))
    cells, strong, quiet = [], [], []
    for label, rows in found:
        names = list(dict.fromkeys(row["representation"] for row in rows))
        for name in names if len(names) > 2 else [FINAL]:  # step 0 alone is the final one
            values = {row["group"]: row[METRIC] for row in rows if row["representation"] == name}
            strong += [len(cells)] * (name == FINAL)
            quiet += [len(cells)] * (name == BOUND)
            cells.append([label, name, *(numbers.share(values.get(group)) for group in groups)])
    sizes = {f"{row['examples']:,}" for row in first}
    caption = (
        f"{data.name}: test NDCG@10 by {words.lower()}, in four groups of equal size"
        f" ({' or '.join(sorted(sizes))} examples); equal values may stand on both sides of a"
        f" border. {BOUND.capitalize()}: the best one in hindsight."
    )
    headings = ("Run", "Representation", *step_figures.group_names(first))
    return Table(caption, headings, cells, words=2, strong=strong, quiet=quiet)
