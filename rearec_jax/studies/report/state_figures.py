"""Draws the states of the reasoning steps: their similarity, and their projection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from rearec_jax.studies.report import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Rows = Sequence[Mapping[str, Any]]
DRAWN = 900  # points of a projection at most: more hide each other and make the page heavy


@style.figure
def matrix(axes: Axes, rows: Rows, label: str) -> None:
    """Draws a matrix over pairs of representations as colours, with the numbers written in.

    ``label`` is that of the colours.
    """
    names = [row["representation"] for row in rows]
    values = np.array([[row[name] for name in names] for row in rows])
    style.set_height(axes, 2.4)
    low = min(float(values.min()), 0.0)  # colours over a part of the range would exaggerate
    field = axes.pcolormesh(
        values, cmap="cividis", vmin=low, vmax=1, edgecolor="face", linewidth=0.3
    )
    middle = (low + 1) / 2
    for (row, column), value in np.ndenumerate(values):
        axes.text(
            column + 0.5,
            row + 0.5,
            f"{value:.2f}" if values.min() < 0.95 else f"{value:.3f}",
            ha="center",
            va="center",
            color="#000000" if value > middle else "#ffffff",
            fontsize=8 if len(names) < 6 else 6,
        )
    centres = np.arange(len(names)) + 0.5
    short = [name.removeprefix("step ") for name in names]
    axes.set_xticks(centres, short)
    axes.set_yticks(centres, short)
    axes.set_xlabel("Reasoning step")
    axes.set_ylabel("Reasoning step")
    axes.invert_yaxis()
    axes.set_aspect("equal")
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    bar = axes.figure.colorbar(field, label=label, shrink=0.9)
    bar.outline.set_visible(False)
    if bar.solids is not None:
        bar.solids.set(edgecolor="face", rasterized=False)  # vectors, no embedded picture


def thinned(points: pl.DataFrame) -> pl.DataFrame:
    """Returns the points of so many users, evenly chosen, that at most DRAWN points are drawn."""
    users = points["user"].unique(maintain_order=True)
    every = -(-len(points) // DRAWN)
    return points.filter(pl.col("user").is_in(users.gather_every(every).implode()))


@style.figure
def projection(axes: Axes, points: pl.DataFrame, variance: Sequence[float] | None) -> None:
    """Draws projected states with a colour and marker for each step, and the path of their means.

    ``points`` has the columns user, step, x and y. ``variance`` holds the share of the variance on
    each axis; None where it is unknown.
    """
    style.set_height(axes, 2.9)
    steps = sorted(points["step"].unique().to_list())
    means = []
    for number, step in enumerate(steps, start=1):
        own = points.filter(pl.col("step") == step)
        look = style.line(number)
        axes.plot(
            own["x"].to_numpy(),
            own["y"].to_numpy(),
            linestyle="",
            marker=look["marker"],
            markersize=2.6,
            markeredgewidth=0,
            color=look["color"],
            alpha=0.7,
            label=f"step {step}",
        )
        means.append((own["x"].mean(), own["y"].mean()))
    axes.plot(*zip(*means, strict=True), color=style.INK, linewidth=1, marker="o", markersize=3)
    for number, axis in enumerate((axes.set_xlabel, axes.set_ylabel)):
        share = f" ({variance[number]:.0%} of the variance)" if variance else ""
        axis(f"Principal component {number + 1}{share}")
    axes.grid(visible=False)
    axes.set_aspect("equal", adjustable="datalim")
    style.require().rcParams["legend.markerscale"] = 1.8  # only inside of `style.figure`
