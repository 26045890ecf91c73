"""Figures hold what the data hold: so many lines, marks and words. No pixels."""

import math

import numpy as np
import polars as pl
import pytest

from rearec_jax.studies.analysis import from_ranks
from rearec_jax.studies.analysis.paired_tests import Difference
from rearec_jax.studies.analysis.significance import Paired
from rearec_jax.studies.report import (
    comparison_figures,
    drawing,
    state_figures,
    step_figures,
    style,
)
from rearec_jax.studies.report import training_figures as training
from rearec_jax.studies.report.comparison_figures import Sweep
from rearec_jax.studies.report.drawing import Drawing
from rearec_jax.studies.report.intervals import with_intervals
from rearec_jax.studies.report.training_figures import Curve
from tests.studies.analysis import made

matplotlib = pytest.importorskip("matplotlib")

TABLES = {name: frame.to_dicts() for name, frame in from_ranks.tables(made.ranks()).items()}
BASE = {name: f.to_dicts() for name, f in from_ranks.tables(made.ranks(steps=1)).items()}


def labels(figure) -> list[str]:
    """Of the legend."""
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def ticks(axis) -> list[str]:
    return [text.get_text() for text in axis.get_ticklabels()]


def test_the_first_of_the_best_epochs_is_marked():
    events = [
        {"kind": "validation", "epoch": epoch, "valid": {"ndcg@20": value}}
        for epoch, value in enumerate((0.1, 0.3, 0.3, None), start=1)
    ]
    curve = training.validation_curve("a", events)
    assert curve == Curve("a", [1, 2, 3], [0.1, 0.3, 0.3], best=2)
    axes = training.validation([curve, Curve("b", [], [])]).axes[0]
    stars = [line for line in axes.lines if line.get_marker() == "*"]
    assert [list(star.get_xdata()) for star in stars] == [[2]]


def test_loss_has_a_line_a_run_and_skips_what_is_missing():
    events = [
        {"kind": "training", "step": step, "parts": {"loss": value}}
        for step, value in ((1, 2.0), (2, None), (3, 1.0))
    ]
    curve = training.loss_curve("run", "loss", events)
    assert curve.x == [1, 3]
    figure = training.losses([curve, curve], "loss")
    assert len(figure.axes[0].lines) == 2 and labels(figure) == ["run", "run"]
    assert figure.axes[0].get_ylabel() == "Loss (nats)"


def test_a_run_without_points_keeps_its_look_for_other_figures():
    both = training.losses([Curve("a", [1], [1.0]), Curve("b", [1], [1.0])], "loss")
    one = training.losses([Curve("a", [], []), Curve("b", [1], [1.0])], "loss")
    assert one.axes[0].lines[0].get_color() == both.axes[0].lines[1].get_color()
    assert labels(one) == []


@pytest.mark.parametrize(
    ("parts", "shown"),
    [
        ({"cross_entropy": 1.0, "loss": 1.0}, ["loss"]),
        ({"cross_entropy": 1.0, "kl": 1.0, "loss": 1.0}, ["loss", "cross_entropy", "kl"]),
        ({}, []),
    ],
)
def test_parts_are_shown_where_there_are_several(parts, shown):
    assert training.parts([{"parts": parts}, {}]) == shown


def test_accuracy_by_step_has_a_level_line_for_a_model_without_steps():
    runs = [("base", BASE["accuracy_by_step"]), ("erl", TABLES["accuracy_by_step"])]
    figure = step_figures.accuracy_by_step(runs, "ndcg@10")
    level, steps, final = figure.axes[0].lines
    assert level.get_ydata()[0] == level.get_ydata()[1]
    assert len(steps.get_xdata()) == 3 and list(final.get_xdata()) == [3]
    assert ticks(figure.axes[0].xaxis) == ["0", "1", "2", "final"]
    assert labels(figure) == ["base", "erl"]


def test_groups_have_a_line_a_run_and_a_place_a_group():
    rows = TABLES["by_history_length"]
    figure = step_figures.accuracy_by_group([("a", rows), ("b", rows)], "mrr", "Items")
    assert [len(line.get_xdata()) for line in figure.axes[0].lines] == [4, 4]
    assert len(ticks(figure.axes[0].xaxis)) == 4


