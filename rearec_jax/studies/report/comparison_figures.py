"""Draws differences from the baseline with their intervals, and studies of an option."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
from typing import TYPE_CHECKING

from rearec_jax.evaluation.summary_table import COLUMNS
from rearec_jax.studies.analysis.paired_tests import Difference
from rearec_jax.studies.grid.sweep_table import natural
from rearec_jax.studies.report import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@style.figure
def differences(axes: Axes, found: Sequence[Difference], baseline: str) -> None:
    """Draws differences with the bootstrap's 95 % intervals: a row a metric, a colour a run.

    Each label has differences of the same metrics, from the run ``baseline``.
    """
    labels = list(dict.fromkeys(each.label for each in found))
    metrics = list(dict.fromkeys(each.metric for each in found))
    style.set_height(axes, 0.8 + len(metrics) * (0.16 + 0.13 * len(labels)))
    step = 0.7 / len(labels)
    for number, label in enumerate(labels, start=1):
        own = [each for each in found if each.label == label]
        look = style.line(number)
        heights = [
            metrics.index(each.metric) + (number - (len(labels) + 1) / 2) * step for each in own
        ]
        middles = [each.t_test.mean for each in own]
        spread = [
            [each.t_test.mean - each.bootstrap.low for each in own],
            [each.bootstrap.high - each.t_test.mean for each in own],
        ]
        axes.errorbar(
            middles,
            heights,
            xerr=spread,
            linestyle="",
            marker=look["marker"],
            color=look["color"],
            elinewidth=1.2,
            capsize=2,
            label=label,
        )
    axes.axvline(0, color=style.INK, linewidth=0.8)
    style.rows(axes, [COLUMNS[name] for name in metrics], f"Difference from {baseline}")


@dataclasses.dataclass(frozen=True)
class Sweep:
    """The values of a metric over the values of an option."""

    label: str
    values: Mapping[str, tuple[float, float | None]]  # an `Estimate` for each value of the option


@style.figure
def sweep(
    axes: Axes, lines: Sequence[Sweep], level: Mapping[str, float], option: str, metric: str
) -> None:
    """Draws a line for each method over an option's values, which are evenly spaced.

    ``level`` holds the means of methods that do not read the option, which are level lines.
    """
    values = sorted({value for each in lines for value in each.values}, key=natural)
    for number, (label, height) in enumerate(level.items()):
        axes.axhline(height, label=label, color=style.INK, linestyle=style.DASHES[1 + number % 3])
    for number, each in enumerate(lines, start=1):
        own = [value for value in values if value in each.values]
        found = [each.values[value] for value in own]
        axes.errorbar(
            [values.index(value) for value in own],
            [mean for mean, _ in found],
            yerr=[deviation or 0 for _, deviation in found],
            elinewidth=0.9,
            label=each.label,
            **style.line(number),
        )
    style.categories(axes, values, option)
    axes.set_ylim(0, 1.05 * axes.get_ylim()[1])
    axes.set_ylabel(metric)


@style.figure
def dots(axes: Axes, rows: Sequence[tuple[str, float, float | None]], metric: str) -> None:
    """Draws a row for each variant, for options of too few values for a line.

    Rows hold a label, the mean, and the standard deviation (None with one seed).
    """
    style.set_height(axes, 0.6 + 0.24 * len(rows))
    look = style.line(1)
    axes.errorbar(
        [mean for _, mean, _ in rows],
        range(len(rows)),
        xerr=[deviation or 0 for *_, deviation in rows],
        linestyle="",
        marker=look["marker"],
        color=look["color"],
        elinewidth=0.9,
    )
    style.rows(axes, [label for label, *_ in rows], metric)
    axes.set_xlim(left=0)
