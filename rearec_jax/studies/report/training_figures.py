"""Draws the curves of training: loss by update, validation accuracy by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
from typing import TYPE_CHECKING, Any

from rearec_jax.studies.report import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VALIDATION = "ndcg@20"  # the metric that chooses the best epoch
MANY = 40  # points above which a line has no markers


@dataclasses.dataclass(frozen=True)
class Curve:
    """A line."""

    label: str
    x: Sequence[int]  # the updates or epochs
    y: Sequence[float]  # the values there
    best: int | None = None  # the x of the point that is marked; None for no mark


def loss_curve(label: str, part: str, events: Sequence[Mapping[str, Any]]) -> Curve:
    """Returns a part of the loss by update, without missing values and those not finite."""
    found = [
        (event["step"], event["parts"][part])
        for event in events
        if event.get("kind") == "training" and event.get("parts", {}).get(part) is not None
    ]
    return Curve(label, [step for step, _ in found], [value for _, value in found])


def parts(events: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the names of the loss's parts, 'loss' (their sum) first, which may be alone."""
    names = dict.fromkeys(name for event in events for name in event.get("parts", {}))
    others = [name for name in names if name != "loss"]
    return ["loss", *others] if len(others) > 1 else ["loss"] if names else []


def validation_curve(label: str, events: Sequence[Mapping[str, Any]]) -> Curve:
    """Returns validation NDCG@20 by epoch, with the best epoch (the first of equals) marked."""
    found = [
        (event["epoch"], event["valid"][VALIDATION])
        for event in events
        if event.get("kind") == "validation" and event["valid"].get(VALIDATION) is not None
    ]
    best = max(found, key=lambda pair: pair[1])[0] if found else None
    return Curve(label, [epoch for epoch, _ in found], [value for _, value in found], best)


@style.figure
def losses(axes: Axes, curves: Sequence[Curve], part: str) -> None:
    """Draws a line a run; a run without points keeps its look for other figures."""
    _draw(axes, curves)
    axes.set_xlabel("Update")
    axes.locator_params(axis="x", integer=True)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_ylabel(part_label(part))


@style.figure
def validation(axes: Axes, curves: Sequence[Curve]) -> None:
    """Draws a line a run, with its best epoch starred."""
    _draw(axes, curves)
    axes.set_xlabel("Epoch")
    axes.set_ylabel("Validation NDCG@20")
    axes.set_ylim(0, 1.05 * axes.get_ylim()[1])
    axes.locator_params(axis="x", integer=True)


def _draw(axes: Axes, curves: Sequence[Curve]) -> None:
    """Draws the curves that have points; long ones have no markers."""
    for number, curve in enumerate(curves):
        if not curve.x:
            continue
        look = style.line(number)
        if len(curve.x) > MANY:
            look["marker"] = ""
        axes.plot(curve.x, curve.y, label=curve.label, markersize=3, **look)
        if curve.best is not None:
            axes.plot(
                [curve.best],
                [curve.y[list(curve.x).index(curve.best)]],
                marker="*",
                markersize=10,
                linestyle="",
                color=look["color"],
                markeredgecolor=style.PAPER,
                markeredgewidth=0.6,
                zorder=5,
            )


def part_label(part: str) -> str:
    """Returns the label of a part: 'Cross entropy (nats)' of 'cross_entropy'; some have no unit."""
    words = part.replace("_", " ").capitalize()
    in_nats = any(word in part for word in ("entropy", "kl", "loss", "contrast"))
    return f"{words} (nats)" if in_nats else words
