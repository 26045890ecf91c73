"""Comparing runs: what is refused, how seeds are grouped, what is written."""

import io
import json

import numpy as np
import pytest
from rich.console import Console

from rearec_jax.config import AnalysisConfig
from rearec_jax.errors import UserError
from rearec_jax.evaluation.metrics import METRICS
from rearec_jax.studies.analysis import comparable_runs, comparison_table, paired_tests
from rearec_jax.studies.analysis.compare_runs import compare_runs
from rearec_jax.studies.terminal import MISSING
from tests import markdown
from tests.studies.analysis import made

BASE = {"method.name": "base"}
ERL = {"method.name": "erl"}
FAST = AnalysisConfig(resamples=500)
RANKS = np.random.default_rng(0).geometric(0.1, 200)


@pytest.fixture
def base(tmp_path):
    return made.write_run(tmp_path / "base", BASE, RANKS)


@pytest.mark.parametrize(
    ("options", "columns", "words"),
    [
        (ERL | {"eval.exclude_seen": True}, {}, "evaluated otherwise .*eval.exclude_seen: False"),
        (ERL | {"data.ties": "expected"}, {}, "evaluated otherwise .*data.ties: file"),
        (ERL, {"target": ["i0"] * 200}, "users' targets differ"),
        (ERL, {"user": [f"v{n}" for n in range(200)]}, "test users differ"),
        (ERL, {"history_length": [5] * 200}, "other histories or training data"),
        (
            ERL | {"data.core": 5},
            {"target_popularity": [9] * 200},
            r"other histories or training data \(their options differ in data.core: 0 -> 5\)",
        ),
        (BASE, {}, "same options and the same seed"),
    ],
)
def test_what_cannot_be_compared_is_refused(options, columns, words, base, tmp_path):
    other = made.write_run(tmp_path / "other", options, RANKS, **columns)
    with pytest.raises(UserError, match=words):
        compare_runs([base, other], str(tmp_path / "out"), FAST)
    assert not (tmp_path / "out").exists()


def test_expected_metrics_are_compared_where_targets_are_tied(tmp_path):
    paths = []
    for number, options in enumerate((BASE, ERL)):
        options = options | {"data.ties": "expected"}
        expected = {f"expected_{name}": np.arange(200) / 400 + number / 4 for name in METRICS}
        paths.append(made.write_run(tmp_path / str(number), options, RANKS, **expected))
    groups = comparable_runs.group(comparable_runs.read(paths))
    compared = paired_tests.compare(groups, FAST)
    assert {each.t_test.mean for each in compared.differences} == {0.25}
    assert compared.estimates[0]["mrr"].mean == pytest.approx(199 / 800)


def test_fewer_examples_are_refused(base, tmp_path):
    other = made.write_run(tmp_path / "other", ERL, RANKS[:150])
    with pytest.raises(UserError, match=r"200 test examples, the other 150"):
        comparable_runs.read([base, other])


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "needs --runs"),
        (["base", "base"], "twice"),
        (["base", "nowhere"], "nowhere does not exist"),
        (["base", "unfinished"], "holds no finished run"),
    ],
)
def test_runs_are_finished_and_named_once(names, words, base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made.write_run(tmp_path / "unfinished", ERL, RANKS)
    (tmp_path / "unfinished/summary.json").unlink()
    with pytest.raises(UserError, match=words):
        comparable_runs.read(names)


def test_seeds_are_grouped_and_the_first_is_the_baseline(tmp_path):
    better = np.maximum(1, RANKS // 2)
    names = [
        made.write_run(tmp_path / "b0", BASE, RANKS),
        made.write_run(tmp_path / "e0", ERL, better),
        made.write_run(tmp_path / "b1", BASE | {"seed": 1, "eval.by_step": False}, RANKS + 1),
        made.write_run(tmp_path / "e1", ERL | {"seed": 1}, better),
        made.write_run(tmp_path / "e3", ERL | {"method.steps": 3}, RANKS),
    ]
    groups = comparable_runs.group(comparable_runs.read(names))
    assert [group.label for group in groups] == [
        "base",
        "erl (method.steps=2)",
        "erl (method.steps=3)",
    ]
    assert [len(group.runs) for group in groups] == [2, 2, 1]
    found = paired_tests.compare(groups, FAST)
    assert found.estimates[0]["mrr"].deviation and found.estimates[2]["mrr"].deviation is None
    first = found.differences[0]
    assert first.metric == "ndcg@10" and first.t_test.mean > 0 and first.t_test.p < 1e-6
    assert first.seeds is not None and found.differences[-1].seeds is None
    assert all(each.holm >= each.t_test.p for each in found.differences)
    gap = found.estimates[1]["ndcg@10"].mean - found.estimates[0]["ndcg@10"].mean
    assert first.t_test.mean == pytest.approx(gap)


def test_what_is_written_and_shown(base, tmp_path, capsys):
    other = made.write_run(tmp_path / "erl", ERL, np.maximum(1, RANKS // 2))
    compare_runs([base, other], str(tmp_path / "out"), FAST, with_holm=True)
    shown = capsys.readouterr().out
    assert "***" in shown and "after Holm's correction for these 5 tests" in shown
    report = json.loads((tmp_path / "out/comparison.json").read_text())
    assert report["baseline"] == "base" and len(report["differences"]) == 5
    assert report["differences"][0]["bootstrap"]["p"] == pytest.approx(2 / 501)
    text = (tmp_path / "out/comparison.md").read_text()
    assert next(markdown.rows(text)).keys() >= {"Test", "NDCG@10"} and r"\*\*\*" in text
    assert not list(tmp_path.glob("out/.*"))


def test_labels_are_whole_where_the_terminal_is_narrow(tmp_path):
    options = [ERL | {"method.kl_weight": value} for value in (0.0, 0.0625)]
    names = [made.write_run(tmp_path / str(n), each, RANKS) for n, each in enumerate(options)]
    groups = comparable_runs.group(comparable_runs.read(names))
    found = paired_tests.compare(groups, FAST)
    text = io.StringIO()
    comparison_table.print_comparison(found, False, Console(file=text, width=80))
    shown = "".join(text.getvalue().split())
    assert "…" not in shown and "0.0625" in shown


def test_seeds_alone_are_a_table_without_tests(base, tmp_path, capsys):
    other = made.write_run(tmp_path / "b1", BASE | {"seed": 1}, RANKS + 1)
    compare_runs([base, other], str(tmp_path / "out"), FAST)
    shown = capsys.readouterr().out
    assert "±" in shown and "Against" not in shown


@pytest.mark.parametrize(
    ("p", "shown"),
    [(0.0312, ".0312"), (4.123e-7, "4.1e-07"), (1.0, "1"), (0.0, "0"), (None, MISSING)],
)
def test_exact_p(p, shown):
    assert comparison_table.exact(p) == shown