def test_groups_have_intervals_that_hold_their_values_and_shrink_with_users():
    def length(users: int) -> float:
        ranks = made.ranks(users=users)
        rows = from_ranks.tables(ranks)["by_history_length"].to_dicts()
        rows = with_intervals(rows, ranks, "history_length", "ndcg@10")
        figure = step_figures.accuracy_by_group([("a", rows)], "ndcg@10", "Items")
        bars = [s for c in figure.axes[0].collections for s in c.get_segments()]
        middles = figure.axes[0].lines[0].get_ydata()
        assert [s[:, 1].mean() for s in bars] == pytest.approx(list(middles))
        gains = step_figures.gain_by_group(rows, "ndcg@10", "Items").axes[0].collections
        assert len(gains) == 3 and all(len(c.get_segments()) == 4 for c in gains)
        return float(np.mean([np.ptp(s[:, 1]) for s in bars]))

    assert length(1600) == pytest.approx(length(100) / 4, rel=0.3)


def test_axes_of_accuracy_and_similarity_start_at_0():
    steps = step_figures.accuracy_by_step([("erl", TABLES["accuracy_by_step"])], "ndcg@10")
    curve = training.validation([Curve("a", [1, 2], [0.30, 0.31])])
    line = comparison_figures.sweep(
        [Sweep("a", {"1": (0.3, None), "2": (0.31, None)})], {}, "K", ""
    )
    assert [figure.axes[0].get_ylim()[0] for figure in (steps, curve, line)] == [0, 0, 0]
    assert comparison_figures.dots([("a", 0.3, None)], "").axes[0].get_xlim()[0] == 0
    rows = [{"representation": "step 0", "step 0": 1.0, "final": 0.99}]
    rows.append({"representation": "final", "step 0": 0.99, "final": 1.0})
    field = state_figures.matrix(rows, "Mean cosine").axes[0].collections[0]
    assert field.get_clim() == (0, 1)


@pytest.mark.parametrize("worst", [3, 40, 900, 250_000])
def test_ranks_have_whole_ticks_from_1_that_can_be_told_apart(worst):
    rows = [{"representation": f"step {n}"} for n in range(2)]
    rows = [row | dict(q5=1, q25=1, q50=2, q75=2, q95=worst) for row in rows]
    axes = step_figures.rank_quantiles(rows, []).axes[0]
    shown = [int(text.replace(",", "")) for text in ticks(axes.yaxis)]
    assert shown[0] == 1 and 2 < len(shown) <= 10 and shown == sorted(set(shown))
    assert axes.get_ylim()[0] >= worst


def test_updates_are_whole_numbers():
    figure = training.losses([Curve("a", [1, 2, 3], [3.0, 2.0, 1.0])], "loss")
    places = figure.axes[0].get_xticks()
    assert all(float(place).is_integer() for place in places)


def test_gain_is_against_step_0_and_missing_where_that_is_0():
    rows = [
        {"group": g, "lowest": g, "highest": g, "representation": name, "mrr": value}
        for g, pair in ((1, (0.1, 0.15)), (2, (0.0, 0.2)))
        for name, value in zip(("step 0", "final"), pair, strict=True)
    ]
    line, zero = step_figures.gain_by_group(rows, "mrr", "Items").axes[0].lines
    assert line.get_ydata()[0] == pytest.approx(50) and math.isnan(line.get_ydata()[1])
    assert set(zero.get_ydata()) == {0}


def test_best_steps_are_bars_that_sum_to_100():
    figure = step_figures.best_step([("a", TABLES["best_step"]), ("b", TABLES["best_step"])])
    heights = [patch.get_height() for patch in figure.axes[0].patches]
    assert len(heights) == 6 and sum(heights) == pytest.approx(200)


def test_ranks_are_on_a_log_axis_with_the_best_on_top():
    paths = [("random", [9, 3, 1, 1])]
    figure = step_figures.rank_quantiles(TABLES["rank_quantiles"], paths)
    axes = figure.axes[0]
    low, high = axes.get_ylim()
    assert low > high and axes.get_yscale() == "log"
    assert len(axes.lines) == 2 and len(axes.collections) == 2
    assert labels(figure) == ["90 % of targets", "50 %", "median", "random"]


def test_movements_fill_the_whole_width():
    rows = TABLES["movements"]
    patches = step_figures.movements(rows).axes[0].patches
    assert len(patches) == 3 * len(rows)
    assert sum(patch.get_width() for patch in patches) == pytest.approx(100 * len(rows))


