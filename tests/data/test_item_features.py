"""The features of items: files of any kind, numbers of values, and what is wrong."""

import json

import numpy as np
import polars as pl
import pytest

from rearec_jax.config import DataConfig
from rearec_jax.data import item_features
from rearec_jax.errors import UserError

IDS = pl.Series(["1", "2", "3", "17"])
EXPECTED = {  # of each item and column; 17 is in no file
    ("1", "genre"): ["Comedy", "Drama"],
    ("1", "maker"): ["Acme"],
    ("2", "genre"): ["Drama"],
    ("2", "maker"): [None],
    ("3", "genre"): [None],
    ("3", "maker"): ["Best, Inc"],
    ("17", "genre"): [None],
    ("17", "maker"): [None],
}
ROWS = [  # the second row of item 1 does not count, and item 99 is no item
    (1, ["Comedy", "Drama"], "Acme"),
    (3, None, "Best, Inc"),
    (2, ["Drama"], None),
    (1, ["Horror"], "Other"),
    (99, ["Horror"], "Other"),
]


def write(path):
    rows = pl.DataFrame(ROWS, schema=["item_id", "genre", "maker"], orient="row")
    if path.suffix == ".parquet":
        rows.write_parquet(path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows.to_dicts()))
    elif path.suffix == ".item":
        texts = rows.with_columns(pl.col("genre").list.join("|"))
        names = {"item_id": "item_id:token", "genre": "genre:token_seq", "maker": "maker:token"}
        texts.rename(names).write_csv(path, separator="\t")
    else:
        rows.with_columns(pl.col("genre").list.join(" | ")).write_csv(path)
    return path


def read(path, **options):
    return item_features.read(DataConfig(item_features=str(path), **options), IDS)


def by_item(features):
    found = {}
    for item, column, value in features.rows():
        found.setdefault((IDS[item], column), []).append(value)
    return found


@pytest.mark.parametrize("name", ["f.csv", "f.parquet", "f.jsonl", "f.item"])
def test_files_of_every_kind_say_the_same(tmp_path, name):
    path = write(tmp_path / name)
    assert by_item(read(path)) == EXPECTED
    makers = {key: values for key, values in EXPECTED.items() if key[1] == "maker"}
    assert by_item(read(path, feature_columns=("maker",))) == makers


def test_a_column_is_the_mean_of_its_values(tmp_path):
    features = read(write(tmp_path / "f.csv"))
    found, values = item_features.numbered(features, len(IDS)), item_features.values_of(features)
    assert found.count == len(values) == 6  # two and the unknown one of each
    vectors = np.random.default_rng(0).normal(size=(found.count, 3))
    got = np.einsum("nm,nmd->nd", found.weights, vectors[found.codes])
    number = {row[1:]: row[0] for row in values.rows()}
    for item, raw in enumerate(IDS):
        expected = sum(
            np.mean([vectors[number[column, value]] for value in EXPECTED[raw, column]], axis=0)
            for column in ("genre", "maker")
        )
        np.testing.assert_allclose(got[item], expected, rtol=1e-6)


def test_numbers_fall_into_buckets_of_equally_many_items(tmp_path):
    prices = np.random.default_rng(0).lognormal(size=200)
    frame = pl.DataFrame({"item_id": np.arange(200), "price": prices, "color": ["red"] * 200})
    frame = frame.with_columns(price=pl.when(pl.col("item_id") >= 20).then("price"))
    frame.write_csv(tmp_path / "f.csv")
    config = DataConfig(item_features=str(tmp_path / "f.csv"), feature_numbers=("price",))
    found = item_features.read(config, frame["item_id"].cast(pl.String))
    of_price = found.filter(pl.col("column") == "price").sort("item")["value"]
    assert of_price[:20].null_count() == 20 and of_price[20:].null_count() == 0
    assert of_price[20:].value_counts()["count"].to_list() == [18] * item_features.BUCKETS
    bucket = of_price[20:].str.extract(r"(\d+)").cast(pl.Int64).to_numpy()
    assert (np.diff(bucket[np.argsort(prices[20:])]) >= 0).all()


def test_values_are_found_again_in_another_table(tmp_path):
    path = write(tmp_path / "f.csv")
    old = read(path)
    path.write_text("item_id,genre,maker\n1,Drama|Western,Acme\n")
    new = read(path)
    rows, there = item_features.rows_of(new, old), item_features.values_of(old).rows()
    for (_, column, value), row in zip(item_features.values_of(new).rows(), rows, strict=True):
        assert (row < 0) if value == "Western" else there[row][1:] == (column, value)


def test_saved_features_are_read_again(tmp_path):
    features = read(write(tmp_path / "f.csv"))
    path = tmp_path / "kept.parquet"
    item_features.save(features, path)
    assert item_features.load(path, len(IDS)).equals(features)
    with pytest.raises(UserError, match="not of this catalogue"):
        item_features.load(path, len(IDS) + 1)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match="train the run again"):
        item_features.load(path, len(IDS))


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("item_id,maker\n5,Acme\n", {}, ["for none of the 4 items", "an id there '5'"]),
        ("item_id\n1\n", {}, ["names no feature"]),
        ("item_id,maker\n1,Acme\n", {"feature_columns": ("brand",)}, ["'brand'", "maker"]),
        ("item_id,price\n1,cheap\n", {"feature_numbers": ("price",)}, ["no number", "cheap"]),
        ("item_id,maker\n1,Acme,x\n", {}, ["line 2"]),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path, text, options, words):
    (tmp_path / "f.csv").write_text(text)
    with pytest.raises(UserError) as caught:
        read(tmp_path / "f.csv", **options)
    assert all(word in str(caught.value) for word in words), caught.value


def test_json_that_is_no_object_a_line(tmp_path):
    (tmp_path / "f.jsonl").write_text('{"item_id": "1"\n')
    with pytest.raises(UserError, match="no object on each line"):
        read(tmp_path / "f.jsonl")
