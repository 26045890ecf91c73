"""A trained run as Python's callers see it: lists, vectors, neighbours."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import rearec_jax
from rearec_jax import config as config_lib
from rearec_jax.data.item_vectors.vector_files import read_vectors
from rearec_jax.errors import UserError
from rearec_jax.recommend.export import export_run
from rearec_jax.studies.report import write
from tests.fitting.frames import QUICK, interactions


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    place = tmp_path_factory.mktemp("model")
    options = QUICK | {"data.cache_dir": str(place / "cache"), "train.epochs": 1}
    return rearec_jax.fit(interactions(), workdir=place / "run", **options)


def test_known_users_are_their_histories(model):
    histories = interactions().group_by("userId", maintain_order=True).agg("movieId")
    user, history = histories.row(7)
    (by_id,), (by_history,) = model.recommend([user], k=5), model.recommend([history], k=5)
    assert by_id == by_history
    both = model.recommend([history, user], k=5)  # of one batch: rounded otherwise
    assert both.ids == [list(by_id.ids)] * 2
    assert len(by_id.ids) == 5 and not set(by_id.ids) & set(history)
    assert model.recommend([[int(item) for item in history]], k=5).ids == [list(by_id.ids)]
    found = rearec_jax.load(model.path).recommend([history], k=5)
    assert found[0] == by_id


@pytest.mark.parametrize(
    ("users", "words"),
    [
        (["nobody"], ["users[0]", "'nobody'", "no user"]),
        ([["1"], None], ["users[1] is None", "list of user ids"]),
        ("1", ["users is '1'", "list of user ids"]),
        ([[["1"]]], ["history 0"]),
    ],
)
def test_a_mistake_is_one_sentence(model, users, words):
    with pytest.raises(UserError) as caught:
        model.recommend(users)
    assert all(word in str(caught.value) for word in words), caught.value


def test_one_history_given_as_users_is_explained(model):
    with pytest.raises(UserError, match="it is an item"):
        model.recommend([model.recommender.items.ids[-1]])


def test_the_frame_has_the_lists_of_all_users(model):
    frame = model.recommend_frame(k=3)
    assert frame.columns == ["user", "rank", "item", "score"]
    users = model.data.user_ids
    assert frame["user"].to_list() == users.gather(np.repeat(np.arange(len(users)), 3)).to_list()
    some = [users[4], ["1", "2"]]
    part, lists = model.recommend_frame(some, k=3), model.recommend(some, k=3)
    assert part["user"].to_list() == [users[4]] * 3 + ["1"] * 3
    assert part["item"].to_list() == [item for ids in lists.ids for item in ids]
    assert part["rank"].to_list() == [1, 2, 3, 1, 2, 3]


def test_products_of_vectors_are_the_scores(model):
    items, users = model.item_vectors(), model.user_vectors()
    assert len(items.ids) == len(items.array) and users.ids.equals(model.data.user_ids)
    products = users.array @ items.array.T
    listed = model.recommend(users.ids, k=5, exclude_seen=False)
    for row, one in zip(products, listed, strict=True):
        order = np.argsort(-row, kind="stable")[:5]
        np.testing.assert_allclose(row[order], one.scores, rtol=1e-5)
    with pytest.raises(UserError, match="user 0: no item of the history is known"):
        model.user_vectors([["no such item"]])


def test_vectors_make_a_parquet_file(model, tmp_path):
    vectors = model.item_vectors()
    vectors.frame().write_parquet(tmp_path / "items.parquet")
    read = pl.read_parquet(tmp_path / "items.parquet")
    assert read["id"].equals(vectors.ids.alias("id"))
    np.testing.assert_array_equal(read["vector"].to_numpy(), vectors.array)


@pytest.mark.parametrize("name", ["new/vectors.parquet", "vectors.npy"])
def test_saved_vectors_are_item_vectors_of_another_run(model, tmp_path, name):
    """Ids and vectors are read as `text.vectors`, whose rows are found by their ids."""
    vectors = model.item_vectors()
    for _ in range(2):  # in place of what was there
        vectors.save(tmp_path / name)
    options = config_lib.default()
    options.text.vectors, options.data.text_id_column = str(tmp_path / name), "id"
    other_order = vectors.ids.reverse().append(pl.Series(["no item"]))
    read, found = read_vectors(config_lib.resolve(options), other_order)
    np.testing.assert_array_equal(read[:-1], vectors.array[::-1])
    assert found[:-1].all() and not found[-1]


def test_vectors_that_no_file_can_hold_are_refused(model, tmp_path):
    vectors = model.item_vectors()
    with pytest.raises(UserError, match=r"a \.parquet or a \.npy file"):
        vectors.save(tmp_path / "items.csv")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="choose another path"):
        vectors.save(tmp_path / "file" / "items.npy")
    two_lines = vectors._replace(ids=pl.Series(["a\nb"] * len(vectors.ids)))
    with pytest.raises(UserError, match="several lines"):
        two_lines.save(tmp_path / "items.npy")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_vectors_of_an_exported_model(model, tmp_path):
    export_run(str(model.path), str(tmp_path / "exported"))
    exported, history = rearec_jax.Model(tmp_path / "exported"), [["1", "2", "3"]]
    np.testing.assert_array_equal(exported.item_vectors().array, model.item_vectors().array)
    np.testing.assert_allclose(
        exported.user_vectors(history).array, model.user_vectors(history).array, rtol=1e-5
    )


def test_the_report_shows_what_is_local_if_asked(model, monkeypatch):
    monkeypatch.setattr(write, "report_runs", lambda *arguments: Path(f"local={arguments[-1]}"))
    assert [str(model.report()), str(model.report(local=True))] == ["local=False", "local=True"]


def test_similar_items_have_the_largest_cosines(model):
    vectors = model.item_vectors()
    unit = vectors.array / np.linalg.norm(vectors.array, axis=1, keepdims=True)
    asked = [vectors.ids[3], vectors.ids[0]]
    found = model.similar_items(asked, k=4)
    for number, one in zip((3, 0), found, strict=True):
        cosines = unit @ unit[number]
        cosines[number] = -2  # not the item itself
        np.testing.assert_allclose(one.scores, np.sort(cosines)[:-5:-1], rtol=1e-5)
        assert asked[0 if number else 1] not in one.ids
    assert len(model.similar_items(asked, k=10**6)[0].ids) == len(vectors.ids) - 1
    with pytest.raises(UserError, match="no item has the id 'none'"):
        model.similar_items(["none"])


def test_a_run_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="train the run to its end"):
        _ = rearec_jax.Model(tmp_path / "no").metrics
    with pytest.raises(UserError, match="does not exist"):
        rearec_jax.Model(tmp_path / "no").recommend([["1"]])


def test_users_of_other_data_are_refused(model, tmp_path):
    """The file of a run that was trained on one may have changed since."""
    other = rearec_jax.Model(model.path)
    kept = other.path / "interactions.parquet"
    whole = kept.read_bytes()
    try:
        interactions().filter(pl.col("movieId") != model.recommender.items.ids[0]).select(
            "userId", "movieId", "ts"
        ).write_parquet(kept)
        with pytest.raises(UserError, match="no longer has the items"):
            other.recommend(["u1"])
    finally:
        kept.write_bytes(whole)
