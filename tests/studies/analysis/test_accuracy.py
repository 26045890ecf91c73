"""Tables from ranks alone: group sizes, bounds, movements that add up."""

import numpy as np
import polars as pl
import pytest

from rearec_jax.errors import UserError
from rearec_jax.evaluation import metrics, rank_file
from rearec_jax.studies.analysis import accuracy, from_ranks, trajectories
from tests.studies.analysis import made


def test_metrics_equal_those_of_the_evaluation():
    ranks = np.array([1, 2, 10, 11, 20, 21, 400])
    expected = metrics.MetricSums.empty((10, 20)).add(ranks).means()
    assert metrics.means(ranks) == pytest.approx(expected)


@pytest.mark.parametrize("by", accuracy.BY)
def test_groups_mean_to_the_whole(by):
    ranks = made.ranks()
    table = accuracy.by_group(ranks, by)
    for name, own in ranks.named().items():
        rows = table.filter(pl.col("representation") == name)
        assert rows["examples"].sum() == len(own)
        weighted = (rows["ndcg@10"] * rows["examples"]).sum() / len(own)
        assert weighted == pytest.approx(metrics.means(own)["ndcg@10"])


def test_hindsight_bounds_what_it_chooses_from():
    ranks = made.ranks()
    steps, bounds = accuracy.by_step(ranks), accuracy.in_hindsight(ranks)
    for name in metrics.METRICS:
        assert bounds[name][0] >= steps[name].max()
        for step in range(ranks.steps):
            assert bounds[name][step + 1] >= max(steps[name][step], steps[name][-1])
            assert bounds[name][step + 1] <= bounds[name][0]  # final is the last step here
    assert accuracy.best_step(ranks)["share"].sum() == pytest.approx(1)


def test_movements_add_up():
    ranks = made.ranks()
    table = trajectories.movements(ranks)
    sums = table["improved"] + table["same"] + table["worsened"]
    assert sums.to_list() == pytest.approx([1.0] * len(table))
    assert table.select("from", "to").is_unique().all()
    gain = table.filter(pl.col("to").is_in(["step 2", "final"]), pl.col("from") == "step 0")
    assert gain["mean_log2_gain"][0] == pytest.approx(gain["mean_log2_gain"][1])


def test_quantiles_and_disagreement_of_a_case():
    by_step = np.array([[1, 20], [5, 5], [30, 10], [12, 11]])
    ranks = made.ranks(4)
    ranks = rank_file.UserRanks(
        ranks.users, ranks.targets, ranks.popularity, ranks.history_length, by_step, by_step[:, 1]
    )
    row = trajectories.disagreement(ranks).row(0, named=True)
    assert row == {
        "first": "step 0",
        "second": "step 1",
        "rank": 0.75,
        "hit@10": 0.5,
        "only_second": 0.25,
    }
    assert trajectories.quantiles(ranks)["q50"].to_list() == [12, 11, 11]


def test_ranks_without_steps_give_what_they_can():
    found = made.ranks()
    none = np.zeros((len(found.final), 0), np.int64)
    ranks = rank_file.UserRanks(
        found.users, found.targets, found.popularity, found.history_length, none, found.final
    )
    tables = from_ranks.tables(ranks)
    assert tables["accuracy_by_step"]["representation"].to_list() == ["final"]
    assert tables["by_popularity"]["group"].to_list() == [1, 2, 3, 4]


def test_a_file_is_read_back(tmp_path):
    path = made.write_run(tmp_path / "run", {}, np.array([3, 1, 2]))
    found = rank_file.read(tmp_path / "run/ranks.parquet")
    assert path and found.final.tolist() == [3, 1, 2] and found.steps == 1


@pytest.mark.parametrize("content", [None, b"", b"PAR1 and no more"])
def test_a_missing_or_damaged_file_is_said(content, tmp_path):
    path = tmp_path / "ranks.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"ranks\.parquet .*--mode=evaluate"):
        rank_file.read(path)


def test_a_file_with_missing_ranks_is_said(tmp_path):
    made.write_run(tmp_path / "run", {}, np.array([3, 1, 2]), rank=[1, None, 2])
    with pytest.raises(UserError, match=r"a rank is missing"):
        rank_file.read(tmp_path / "run/ranks.parquet")
