"""The analysis of a tiny trained run: its parts agree with the ranks that evaluation wrote."""

import json
import time

import numpy as np
import polars as pl
import pytest

from rearec_jax import config as config_lib
from rearec_jax.commands import evaluate, train
from rearec_jax.commands.analyse import analyse_run
from rearec_jax.errors import UserError
from rearec_jax.run.workdir import load_config
from rearec_jax.studies.analysis import output

STEPS = 2
OPTIONS = {
    "mesh.data": 1,
    "data.demo_users": 60,
    "data.demo_items": 60,
    "model.width": 8,
    "model.hidden": 8,
    "model.layers": 1,
    "model.max_length": 10,
    "method.name": "erl",
    "method.steps": STEPS,
    "train.batch_size": 350,
    "train.epochs": 1,
    "eval.batch_size": 16,  # several batches
    "analysis.projected_users": 25,
    "analysis.list_length": 10,
}


def config(**changes):
    options = config_lib.default()
    dotted = {name.replace("__", "."): value for name, value in changes.items()}
    for name, value in (OPTIONS | dotted).items():
        section, key = name.split(".")
        options[section][key] = value
    return config_lib.resolve(options)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "erl"
    train.train_run(str(path), config(), "configs/tiny.py", time.perf_counter())
    analyse_run(str(path), None)
    return path


@pytest.fixture
def tables(run):
    return json.loads((run / "analysis/tables.json").read_text())


def test_accuracy_is_that_of_the_summary(run, tables):
    summary = json.loads((run / "summary.json").read_text())
    rows = {row["representation"]: row for row in tables["accuracy_by_step"]}
    for step, known in enumerate(summary["test_by_step"]):
        assert rows[f"step {step}"]["ndcg@10"] == pytest.approx(known["ndcg@10"])
    assert rows["final"]["mrr"] == pytest.approx(summary["test"]["mrr"])
    bound = summary["test_best_step_in_hindsight"]["ndcg@10"]
    assert tables["in_hindsight"][0]["ndcg@10"] == pytest.approx(bound)


def test_lists_hold_the_targets_that_rank_among_them(run):
    ranks = pl.read_parquet(run / "ranks.parquet")
    lists = pl.read_parquet(run / "analysis/lists.parquet")
    assert len(lists) == len(ranks) * (STEPS + 2)
    for name, column in (("step 0", "rank_step_0"), ("step 2", "rank_step_2"), ("final", "rank")):
        own = lists.filter(pl.col("representation") == name)
        places = [
            items.index(target) + 1 if target in items else None
            for items, target in zip(own["items"].to_list(), own["target"], strict=True)
        ]
        expected = [rank if rank <= 10 else None for rank in ranks[column]]
        assert places == expected
        assert all(len(set(items)) == 10 for items in own["items"].to_list())


def test_states_and_sharpness_have_their_ranges(run, tables):
    names = [f"step {step}" for step in range(STEPS + 1)]
    cosines = np.array([[row[name] for name in names] for row in tables["state_cosines"]])
    np.testing.assert_allclose(np.diag(cosines), 1, atol=1e-5)
    np.testing.assert_allclose(cosines, cosines.T, atol=1e-5)
    assert all(0 <= row["mean"] <= np.log2(60) + 1e-4 for row in tables["sharpness"])
    points = pl.read_parquet(run / "analysis/projection.parquet")
    assert len(points) == 25 * (STEPS + 1) and points["user"].n_unique() == 25


def test_stories_follow_the_users(run):
    stories = json.loads((run / "analysis/stories.json").read_text())
    ranks = pl.read_parquet(run / "ranks.parquet")
    for story in stories:
        row = ranks.row(by_predicate=pl.col("user") == story["user"], named=True)
        assert story["target"]["id"] == row["target"] and story["target"]["title"]
        assert story["history_length"] == row["history_length"]
        assert len(story["history"]) == min(10, row["history_length"])
        assert [step["target_rank"] for step in story["steps"]] == [
            *(row[f"rank_step_{step}"] for step in range(STEPS + 1)),
            row["rank"],
        ]
        assert all(len(step["top"]) == 5 for step in story["steps"])


def test_again_gives_the_same_and_leaves_nothing_else(run):
    before = {path.name: path.read_bytes() for path in (run / "analysis").iterdir()}
    (run / "analysis/tables.json").write_text("old")
    analyse_run(str(run), None)
    assert {path.name: path.read_bytes() for path in (run / "analysis").iterdir()} == before
    assert not list(run.glob(".analysis*"))


def test_other_eval_options_need_their_own_evaluation(run, capsys):
    given = config(eval__exclude_seen=True, analysis__story_users=("7",))
    with pytest.raises(UserError, match=r"ranks\.exclude_seen=True\.parquet .*--mode=evaluate"):
        analyse_run(str(run), given)
    evaluate.evaluate_run(str(run), given)
    directory = analyse_run(str(run), given)
    assert directory.name == "analysis.exclude_seen=True"
    assert "User 7 (named)" in capsys.readouterr().out
    (story,) = json.loads((directory / "stories.json").read_text())
    listed = [each for step in story["steps"] for each in step["top"]]
    assert not any(each["seen"] and not each["target"] for each in listed)


def test_analysis_options_change_no_run(run):
    evaluate.evaluate_run(str(run), config(analysis__list_length=3))
    assert load_config(run).analysis.list_length == 10


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"analysis__story_users": ("nobody",)}, "'nobody' has no test example"),
        ({"model__width": 16}, "model.width: 8 -> 16"),
    ],
)
def test_mistakes_are_said_before_the_work(run, change, words):
    with pytest.raises(UserError, match=words):
        analyse_run(str(run), config(**change))


def test_ranks_of_other_examples_are_refused(run):
    path = run / "ranks.parquet"
    whole = path.read_bytes()
    try:
        pl.read_parquet(path).head(50).write_parquet(path)
        with pytest.raises(UserError, match="other examples"):
            analyse_run(str(run), None)
    finally:
        path.write_bytes(whole)


def test_what_was_there_stays_where_writing_fails(tmp_path, monkeypatch):
    place = tmp_path / "analysis"
    output.write(place, {"a": 1}, [], {"t": pl.DataFrame({"x": [1]})})

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", fail)
    with pytest.raises(UserError, match=r"cannot write .*analysis: No space left"):
        output.write(place, {"a": 2}, [], {"t": pl.DataFrame({"x": [2]})})
    assert json.loads((place / "tables.json").read_text()) == {"a": 1}
    assert pl.read_parquet(place / "t.parquet")["x"].to_list() == [1]
    assert [path.name for path in tmp_path.iterdir()] == ["analysis"]
