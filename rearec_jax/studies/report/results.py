"""Sections of a report: accuracy, significance, groups of users and items."""

from collections.abc import Mapping, Sequence
from typing import Any

from rearec_jax.evaluation.rank_file import FINAL
from rearec_jax.evaluation.summary_table import COLUMNS
from rearec_jax.studies.analysis import comparison_table
from rearec_jax.studies.report import comparison_figures, numbers, step_figures
from rearec_jax.studies.report.blocks import Block, Bullets, Note, Table
from rearec_jax.studies.report.drawing import Drawing
from rearec_jax.studies.report.sources import DataSet

Blocks = list[Block]
Rows = Sequence[Mapping[str, Any]]
METRIC = "ndcg@10"
BOUND = "any step"
BY = {
    "history_length": "Items in the history",
    "popularity": "Occurrences of the target in training",
}


def accuracy(data: DataSet) -> Blocks:
    """Tabulates popularity, each run's steps and result, and the bounds."""
    rows: list[list[str]] = []
    strong, quiet = [], []
    finished = [run for run in data.runs if run.summary.get("test")]
    for run in finished:
        if "popularity" in run.summary and not rows:
            quiet.append(len(rows))
            rows.append(_metrics("popularity", "", run.summary["popularity"]))
        steps = run.summary.get("test_by_step", [])
        reasons = len(steps) > 1
        for metrics in steps if reasons else []:
            rows.append(_metrics(run.label, f"step {metrics['step']}", metrics))
        strong.append(len(rows))
        rows.append(_metrics(run.label, FINAL, run.summary["test"]))
        if reasons and "test_best_step_in_hindsight" in run.summary:
            quiet.append(len(rows))
            bound = run.summary["test_best_step_in_hindsight"]
            rows.append(_metrics(run.label, "best step in hindsight", bound))
    if not rows:
        return []
    if "best_possible" in finished[0].summary:
        quiet.append(len(rows))
        rows.append(_metrics("best possible", "", finished[0].summary["best_possible"]))
    caption = (
        f"{data.name}: accuracy on test. Bold: the method's representation. Best step in hindsight:"
        " each user's best step, chosen with the answer known, a bound and no result."
    )
    headings = ("Run", "Representation", *COLUMNS.values())
    return [Table(caption, headings, rows, words=2, strong=strong, quiet=quiet)]


def _metrics(run: str, name: str, metrics: Mapping[str, Any]) -> list[str]:
    return [run, name, *(numbers.share(metrics.get(key)) for key in COLUMNS)]


def significance(data: DataSet) -> Blocks:
    """Tabulates means over seeds and paired tests, or says why there are none."""
    compared = data.comparison
    if compared is None:
        return [Note(f"{data.name}: not compared. {data.why_not}.")] if data.why_not else []
    means, tests = comparison_table.tables(compared, with_holm=False)
    blocks: Blocks = [Table(f"{data.name}: means on test.", *means)]
    if compared.differences:
        baseline = compared.groups[0].label
        names = [group.label for group in compared.groups[1:]]
        caption = f"{data.name}: differences from {baseline}, paired over users."
        blocks.append(Table(caption, *tests, words=2))
        blocks.append(
            Drawing(
                numbers.file_name(data.name, "differences"),
                comparison_figures.differences(compared.differences, baseline),
                f"{data.name}: {', '.join(names)} against {baseline} on test, with 95 % intervals"
                f" ({compared.users:,} users, paired bootstrap).",
                "; ".join(
                    f"{each.label} {COLUMNS[each.metric]} {each.t_test.mean:+.4f}"
                    for each in compared.differences
                ),
            )
        )
    return [*blocks, Bullets(comparison_table.remarks(compared, with_holm=False))]


def groups(data: DataSet) -> Blocks:
    """Draws and tabulates accuracy in four equal groups, by history and by popularity."""
    drawings: Blocks = []
    tables: Blocks = []
    for by, words in BY.items():
        found = [(run, run.tables[f"by_{by}"]) for run in data.runs if run.tables.get(f"by_{by}")]
        if not found:
            continue
        rows_of = [(run.label, run.tables.get(f"by_{by}", [])) for run in data.runs]
        drawings.append(
            Drawing(
                numbers.file_name(data.name, by),
                step_figures.accuracy_by_group(rows_of, METRIC, words),
                f"{data.name}: test NDCG@10 of four equal groups by {words.lower()}.",
                f"Lines over four groups by {words.lower()}; the numbers are in the table below.",
            )
        )
        drawings += [_gain(data, run.label, rows, by, words) for run, rows in found if run.steps]
        tables.append(_group_table(data, [(run.label, rows) for run, rows in found], words))
    return drawings + tables


def _gain(data: DataSet, label: str, rows: Any, by: str, words: str) -> Drawing:
    return Drawing(
        numbers.file_name(data.name, label, "gain", by),
        step_figures.gain_by_group(rows, METRIC, words),
        f"{data.name}, {label}: test NDCG@10 of later steps against the same model's step 0, by"
        f" {words.lower()}.",
        f"Change in per cent over four groups by {words.lower()}; numbers in the table below.",
    )


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
