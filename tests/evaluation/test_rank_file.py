"""Ranks by user: rows that say whose target they are, and that give the metrics again."""

import numpy as np
import polars as pl

from rearec_jax.evaluation import rank_file
from rearec_jax.evaluation.ranks import Ranks
from tests import tiny

ITEMS = 20


def data():
    return tiny.interactions(tiny.sequences([4, 6, 3], ITEMS), ITEMS)


def ranks():
    found = data()
    rng = np.random.default_rng(0)
    by_step = rng.integers(1, ITEMS, (3, 2)).astype(np.int32)
    return Ranks(found.offsets[1:] - 1, by_step, by_step[:, -1])


def test_rows_are_the_users_targets():
    found, given = data(), ranks()
    table = rank_file.frame(found, given)
    assert table["user"].to_list() == ["u0", "u1", "u2"]
    targets = found.items[found.offsets[1:] - 1]
    assert table["target"].to_list() == [f"i{item}" for item in targets]
    assert table["history_length"].to_list() == [3, 5, 2]
    training = np.concatenate(
        [found.items[a : b - 2] for a, b in zip(found.offsets, found.offsets[1:], strict=False)]
    )
    assert table["target_popularity"].to_list() == [int((training == t).sum()) for t in targets]
    np.testing.assert_array_equal(table["rank"], given.final)
    np.testing.assert_array_equal(table["rank_step_0"], given.by_step[:, 0])
    assert [name for name in table.columns if "step" in name] == ["rank_step_0", "rank_step_1"]


def test_written_whole(tmp_path):
    path = tmp_path / "ranks.parquet"
    rank_file.write(path, data(), ranks())
    assert pl.read_parquet(path).equals(rank_file.frame(data(), ranks()))
    assert [file.name for file in tmp_path.iterdir()] == ["ranks.parquet"]
