"""Item vectors from texts and from files: what they mean, how they are kept."""

import dataclasses
import logging
import os

import numpy as np
import polars as pl
import pytest

from rearec_jax.config import Config, DataConfig
from rearec_jax.data.interactions import Interactions
from rearec_jax.data.item_vectors import tfidf, vector_files
from rearec_jax.data.item_vectors.vectors import item_vectors, principal_components, unit_scale
from rearec_jax.data.prepare import prepare
from rearec_jax.errors import UserError

TITLES = ["red wool scarf", "blue wool scarf", None, "oak table", "small oak table", "  "]
IDS = ["2", "10", "30", "40", "50", "60"]


def catalogue(texts=TITLES, ids=IDS):
    return Interactions(
        items=np.arange(len(ids), dtype=np.int32),
        offsets=np.array([0, len(ids)]),
        split=np.zeros(len(ids), np.uint8),
        timestamps=None,
        user_ids=pl.Series(["u"]),
        item_ids=pl.Series(ids),
        item_text=None if texts is None else pl.Series(texts, dtype=pl.String),
        name="small",
    )


@pytest.fixture
def config(tmp_path):
    return Config(data=DataConfig(cache_dir=str(tmp_path / "cache")))


def with_text(config, **options):
    return dataclasses.replace(config, text=dataclasses.replace(config.text, **options))


def kept(config):
    return [name for name in os.listdir(config.data.cache_dir) if name.startswith("vectors-")]


class TestTfidf:
    def test_texts_that_share_words_are_near_and_items_without_text_are_zero(self, config):
        found = item_vectors(config, catalogue())
        assert found.vectors.dtype == np.float32
        assert found.has_text.tolist() == [True, True, False, True, True, False]
        assert not found.vectors[[2, 5]].any()
        similarity = found.vectors @ found.vectors.T
        np.testing.assert_allclose(np.diag(similarity)[found.has_text], 1, rtol=1e-5)
        assert similarity[0, 1] > 0.3 > abs(similarity[0, 3])
        assert similarity[3, 4] > 0.3 > abs(similarity[4, 1])

    def test_width_is_what_there_is_and_no_more_than_asked_for(self):
        texts = [text for text in TITLES if text and text.strip()]
        assert tfidf.encode(texts, 768).shape == (4, 4)
        assert tfidf.encode(texts, 2).shape == (4, 2)
        assert tfidf.encode(["alone", "?"], 768).tolist() == [[1], [0]]
        assert tfidf.encode(["two words"], 768).shape == (1, 1)

    def test_same_texts_same_vectors(self):
        texts = [f"word{i % 7} thing{i % 5} part{i}" for i in range(60)]
        assert np.array_equal(tfidf.encode(texts, 9), tfidf.encode(texts, 9))

    def test_texts_without_a_word_have_no_vector(self, config):
        found = item_vectors(config, catalogue(["?!", "a", "two words", None, "two", "-"]))
        assert found.has_text.tolist() == [False, False, True, False, True, False]
        with pytest.raises(UserError, match=r"no item has a vector.*text\.encoder=tfidf"):
            item_vectors(config, catalogue(["?", "!", "-", ".", ",", ";"]))

    @pytest.mark.parametrize("texts", [None, [None] * 6])
    def test_no_text_at_all_is_explained(self, config, texts):
        with pytest.raises(UserError, match=r"data\.item_text=FILE.*text\.vectors=FILE"):
            item_vectors(config, catalogue(texts))

    def test_demo(self, config):
        data = prepare(DataConfig(demo_users=50, demo_items=60))
        found = item_vectors(config, data)
        assert found.has_text.all()
        words = [set(title.split()) for title in data.item_text.to_list()]
        similarity = found.vectors @ found.vectors.T
        np.fill_diagonal(similarity, -1)
        nearest = similarity.argmax(axis=1)
        assert all(words[item] & words[other] for item, other in enumerate(nearest))


class TestKept:
    def test_a_second_call_maps_the_kept_matrix(self, config, monkeypatch):
        first = item_vectors(config, catalogue())
        monkeypatch.setattr(tfidf, "encode", lambda *_: pytest.fail("made again"))
        second = item_vectors(config, catalogue())
        assert np.array_equal(first.vectors, second.vectors)
        assert np.array_equal(first.has_text, second.has_text)
        assert isinstance(second.vectors, np.memmap) and not second.vectors.flags.writeable

    def test_texts_and_options_make_the_key(self, config):
        item_vectors(config, catalogue())
        item_vectors(with_text(config, batch_size=1), catalogue())
        assert len(kept(config)) == 1
        item_vectors(with_text(config, width=2), catalogue())
        item_vectors(config, catalogue([*TITLES[:5], "chair"]))
        item_vectors(config, catalogue(TITLES[::-1]))
        assert len(kept(config)) == 4

    @pytest.mark.parametrize("damage", ["cut", "other"])
    def test_a_damaged_one_is_made_again_with_one_warning(self, config, caplog, damage):
        first = np.array(item_vectors(config, catalogue()).vectors)
        (name,) = kept(config)
        path = os.path.join(config.data.cache_dir, name)
        if damage == "cut":
            os.truncate(path, os.path.getsize(path) - 3)
        else:
            with open(path, "wb") as file:
                np.save(file, np.zeros((2, 2)))
        with caplog.at_level(logging.WARNING):
            for _ in range(2):
                assert np.array_equal(item_vectors(config, catalogue()).vectors, first)
        assert len(caplog.records) == 1
        assert kept(config) == [name]

    def test_where_nothing_can_be_kept_there_is_a_warning(self, config, tmp_path, caplog):
        (tmp_path / "file").write_text("")
        data = dataclasses.replace(config.data, cache_dir=str(tmp_path / "file"))
        with caplog.at_level(logging.WARNING):
            assert item_vectors(dataclasses.replace(config, data=data), catalogue()).has_text.any()
        assert len(caplog.records) == 1 and "data.cache_dir" in caplog.text


