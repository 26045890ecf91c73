"""First section of a report: the best run, what it gains, how sure that is, and what it costs."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from rearec_jax.evaluation.metrics import metric
from rearec_jax.studies.analysis import significance
from rearec_jax.studies.analysis.significance import Paired
from rearec_jax.studies.report import numbers
from rearec_jax.studies.report.blocks import Block, Lead, Note, Table
from rearec_jax.studies.report.run_files import METRIC, RunFiles
from rearec_jax.studies.report.sources import DataSet

HEADINGS = ("Run", "Test NDCG@10", "Gain", "95 % interval", "Training", "Device")


class _Row(NamedTuple):
    """A run, or the seeds of one, beside the baseline."""

    label: str
    value: float  # test NDCG@10
    gain: Paired | None  # over the baseline; None of the baseline, and where nothing is compared
    seconds: float | None  # of training, the mean over seeds
    device: str


def answer(data: DataSet) -> Iterator[Block]:
    """Says which run is best and by how much, and tabulates gain and cost of all."""
    rows, against = _rows(data)
    if not rows:
        yield Note(f"{data.name}: no run is finished.")
        return
    best = max(rows, key=lambda row: row.value)
    yield Lead(_sentence(data.name, best, rows, against))
    yield Table(
        f"{data.name}: the runs. Gain: over {against}, with its interval over users."
        if against
        else f"{data.name}: the runs.",
        HEADINGS,
        [_cells(row) for row in rows],
        strong=[rows.index(best)] if len(rows) > 1 else [],
    )


def _rows(data: DataSet) -> tuple[list[_Row], str]:
    """Returns the rows, and the name of what gains are over; "" where there is nothing."""
    finished = [run for run in data.runs if run.summary.get("test")]
    if data.comparison is None:
        if len(finished) == 1 and finished[0].steps and finished[0].ranks is not None:
            return [
                _row(finished[0])._replace(gain=_own_gain(finished[0]))
            ], "the model's own step 0"
        return [_row(run) for run in finished], ""
    groups = data.comparison.groups
    gains = {e.label: e.bootstrap for e in data.comparison.differences if e.metric == METRIC}
    rows = []
    for group, values in zip(groups, data.comparison.estimates, strict=True):
        paths = {run.path.resolve() for run in group.runs}
        own = [_row(run) for run in finished if run.path.resolve() in paths]
        seconds = [row.seconds for row in own if row.seconds is not None]
        mean = sum(seconds) / len(seconds) if seconds else None
        gain = gains.get(group.label)
        rows.append(_Row(group.label, values[METRIC].mean, gain, mean, own[0].device))
    return rows, groups[0].label if len(groups) > 1 else ""


def _row(run: RunFiles) -> _Row:
    seconds = (run.summary.get("train") or {}).get("seconds")
    device = str(run.summary.get("device", numbers.MISSING))
    return _Row(run.label, run.summary["test"][METRIC], None, seconds, device)


def _own_gain(run: RunFiles) -> Paired | None:
    """Returns what reasoning adds to a run: its result against its own step 0."""
    if run.ranks is None:
        return None
    last, first = (metric(METRIC, own) for own in (run.ranks.final, run.ranks.by_step[:, 0]))
    gaps = np.asarray(last) - np.asarray(first)
    users = np.unique(run.ranks.users.to_numpy(), return_inverse=True)[1]
    return significance.t_test(significance.by_user(gaps, users))


def _sentence(name: str, best: _Row, rows: list[_Row], against: str) -> str:
    found = "Best" if len(rows) > 1 else "Result"
    start = f"{found} on {name}: {best.label}, test NDCG@10 {numbers.share(best.value)}"
    if best.gain is None:
        return f"{start}, the baseline; no other run is better." if against else f"{start}."
    return f"{start}, {_signed(best.gain.mean)} against {against}, {_sure(best.gain)}."


def _sure(gain: Paired) -> str:
    interval = f"95 % interval {_interval(gain)}"
    if gain.low <= 0 <= gain.high:
        return f"{interval}, which holds 0: the difference may be chance"
    return interval


def _cells(row: _Row) -> list[str]:
    gain = (numbers.MISSING,) * 2
    if row.gain is not None:
        gain = (_signed(row.gain.mean), _interval(row.gain))
    return [row.label, numbers.share(row.value), *gain, numbers.duration(row.seconds), row.device]


def _interval(gain: Paired) -> str:
    return f"{_signed(gain.low)} to {_signed(gain.high)}"


def _signed(value: float) -> str:
    return f"{value:+.4f}".replace("0.", ".", 1)
