"""Section of a report: accuracy over a study's options, with a figure for each option."""

from collections.abc import Iterator, Sequence
import itertools
import operator

from rearec_jax.studies.estimate import Estimate
from rearec_jax.studies.grid import sweep_table
from rearec_jax.studies.grid.sweep_table import SweepRow
from rearec_jax.studies.report import comparison_figures, numbers
from rearec_jax.studies.report.blocks import Block, Note, Table
from rearec_jax.studies.report.comparison_figures import Sweep
from rearec_jax.studies.report.drawing import Drawing
from rearec_jax.studies.report.sources import Study

FEW = 2  # values of an option up to which they are drawn as dots, not as a line
METRICS = {"test NDCG@10": "test", "validation NDCG@20": "valid"}
LETTERS = {
    "method.steps": "Reasoning steps K, in training and inference",
    "method.kl_weight": "Weight of the KL diversity λ",
    "method.temperature": "Temperature τ",
    "method.temperature_decay": "Temperature decay α",
}


def study(source: Study) -> Iterator[Block]:
    """Draws figures for each data set and backbone, and tabulates the numbers."""
    by = operator.attrgetter("dataset", "backbone")
    for place, rows in itertools.groupby(source.rows, by):
        yield from _figures(source, ", ".join(place), list(rows))
    cells = [sweep_table.cells(row) for row in source.rows]
    caption = f"{source.path}. {sweep_table.CAPTION}"
    yield Table(caption, sweep_table.HEADINGS, cells, words=len(sweep_table.WORDS))
    yield from map(Note, source.notes)


def _figures(source: Study, about: str, rows: Sequence[SweepRow]) -> Iterator[Drawing]:
    names = list(dict.fromkeys(name for row in rows for name in row.pairs))
    many = [name for name in names if len({row.pairs.get(name) for row in rows} - {None}) > FEW]
    for metric, kind in METRICS.items():
        yield from (_curve(source, about, rows, name, metric, kind) for name in many)
        if not many:
            yield _dots(source, about, rows, metric, kind)


def _value(row: SweepRow, kind: str) -> Estimate | None:
    if kind == "valid":
        return None if row.valid is None else Estimate(row.valid, None)
    return row.row.values[0]


def _curve(
    source: Study, about: str, rows: Sequence[SweepRow], name: str, metric: str, kind: str
) -> Drawing:
    """Draws a line for each method and combination of the other options.

    A method that does not read the option is a level line.
    """
    lines: dict[str, dict[str, Estimate]] = {}
    level: dict[str, float] = {}
    for row in rows:
        options, found = row.pairs, _value(row, kind)
        if found is None:
            continue
        label = _label(row, without=name)
        if name in options:
            lines.setdefault(label, {})[options[name]] = found
        else:
            level[label] = found.mean
    shown = [Sweep(label, values) for label, values in lines.items()]
    words = LETTERS.get(name, name)
    return Drawing(
        numbers.file_name(source.path.name, about, name, kind),
        comparison_figures.sweep(shown, level, words, metric[0].upper() + metric[1:]),
        f"{about}: {metric} by {words[0].lower()}{words[1:]}." + _seeds(rows, kind),
        "; ".join(
            f"{each.label}: " + ", ".join(f"{v} {m:.4f}" for v, (m, _) in each.values.items())
            for each in shown
        ),
    )


def _dots(source: Study, about: str, rows: Sequence[SweepRow], metric: str, kind: str) -> Drawing:
    found: list[tuple[str, float, float | None]] = []
    for row in rows:
        if (value := _value(row, kind)) is not None:
            found.append((_label(row), value.mean, value.deviation))
    return Drawing(
        numbers.file_name(source.path.name, about, kind),
        comparison_figures.dots(found, metric[0].upper() + metric[1:]),
        f"{about}: {metric} of each variant." + _seeds(rows, kind),
        ", ".join(f"{label} {mean:.4f}" for label, mean, _ in found),
    )


def _label(row: SweepRow, without: str = "") -> str:
    """Returns the method with its options in short, such as "+PRL τ=1, α=1.5"."""
    short = {"method.temperature": "τ", "method.temperature_decay": "α"}
    options = [
        f"{short.get(name, name.removeprefix('method.').replace('_', ' '))}={value}"
        for name, value in row.pairs.items()
        if name != without
    ]
    return f"{row.row.label} {', '.join(options)}".strip()


def _seeds(rows: Sequence[SweepRow], kind: str) -> str:
    seeds = max((row.row.seeds for row in rows), default=1)
    bars = ", bars: standard deviation" if kind == "test" else ""
    return f" Means over up to {seeds} seeds{bars}." if seeds > 1 else " One seed."
