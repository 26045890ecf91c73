"""A training with features of items, and all that is done with its model."""

import numpy as np
import polars as pl
import pytest

import rearec_jax
from rearec_jax.data.read import read_data
from rearec_jax.errors import UserError
from rearec_jax.recommend.export import export_run
from rearec_jax.recommend.from_run import load_kept
from rearec_jax.training.restored import restore
from tests.fitting.frames import QUICK, interactions

# ml_collections loads config files in a way that Python 3.15 will not know.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module")


def features(frame, path):
    """Writes a color for all items but the first, in any order, and of some two."""
    ids = frame["movieId"].unique().sort()[1:].sample(fraction=1, shuffle=True, seed=0)
    colors = [["red", "blue"] if int(raw) % 3 == 0 else [f"c{int(raw) % 4}"] for raw in ids]
    pl.DataFrame({"item_id": ids, "color": colors}).write_parquet(path)
    return str(path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of one epoch, whose file of features is gone."""
    place = tmp_path_factory.mktemp("features")
    path = features(interactions(), place / "f.parquet")
    options = QUICK | {"data.cache_dir": str(place / "cache"), "data.item_features": path}
    model = rearec_jax.fit(interactions(), workdir=place / "run", epochs=1, **options)
    (place / "f.parquet").rename(place / "gone.parquet")
    return model, options


def by_hand(model):
    """The item table as a loop: the free vector plus the mean of those of its colors."""
    kept = load_kept(model.path)
    learned = kept.variables["params"]["items"]
    values = sorted(set(kept.features["value"].drop_nulls()))
    rows = {None: 0} | {value: number for number, value in enumerate(values, start=1)}
    table = np.array(learned["table"])
    assert learned["features"].shape[0] == len(rows)
    for (item,), group in kept.features.group_by("item"):
        found = [np.asarray(learned["features"][rows[value]]) for value in group["value"]]
        table[item] += np.mean(found, axis=0)
    return table


def test_the_lists_are_those_of_vectors_with_features(trained, tmp_path):
    model, _ = trained
    table = by_hand(model)
    np.testing.assert_allclose(model.item_vectors().array, table, rtol=1e-5, atol=1e-6)
    learned = load_kept(model.path).variables["params"]["items"]
    assert np.abs(table - learned["table"]).max() > 1e-3  # the features say something
    history = [model.recommender.items.ids[:3].to_list()]
    export_run(str(model.path), str(tmp_path / "exported"))
    exported = rearec_jax.load(tmp_path / "exported")
    assert exported.recommend(history, k=5).ids == model.recommend(history, k=5).ids


def test_training_and_evaluation_read_the_same_table(trained):
    model, options = trained
    gone, file = model.path.parent / "gone.parquet", model.path.parent / "f.parquet"
    assert str(file) == options["data.item_features"]
    with pytest.raises(UserError, match="does not exist"):  # an evaluation reads the data again
        restore(str(model.path), None)
    gone.rename(file)
    try:
        found = restore(str(model.path), None)
        table = np.asarray(found.validate.table(found.variables))
        np.testing.assert_allclose(table, by_hand(model), rtol=1e-5, atol=1e-6)
        assert read_data(model.config).item_features.equals(load_kept(model.path).features)
        frame = pl.read_parquet(file).reverse().with_columns(color=pl.lit(["red"]))
        gone.write_bytes(file.read_bytes())
        frame.write_parquet(file)
        with pytest.raises(UserError, match="item_features"):
            restore(str(model.path), None)
    finally:
        file.unlink() if gone.exists() else file.rename(gone)


def test_tomorrow_values_are_found_by_name(trained, tmp_path):
    model, options = trained
    frame = interactions().filter(pl.col("movieId") != interactions()["movieId"].max())
    path = tmp_path / "f.parquet"
    pl.read_parquet(features(frame, path)).with_columns(
        pl.col("color").list.eval(pl.element().replace("c1", "a new one"))
    ).write_parquet(path)
    options = options | {"data.item_features": str(path), "train.learning_rate": 1e-9}
    later = rearec_jax.fit(frame, workdir=tmp_path / "run", epochs=1, start_from=model, **options)
    old, new = load_kept(model.path), load_kept(later.path)
    before, after = (
        dict(
            zip(
                [None, *sorted(set(kept.features["value"].drop_nulls()))],
                np.asarray(kept.variables["params"]["items"]["features"]),
                strict=True,
            )
        )
        for kept in (old, new)
    )
    assert set(after) - set(before) == {"a new one"}
    for value in set(after) & set(before):
        np.testing.assert_allclose(after[value], before[value], atol=1e-6)


def test_backbones_that_read_text_are_told_where_features_go(tmp_path):
    path = features(interactions(), tmp_path / "f.parquet")
    with pytest.raises(UserError, match=r"data\.text_template"):
        rearec_jax.fit(interactions(), backbone="morec", **{"data.item_features": path})
