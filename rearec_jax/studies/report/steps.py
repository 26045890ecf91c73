"""Sections of a report: the steps of each run, their states, and their lists."""

from collections.abc import Callable, Iterator, Mapping, Sequence
import itertools
from typing import Any

from rearec_jax.evaluation.rank_file import FINAL
from rearec_jax.studies.report import numbers, state_figures, step_figures
from rearec_jax.studies.report.blocks import Block, Table
from rearec_jax.studies.report.drawing import Drawing
from rearec_jax.studies.report.run_files import METRIC, RunFiles
from rearec_jax.studies.report.sources import DataSet

PATHS = 3  # single users that are drawn among the quantiles of ranks


def by_step(data: DataSet) -> Iterator[Block]:
    """Draws accuracy by step, and how often each step is the best."""
    if not any(run.steps for run in data.runs):
        return
    rows = [(run.label, run.tables.get("accuracy_by_step", [])) for run in data.runs]
    best = [(run.label, run.tables["best_step"] if run.steps else []) for run in data.runs]
    yield Drawing(
        numbers.file_name(data.name, "steps"),
        step_figures.accuracy_by_step(rows, METRIC),
        f"{data.name}: test NDCG@10 of each step's state alone, and (hollow) of the method's"
        " representation. Level lines: models without steps.",
        _told(rows, lambda row: f"{row['representation']} {row[METRIC]:.4f}"),
    )
    yield Drawing(
        numbers.file_name(data.name, "best_step"),
        step_figures.best_step(best),
        f"{data.name}, {', '.join(label for label, found in best if found)}: how often each step"
        " ranks the target best; of equal ones the shallowest counts. Known only in hindsight.",
        _told(best, lambda row: f"step {row['step']} {row['share']:.0%}"),
    )


def _told(runs: step_figures.Labelled, words: Callable[[Mapping[str, Any]], str]) -> str:
    """Returns the rows of each run in words."""
    return "; ".join(f"{label}: {', '.join(map(words, rows))}" for label, rows in runs if rows)


def trajectories(data: DataSet) -> Iterator[Block]:
    """Draws how the target's rank moves from step to step."""
    for run in data.runs:
        if not run.steps or not run.tables.get("rank_quantiles"):
            continue
        quantiles, moves = run.tables["rank_quantiles"], run.tables["movements"]
        medians = ", ".join(f"{row['representation']} {row['q50']:,}" for row in quantiles)
        yield Drawing(
            numbers.file_name(data.name, run.label, "ranks"),
            step_figures.rank_quantiles(quantiles, _paths(run, quantiles)),
            f"{data.name}, {run.label}: rank of the target by step, 1 is best. Bands: 50 and 90"
            " % of the test examples. Single users: those of the stories below.",
            f"Median rank of the target: {medians}.",
        )
        yield Drawing(
            numbers.file_name(data.name, run.label, "movements"),
            step_figures.movements(moves),
            f"{data.name}, {run.label}: targets whose rank gets better, stays, or gets worse.",
            "; ".join(
                f"{row['from']} to {row['to']}: {row['improved']:.0%} better,"
                f" {row['worsened']:.0%} worse"
                for row in moves
            ),
        )


def _paths(run: RunFiles, quantiles: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[int]]]:
    """Returns the ranks by step of the first stories' targets, where all steps are ranked."""
    names = [row["representation"] for row in quantiles]
    paths: list[tuple[str, list[int]]] = []
    for story in run.stories[:PATHS]:
        ranks = {step["representation"]: step["target_rank"] for step in story["steps"]}
        if FINAL not in ranks and ranks:  # the method's representation is the last step
            ranks[FINAL] = list(ranks.values())[-1]
        found = [ranks[name] for name in names if ranks.get(name) is not None]
        if len(found) == len(names):
            paths.append((story["chosen"], found))
    return paths


def states(data: DataSet) -> Iterator[Block]:
    """Draws the similarity of the states and of the lists, and the projection."""
    for run in data.runs:
        if not run.steps:
            continue
        about = f"{data.name}, {run.label}"
        if cosines := run.tables.get("state_cosines"):
            yield Drawing(
                numbers.file_name(data.name, run.label, "state_cosines"),
                state_figures.matrix(cosines, "Mean cosine"),
                f"{about}: similarity of two steps' states, mean cosine over test examples.",
                _pairs(cosines),
            )
        if overlap := run.tables.get("list_overlap"):
            length = run.tables.get("about", {}).get("list_length", 10)
            yield Drawing(
                numbers.file_name(data.name, run.label, "list_overlap"),
                state_figures.matrix(overlap, "Shared items"),
                f"{about}: mean share of the first {length} items that two steps' lists have in"
                " common.",
                _pairs(overlap),
            )
        if run.projection is not None and len(run.projection):
            points = state_figures.thinned(run.projection)
            users = points["user"].n_unique()
            yield Drawing(
                numbers.file_name(data.name, run.label, "projection"),
                state_figures.projection(points, run.tables.get("projection_variance")),
                f"{about}: states of {users:,} users at each step on their first two principal"
                " components. Line: the path of the mean.",
                f"Scatter of the states of {users:,} users, a colour and marker a step.",
            )


def _pairs(rows: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(
        f"{one['representation']} and {other['representation']} {one[other['representation']]:.3f}"
        for one, other in itertools.combinations(rows, 2)
    )


def lists(data: DataSet) -> Iterator[Block]:
    """Tabulates the lists' coverage, popularity and novelty, and the entropy of the scores."""
    rows = [row for run in data.runs for row in _list_rows(run)]
    lengths = {run.tables["about"]["list_length"] for run in data.runs if "about" in run.tables}
    headings = ("Run", "Representation", "Coverage", "Popularity bias", "Popular quarter")
    headings += ("Novelty (bits)", "Entropy (bits)")
    if rows:
        yield Table(
            f"{data.name}: the first {' or '.join(map(str, sorted(lengths)))} items. Coverage:"
            " items of the catalogue in anybody's list. Popularity bias: mean training count of"
            " listed items as a multiple of the catalogue's. Popular quarter: share of the places"
            " that the most popular quarter of the items takes. Novelty: mean of −log2 of an item's"
            " share in training. Entropy: of the scores' softmax.",
            headings,
            rows,
            words=2,
        )


def _list_rows(run: RunFiles) -> list[list[str]]:
    entropy = {row["representation"]: row["mean"] for row in run.tables.get("sharpness", [])}
    return [
        [
            run.label,
            row["representation"],
            numbers.percent(row["coverage"]),
            f"{row['popularity_bias']:.2f}",
            numbers.percent(row["popular_quarter"]),
            f"{row['novelty']:.2f}",
            f"{entropy[row['representation']]:.2f}" if entropy else numbers.MISSING,
        ]
        for row in run.tables.get("list_statistics", [])
    ]
