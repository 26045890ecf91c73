"""Lists for batches of Arrow equal those of `recommend`: in a loop, in real Spark, in real Ray."""

import pickle

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

import rearec_jax
from rearec_jax.errors import UserError
from tests import test_large_data
from tests.recommend.test_export import written
from tests.recommend.test_recommender import ITEMS

USERS = 3000


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "model"
    written(path)
    return path


@pytest.fixture(scope="module")
def users():
    rng = np.random.default_rng(0)
    histories = [
        [f"i{n}" for n in rng.integers(0, ITEMS, rng.integers(0, 6))] for _ in range(USERS)
    ]
    return pl.DataFrame({"user_id": np.arange(USERS), "items": histories})


@pytest.fixture(scope="module")
def lists(place, users):
    """What `recommend` gives, in the rows of a file of lists."""
    found = rearec_jax.load(place).recommend(users["items"].to_list(), k=3)
    rows = [
        (str(user), rank, item, score)
        for user, one in enumerate(found)
        for rank, (item, score) in enumerate(zip(one.ids, one.scores, strict=True), 1)
    ]
    return pl.DataFrame(rows, schema=["user_id", "rank", "item_id", "score"], orient="row")


def same(found, lists):
    found = found.sort(pl.col("user_id").cast(pl.Int64), "rank")
    columns = ["user_id", "rank", "item_id"]
    assert found.select(columns).cast({"rank": pl.Int64}).equals(lists.select(columns))
    np.testing.assert_allclose(found["score"], lists["score"], rtol=1e-5, atol=1e-5)


def test_a_loop(place, users, lists):
    recommend = pickle.loads(pickle.dumps(rearec_jax.batch_recommender(place, 3)))
    table = users.to_arrow()
    batches = [recommend(batch) for batch in table.to_batches(max_chunksize=700)]
    assert all(isinstance(batch, pa.RecordBatch) for batch in batches)
    same(pl.DataFrame(pa.Table.from_batches(batches)), lists)
    assert list(recommend(iter(table.to_batches(max_chunksize=700)))) == batches
    assert isinstance(recommend(table), pa.Table)


def test_users_without_items_get_popular_ones(place):
    nobody = pa.table({"u": ["a", "b"], "h": pa.array([None, []], pa.list_(pa.string()))})
    recommend = rearec_jax.batch_recommender(place, 2, user_column="u", items_column="h")
    assert pl.DataFrame(recommend(nobody))["by"].to_list() == ["popularity"] * 4
    assert recommend(nobody.slice(0, 0)).num_rows == 0


def test_what_is_wrong_is_said(place, tmp_path):
    table = pa.table({"user_id": [None], "items": [["i1"]]})
    recommend = rearec_jax.batch_recommender(place)
    with pytest.raises(UserError, match="'user_id' is empty"):
        recommend(table)
    with pytest.raises(UserError, match=r"no column 'items'.*user_id.*items_column="):
        recommend(table.select(["user_id"]))
    with pytest.raises(UserError, match="nowhere"):
        rearec_jax.batch_recommender(tmp_path / "nowhere")(table.set_column(0, "user_id", [["a"]]))
    with pytest.raises(UserError, match="k=0"):
        rearec_jax.batch_recommender(place, 0)
    with pytest.raises(UserError, match=r"steps=1\.5"):
        rearec_jax.batch_recommender(place, steps=1.5)
    assert rearec_jax.batch_recommender(place, np.int64(2)).options.k == 2


@pytest.mark.parametrize(
    ("package", "title"),
    [("pyarrow", "lists_loop.py"), ("pyspark", "lists_spark.py"), ("ray", "lists_ray.py")],
)
def test_the_examples_of_the_page(place, users, lists, tmp_path, package, title):
    test_large_data.need(package)
    users.write_parquet(tmp_path / "users.parquet")
    (tmp_path / "exported").symlink_to(place)
    test_large_data.run(title, tmp_path)
    same(pl.read_parquet(tmp_path / "lists" / "*.parquet"), lists)
