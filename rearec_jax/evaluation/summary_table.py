"""The table of a run's results, for a terminal or a log file."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

COLUMNS = {
    "ndcg@10": "NDCG@10",
    "ndcg@20": "NDCG@20",
    "recall@10": "Recall@10",
    "recall@20": "Recall@20",
    "mrr": "MRR",
}
POPULARITY, BEST_POSSIBLE = "popularity", "best possible"  # the rows that are the data's


def print_results(summary: Mapping[str, Any], console: Console | None = None) -> None:
    """Prints the test results of a ``summary.json``.

    Besides the keys of every summary it shows, where they are present, "popularity" (the metrics of
    ranking by popularity), "test_by_popularity" (the metrics by how often targets occur in
    training), "best_possible" (the highest possible metrics, known for generated data),
    "test_untied" (the metrics of targets alone in their time), "dataset" or data.name, and "notes"
    (sentences such as "seen items excluded").
    """
    console = console or Console()
    title = Text(_title(summary))  # a name may hold what Rich takes for markup
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    table.add_column("Test", no_wrap=True)
    for heading in COLUMNS.values():
        table.add_column(heading, justify="right", no_wrap=True)
    for name, metrics, style in rows(summary):
        table.add_row(name, *(_cell(metrics.get(key)) for key in COLUMNS), style=style)
    console.print(table)
    if groups := summary.get("test_by_popularity"):
        console.print(_by_popularity(groups))
    for line in _remarks(summary):
        console.print(line, markup=False, highlight=False)


def _by_popularity(groups: Sequence[Mapping[str, Any]]) -> Table:
    """Makes the table of the representation's metrics by how often targets occur in training."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Target's item", no_wrap=True)
    columns = {
        key: heading for key, heading in COLUMNS.items() if key != "mrr"
    }  # fits 80 characters
    for heading in ("Examples", *columns.values()):
        table.add_column(heading, justify="right", no_wrap=True)
    for group in groups:
        cells = (_cell(group.get(key)) for key in columns)
        table.add_row(group["group"], f"{group['examples']:,}", *cells)
    return table


def _title(summary: Mapping[str, Any]) -> str:
    data = summary.get("data", {})
    name = summary.get("dataset") or data.get("name")
    counts = [f"{data[key]:,} {key}" for key in ("users", "items", "interactions") if key in data]
    model = f"{summary.get('method', '?')} on {summary.get('backbone', '?')}"
    return "  ".join(piece for piece in (name, model, ", ".join(counts)) if piece)


def rows(summary: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    """Yields the name, metrics and style of each row; without a test, those of the validation."""
    if "test" not in summary and "valid" in summary:
        yield "none; validation", summary["valid"], "bold"
        return
    if "popularity" in summary:
        yield POPULARITY, summary["popularity"], "dim"
    by_step = summary.get("test_by_step", [])
    if len(by_step) > 1:  # a model that does not reason has one row, the final one
        for metrics in by_step:
            step = metrics["step"]
            yield f"step {step}" if step else "step 0 (no reasoning)", metrics, ""
    final, untied = summary.get("test", {}), summary.get("test_untied", {})
    yield "final representation", final, "bold"
    # Where all targets are untied this row would be the one above again.
    if len(untied) > 1 and any(untied.get(key) != value for key, value in final.items()):
        yield "untied targets", untied, ""
    if len(by_step) > 1 and "test_best_step_in_hindsight" in summary:
        # This step is chosen for each user by the answer, so that it is a bound and no result.
        yield "best step in hindsight", summary["test_best_step_in_hindsight"], "dim"
    if "best_possible" in summary:
        yield BEST_POSSIBLE, summary["best_possible"], "dim"


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _remarks(summary: Mapping[str, Any]) -> Iterator[str]:
    for key, bound in summary.get("best_possible", {}).items():
        value = summary.get("test", {}).get(key)
        if key in COLUMNS and value is not None and bound:
            yield f"{value / bound:.0%} of the best possible {COLUMNS[key]}."
    speed = summary.get("train", {}).get("targets_per_second")
    if speed:
        yield f"Best epoch {summary.get('best_epoch', '?')}; {speed:,.0f} targets a second."
    yield from summary.get("notes", [])
