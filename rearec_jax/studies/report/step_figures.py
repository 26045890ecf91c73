"""Draws what the reasoning steps do: accuracy, groups, the best step, movements of ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan
from typing import TYPE_CHECKING, Any

from rearec_jax.evaluation.rank_file import FINAL
from rearec_jax.evaluation.summary_table import COLUMNS
from rearec_jax.studies.report import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Rows = Sequence[Mapping[str, Any]]
# The name of each run and its rows of a table. A run without rows is not drawn and keeps its look
# for other figures: a run has the same colour in all of them.
Labelled = Sequence[tuple[str, Rows]]
SHADES = (("q5", "q95", 0.14), ("q25", "q75", 0.28))


@style.figure
def accuracy_by_step(axes: Axes, runs: Labelled, metric: str) -> None:
    """Draws a line a run over 'step 0' ... 'final'; a run without steps is a level line."""
    names = max((_names(rows) for _, rows in runs), key=len)
    steps = [name for name in names if name != FINAL]
    for number, (label, rows) in enumerate(runs):
        if not rows:
            continue
        values = {row["representation"]: row[metric] for row in rows}
        look = style.line(number)
        own = [name for name in steps if name in values]
        if len(own) < 2:
            look["marker"] = ""
            axes.axhline(values[FINAL], label=label, **look)
            continue
        places = [steps.index(name) for name in own]
        axes.plot(places, [values[name] for name in own], label=label, **look)
        hollow = look | {"linestyle": "", "markerfacecolor": style.PAPER}
        axes.plot([len(steps)], [values[FINAL]], markersize=5, **hollow)
    style.categories(axes, [*(name.split()[-1] for name in steps), FINAL], "Reasoning step")
    axes.set_ylim(0, 1.05 * axes.get_ylim()[1])
    axes.set_ylabel(f"Test {COLUMNS[metric]}")


def _names(rows: Rows) -> list[str]:
    return list(dict.fromkeys(row["representation"] for row in rows))


@style.figure
def accuracy_by_group(axes: Axes, runs: Labelled, metric: str, by: str) -> None:
    """Draws the accuracy of each run's final representation in groups of users or targets.

    ``by`` is the label of the x axis, history_length or popularity in words.
    """
    for number, (label, rows) in enumerate(runs):
        own = [row for row in rows if row["representation"] == FINAL]
        if own:
            values = [row[metric] for row in own]
            _with_bars(
                axes, values, [row.get("spread", nan) for row in own], (number, len(runs)), label
            )
    style.categories(axes, group_names(next(rows for _, rows in runs if rows)), by)
    axes.set_ylim(0, 1.05 * axes.get_ylim()[1])
    axes.set_ylabel(f"Test {COLUMNS[metric]}")


@style.figure
def gain_by_group(axes: Axes, rows: Rows, metric: str, by: str) -> None:
    """Draws the change of a metric since step 0 in each group, in per cent.

    There is a line for each later representation of the run; ``by`` is as in `accuracy_by_group`.
    """
    level = {row["group"]: row[metric] for row in rows if row["representation"] == "step 0"}
    names = [name for name in _names(rows) if name not in ("step 0", "any step")]
    for number, name in enumerate(names, start=1):
        own = [row for row in rows if row["representation"] == name]
        levels = [level[row["group"]] or nan for row in own]
        gains = [100 * (row[metric] / at - 1) for row, at in zip(own, levels, strict=True)]
        spreads = [
            100 * row.get("gain_spread", nan) / at for row, at in zip(own, levels, strict=True)
        ]
        _with_bars(axes, gains, spreads, (number, len(names) + 1), name)
    axes.axhline(0, color=style.INK, linewidth=0.8)
    style.categories(axes, group_names(rows), by)
    axes.set_ylabel(f"{COLUMNS[metric]} against step 0 (%)")


def _with_bars(
    axes: Axes,
    values: Sequence[float],
    spreads: Sequence[float],
    place: tuple[int, int],
    label: str,
) -> None:
    """Draws line ``place[0]`` of ``place[1]`` with intervals, beside those of the other lines."""
    number, count = place
    aside = 0.06 * (number - (count - 1) / 2)
    places = [group + aside for group in range(len(values))]
    look = style.line(number)
    axes.errorbar(places, values, yerr=spreads, elinewidth=0.9, label=label, **look)


def group_names(rows: Rows) -> list[str]:
    """Returns the range of values of each group, such as '3–7'."""
    ranges = {row["group"]: (row["lowest"], row["highest"]) for row in rows}
    return [f"{low:,}" if low == high else f"{low:,}–{high:,}" for low, high in ranges.values()]


@style.figure
def best_step(axes: Axes, runs: Labelled) -> None:
    """Draws the share of the test examples that each step ranks best, a group of bars a step."""
    steps = max(len(rows) for _, rows in runs)
    shown = [(number, label, rows) for number, (label, rows) in enumerate(runs) if rows]
    width = 0.8 / len(shown)
    hatches = ("", "///", "...", "xxx", "\\\\\\")
    for place, (number, label, rows) in enumerate(shown):
        places = [row["step"] + (place - (len(shown) - 1) / 2) * width for row in rows]
        axes.bar(
            places,
            [100 * row["share"] for row in rows],
            width * 0.92,
            label=label,
            color=style.line(number)["color"],
            hatch=hatches[place % len(hatches)],
            edgecolor=style.PAPER,
            linewidth=0,
        )
    style.categories(axes, [str(step) for step in range(steps)], "Reasoning step")
    axes.set_xlim(-0.6, steps - 0.4)
    axes.set_ylabel("Examples that it ranks best (%)")


@style.figure
def rank_quantiles(axes: Axes, rows: Rows, paths: Sequence[tuple[str, Sequence[int]]]) -> None:
    """Draws the target's rank by step: median, bands of the middle 50 and 90 %, single examples.

    ``paths`` holds the name and the ranks of single examples, in the order of ``rows``.
    """
    style.set_height(axes, 2.6)
    places = range(len(rows))
    for (low, high, opacity), name in zip(SHADES, ("90 % of targets", "50 %"), strict=True):
        axes.fill_between(
            places,
            [row[low] for row in rows],
            [row[high] for row in rows],
            color=style.COLOURS[0],
            alpha=opacity,
            linewidth=0,
            label=name,
        )
    axes.plot(places, [row["q50"] for row in rows], **style.line(1), label="median")
    for number, (name, ranks) in enumerate(paths, start=2):
        axes.plot(places, ranks, label=name, markersize=3, linewidth=0.9, **style.line(number))
    worst = max(*(row["q95"] for row in rows), *(rank for _, ranks in paths for rank in ranks), 10)
    style.ranks(axes, worst)
    axes.set_ylabel("Rank of the target (log)")
    names = [row["representation"].removeprefix("step ") for row in rows]
    style.categories(axes, names, "Reasoning step")


@style.figure
def movements(axes: Axes, rows: Rows) -> None:
    """Draws the shares of the targets that move up, stay and move down, a bar a pair of steps."""
    style.set_height(axes, 0.75 + 0.27 * len(rows))
    kinds = (
        ("improved", "better rank", style.COLOURS[0], ""),
        ("same", "the same", style.RULE, ""),
        ("worsened", "worse rank", style.COLOURS[1], "///"),
    )
    start = [0.0] * len(rows)
    for key, label, colour, hatch in kinds:
        widths = [100 * row[key] for row in rows]
        axes.barh(
            range(len(rows)),
            widths,
            0.72,
            left=start,
            label=label,
            color=colour,
            hatch=hatch,
            edgecolor=style.PAPER,
            linewidth=0,
        )
        start = [a + b for a, b in zip(start, widths, strict=True)]
    axes.set_yticks(range(len(rows)), [f"{row['from']} to {row['to']}" for row in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.grid(visible=False)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("Share of the test examples (%)")