class TestPrincipalComponents:
    def test_distances_are_kept_up_to_scale(self):
        rng = np.random.default_rng(0)
        given = (rng.normal(size=(30, 3)) @ rng.normal(size=(3, 8)) + 5).astype(np.float32)
        reduced = principal_components(given, 3)
        assert reduced.shape == (30, 3) and reduced.dtype == np.float32
        np.testing.assert_allclose(reduced.mean(axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(np.square(reduced).sum(axis=1).mean(), 1, rtol=1e-5)

        def distances(points):
            return np.linalg.norm(points[:, None] - points[None], axis=-1)[np.triu_indices(30, 1)]

        ratio = distances(reduced) / distances(given)
        np.testing.assert_allclose(ratio, ratio[0], rtol=1e-3)
        assert np.array_equal(reduced, principal_components(given, 3))

    def test_few_or_equal_vectors(self):
        assert principal_components(np.ones((2, 5), np.float32), 4).shape == (2, 2)
        assert not principal_components(np.ones((3, 2), np.float32), 4).any()


class TestFiles:
    def put_npy(self, tmp_path, matrix, ids=None):
        path = tmp_path / "mine.npy"
        np.save(path, matrix)
        if ids is not None:
            (tmp_path / "mine.ids.txt").write_text("\n".join(ids) + "\n")
        return str(path)

    def put_parquet(self, tmp_path, **columns):
        path = tmp_path / "mine.parquet"
        pl.DataFrame(columns).write_parquet(path)
        return str(path)

    def test_npy_in_the_order_of_the_catalogue(self, config, tmp_path):
        matrix = np.arange(12.0).reshape(6, 2)
        config = with_text(config, vectors=self.put_npy(tmp_path, matrix))
        found = item_vectors(config, catalogue(None))
        assert np.array_equal(found.vectors, matrix) and found.vectors.dtype == np.float32
        assert found.has_text.all()
        with pytest.raises(UserError, match=r"6 rows for 5 items.*mine\.ids\.txt.*sorted"):
            item_vectors(config, catalogue(None, IDS[:5]))

    def test_npy_with_ids(self, config, tmp_path, caplog):
        matrix = np.array([[1, 2], [3, 4], [5, 6]], np.int16)
        path = self.put_npy(tmp_path, matrix, ["50", "unknown", "2"])
        found = item_vectors(with_text(config, vectors=path), catalogue(None))
        assert found.vectors.tolist() == [[5, 6], [0, 0], [0, 0], [0, 0], [1, 2], [0, 0]]
        assert found.has_text.tolist() == [True, False, False, False, True, False]
        assert "vectors for only 2 of 6 items" in caplog.text
        (tmp_path / "mine.ids.txt").write_text("50\n2\n")
        with pytest.raises(UserError, match=r"mine\.ids\.txt has 2 ids for the 3 rows"):
            item_vectors(with_text(config, vectors=path), catalogue(None))

    @pytest.mark.parametrize("kind", [pl.List(pl.Float64), pl.Array(pl.Float32, 2)])
    def test_parquet(self, config, tmp_path, kind):
        path = self.put_parquet(
            tmp_path,
            item_id=[10, 77, 40, 10, 50],
            mine=pl.Series([[1, 2], [3, 4], [5, 6], [7, 8], None], dtype=kind),
        )
        found = item_vectors(with_text(config, vectors=path), catalogue(None))
        assert found.vectors.tolist() == [[0, 0], [1, 2], [0, 0], [5, 6], [0, 0], [0, 0]]
        assert found.has_text.tolist() == [False, True, False, True, False, False]

    def test_wide_vectors_are_reduced(self, config, tmp_path):
        matrix = np.random.default_rng(0).normal(size=(5, 9))
        path = self.put_npy(tmp_path, matrix, IDS[:5])
        found = item_vectors(with_text(config, vectors=path, width=3), catalogue(None))
        assert found.vectors.shape == (6, 3)
        assert found.has_text.tolist() == [True] * 5 + [False]
        expected = principal_components(matrix.astype(np.float32), 3)
        np.testing.assert_array_equal(found.vectors[:5], expected)

    def test_the_content_makes_the_key(self, config, tmp_path):
        config = with_text(config, vectors=self.put_npy(tmp_path, np.ones((6, 2))))
        assert item_vectors(config, catalogue(None)).vectors[0, 0] == 1
        self.put_npy(tmp_path, 2 * np.ones((6, 2)))
        assert item_vectors(config, catalogue(None)).vectors[0, 0] == 2
        reverse = self.put_npy(tmp_path, 2 * np.eye(6), IDS[::-1])
        assert item_vectors(with_text(config, vectors=reverse), catalogue(None)).vectors[0, 5] == 2

    @pytest.mark.parametrize(
        ("matrix", "words"),
        [
            (np.array([[{}]] * 6, object), r"mine\.npy is not a \.npy file of numbers"),
            (np.ones(6), r"shape \(6,\)"),
            (np.ones((6, 0)), r"shape \(6, 0\)"),
            (np.array([["a"]] * 6), "<U1"),
            (np.array([[1.0]] * 4 + [[np.nan]] * 2), r"mine\.npy, row 5.*\(2 such rows\)"),
            (np.array([[1e300]] * 6), r"mine\.npy, row 1.*finite"),
        ],
    )
    def test_no_matrix_of_numbers(self, config, tmp_path, matrix, words):
        with pytest.raises(UserError, match=words):
            item_vectors(with_text(config, vectors=self.put_npy(tmp_path, matrix)), catalogue(None))
        assert not os.path.exists(config.data.cache_dir)

    @pytest.mark.parametrize(
        ("columns", "words"),
        [
            ({"id": ["2"], "v": [[1.0]]}, "no column 'item_id'.*data.text_id_column.*id, v"),
            ({"item_id": ["2"], "v": [1.0]}, "no column holds any"),
            ({"item_id": ["2"], "v": [["x"]]}, "no column holds any"),
            (
                {"item_id": ["2"], "a": [[1.0]], "b": [[1.0]]},
                "text.vectors_column.*2 columns hold lists of numbers: a, b",
            ),
            ({"item_id": ["2", "10"], "v": [[1.0, 2.0], [1.0]]}, "row 2: 1 numbers.* 2"),
            ({"item_id": ["2", "10"], "v": [[1.0], [None]]}, "row 2: a value"),
            ({"item_id": ["2", "10"], "v": [[1.0], [float("inf")]]}, "row 2: a value"),
            ({"item_id": ["3"], "v": [[1.0]]}, "none of the 6 items.*'2'.*'3'"),
            ({"item_id": ["2"], "v": [None]}, "no column holds any"),
            ({"item_id": [None], "v": [[1.0]]}, "has no vectors"),
            ({"item_id": ["2"], "v": pl.Series([[]], dtype=pl.List(pl.Float32))}, "empty"),
        ],
    )
    def test_parquet_files_that_do_not_fit(self, config, tmp_path, columns, words):
        path = self.put_parquet(tmp_path, **columns)
        with pytest.raises(UserError, match=words):
            item_vectors(with_text(config, vectors=path), catalogue(None))

    def test_a_column_can_be_chosen(self, config, tmp_path):
        path = self.put_parquet(tmp_path, item_id=["2"], a=[[1.0]], b=[[5.0]])
        chosen = with_text(config, vectors=path, vectors_column="b")
        assert item_vectors(chosen, catalogue(None)).vectors[0, 0] == 5
        with pytest.raises(UserError, match=r"no column 'c' \(option text\.vectors_column\)"):
            item_vectors(with_text(chosen, vectors_column="c"), catalogue(None))

    @pytest.mark.parametrize("name", ["absent.npy", "other.csv", "broken.npy", "broken.parquet"])
    def test_no_such_file(self, config, tmp_path, name):
        if "absent" not in name:
            (tmp_path / name).write_text("no matrix\n")
        with pytest.raises(UserError, match=name.replace(".", r"\.")):
            item_vectors(with_text(config, vectors=str(tmp_path / name)), catalogue(None))


class TestScale:
    def test_elements_of_filled_vectors_have_a_mean_square_of_one(self):
        vectors = np.random.default_rng(0).normal(3, 0.01, (20, 5)).astype(np.float32)
        vectors[4] = 0
        scaled = np.delete(vectors * unit_scale(vectors), 4, axis=0)
        np.testing.assert_allclose(np.mean(np.square(scaled)), 1, rtol=1e-6)

    def test_nothing_to_scale(self):
        assert unit_scale(np.zeros((3, 2), np.float32)) == 1


def test_ids_of_vectors_are_those_of_the_items(config, tmp_path):
    """A number is one id, in a column of floats as in text."""
    config = with_text(config, vectors=str(tmp_path / "v.parquet"))
    ids = {"item_id": [17.0, 4.0], "vector": [[1.0, 2.0], [3.0, 4.0]]}
    pl.DataFrame(ids).write_parquet(tmp_path / "v.parquet")
    vectors, found = vector_files.read_vectors(config, pl.Series(["4", "17"]))
    assert found.all() and vectors.tolist() == [[3.0, 4.0], [1.0, 2.0]]