def test_a_matrix_writes_every_number():
    rows = [{"representation": "step 0", "step 0": 1.0, "final": 0.5}]
    rows.append({"representation": "final", "step 0": 0.5, "final": 1.0})
    figure = state_figures.matrix(rows, "Mean cosine")
    assert [text.get_text() for text in figure.axes[0].texts] == ["1.00", "0.50", "0.50", "1.00"]
    assert b"<image" not in drawing.svg(Drawing("m", figure, "", ""))


def test_equal_states_are_a_matrix_as_well():
    rows = [{"representation": "step 0", "step 0": 1.0}]
    assert state_figures.matrix(rows, "Mean cosine").axes[0].texts[0].get_text() == "1.000"


def test_a_projection_draws_whole_users_and_not_too_many():
    users, steps = 2000, 3
    points = pl.DataFrame(
        {
            "user": np.repeat([f"u{n}" for n in range(users)], steps),
            "step": np.tile(np.arange(steps), users),
            "x": np.arange(users * steps) * 1.0,
            "y": np.ones(users * steps),
        }
    )
    drawn = state_figures.thinned(points)
    assert len(drawn) <= state_figures.DRAWN
    assert drawn.group_by("user").len()["len"].to_list() == [steps] * (len(drawn) // steps)
    figure = state_figures.projection(drawn, [0.5, 0.25])
    assert len(figure.axes[0].lines) == steps + 1
    assert figure.axes[0].get_xlabel() == "Principal component 1 (50% of the variance)"


def difference(label: str, metric: str) -> Difference:
    test = Paired(mean=0.01, low=-0.01, high=0.02, p=0.3, effect=0.1)
    return Difference(label, metric, 0.1, test, test, 0.3, None)


def test_differences_have_an_interval_a_run_and_metric():
    found = [difference(a, b) for a in ("erl", "prl") for b in ("ndcg@10", "mrr")]
    figure = comparison_figures.differences(found, "base")
    assert ticks(figure.axes[0].yaxis) == ["NDCG@10", "MRR"]
    assert labels(figure) == ["erl", "prl"]
    spans = [segment for c in figure.axes[0].collections for segment in c.get_segments()]
    assert len(spans) == 4 and np.ptp(spans[0][:, 0]) == pytest.approx(0.03)


def test_a_sweep_orders_numbers_as_numbers():
    lines = [Sweep("erl", {"10": (0.2, 0.01), "2": (0.1, None), "0.5": (0.3, None)})]
    figure = comparison_figures.sweep(lines, {"base": 0.15}, "λ", "NDCG")
    assert ticks(figure.axes[0].xaxis) == ["0.5", "2", "10"]
    assert labels(figure) == ["base", "erl"]


def test_text_stays_text_and_the_same_figure_gives_the_same_file():
    def draw() -> Drawing:
        figure = training.losses([Curve("costs $5 & <b>", [1, 2], [1.0, 2.0])] * 2, "loss")
        return Drawing("x", figure, "a caption", "in words")

    file = drawing.svg(draw())
    assert file == drawing.svg(draw())
    assert b">Update</text>" in file and b"costs $5 &amp; &lt;b&gt;</text>" in file
    assert drawing.pdf(draw()).startswith(b"%PDF")


def test_many_lines_differ_in_more_than_colour():
    looks = [style.line(number) for number in range(12)]
    assert len({(look["marker"], look["linestyle"]) for look in looks}) == 12


def test_a_long_legend_takes_nothing_from_the_plot():
    def plot_height(count: int) -> float:
        curves = [Curve(f"a label that is long {n}", [1, 2], [1.0, 2.0]) for n in range(count)]
        figure = training.losses(curves, "loss")
        figure.draw_without_rendering()
        return figure.axes[0].get_position().height * figure.get_figheight()

    assert plot_height(12) > 0.9 * plot_height(2) > 1


def test_the_users_own_settings_stay():
    before = matplotlib.rcParams["svg.fonttype"], matplotlib.rcParams["svg.hashsalt"]
    drawing.svg(Drawing("x", training.losses([], "loss"), "", ""))
    assert (matplotlib.rcParams["svg.fonttype"], matplotlib.rcParams["svg.hashsalt"]) == before
