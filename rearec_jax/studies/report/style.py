"""The look of figures: the size of a paper's column, colours; and the check for matplotlib.

Colours are those of Okabe and Ito, which people with the common colour blindnesses tell apart;
markers and dashes repeat what colours say. INK, MUTED, RULE and PAPER become colours of the page
where a figure stands in one, so that it follows light and dark.
"""

from collections.abc import Callable, Sequence
import functools
import importlib
import textwrap
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, cast

from rearec_jax.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 3.4, 2.3  # inches: one column of a two-column paper
INK, MUTED, RULE, PAPER = "#1b1c1d", "#6a6d70", "#dcddde", "#fefefe"
ROW, WRAP = 0.145, 48  # inches: a row of a legend; characters of a line in it
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", ":")

OPTIONS: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelcolor": INK,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 8,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "legend.columnspacing": 1.2,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "lines.linewidth": 1.3,
    "lines.markersize": 4,
    "pdf.fonttype": 42,  # text stays text
    "svg.fonttype": "none",
    "text.color": INK,
    "text.parse_math": False,  # names of data sets may hold dollars
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 7,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 7,
}

P = ParamSpec("P")


def require(package: str = "matplotlib", use: str = "draws") -> Any:
    """Returns a package of the extra `report`.

    Raises:
        UserError: it is not installed; the message says for what and how to install it.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UserError(
            f"--mode=report {use} with {package}, which is not installed;"
            f" pip install {package} (the extra `report` of this package)"
        ) from error


def figure(draw: "Callable[Concatenate[Axes, P], None]") -> "Callable[P, Figure]":
    """Makes a function that draws into axes return a figure of them, with a legend.

    It has this style, whatever the user's settings of matplotlib are, one column's width, and
    neither a window nor global state.
    """

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> "Figure":
        with context():
            from matplotlib.figure import Figure

            made = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
            axes = made.add_subplot()
            draw(axes, *args, **kwargs)
            _legend(axes)
        return made

    return drawn


def context() -> Any:
    """Returns a context in which matplotlib has its defaults and this style."""
    matplotlib = require()
    return matplotlib.rc_context(dict(matplotlib.rcParamsDefault) | OPTIONS)


def set_height(axes: "Axes", inches: float) -> None:
    """Changes the height of the figure, without its legend."""
    cast("Figure", axes.figure).set_figheight(inches)


def line(number: int) -> dict[str, Any]:
    """Returns colour, marker and dash of the line of a number; line 0 is drawn in ink."""
    return {
        "color": INK if number == 0 else COLOURS[(number - 1) % len(COLOURS)],
        "marker": MARKERS[number % len(MARKERS)],
        "linestyle": DASHES[number % len(DASHES)],
    }


def _legend(axes: "Axes") -> None:
    """Draws a legend above the plot, where it hides nothing; none for a single line.

    The figure grows by the legend's rows, so that the plot keeps its size.
    """
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) < 2:
        return
    figure = cast("Figure", axes.figure)
    labels = [textwrap.fill(label, WRAP) for label in labels]
    longest = max(len(line) for label in labels for line in label.split("\n"))
    columns = max(1, min(len(labels), 4, int(72 * WIDTH / (36 + 3.6 * longest))))  # points
    heights = [label.count("\n") + 1 for label in labels]
    rows = -(-sum(heights) // columns)
    figure.set_figheight(figure.get_figheight() + ROW * (rows - 1))
    figure.legend(handles, labels, loc="outside upper left", ncols=columns, borderaxespad=0)


def categories(axes: "Axes", names: Sequence[str], label: str) -> None:
    """Makes an x axis with evenly spaced names."""
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.4, len(names) - 0.6)
    axes.set_xlabel(label)


def ranks(axes: "Axes", worst: int) -> None:
    """Makes a logarithmic y axis of ranks, 1 on top, whose ticks are whole and easy to read."""
    axes.set_yscale("log")
    axes.set_ylim(1.15 * worst, 0.87)
    parts = (1, 2, 5) if worst <= 2000 else (1,)
    ticks = [part * 10**power for power in range(10) for part in parts]
    axes.set_yticks([tick for tick in ticks if tick <= worst])
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.minorticks_off()


def rows(axes: "Axes", names: Sequence[str], label: str) -> None:
    """Makes a y axis with evenly spaced names from top to bottom, and names the x axis."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(visible=False)
    axes.grid(visible=True, axis="x")
    axes.set_xlabel(label)
    axes.locator_params(axis="x", nbins=5)
