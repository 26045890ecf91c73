"""The ONNX program gives the model's numbers in onnxruntime."""

import json

import jax
import numpy as np
import pytest

from rearec_jax.errors import UserError
from rearec_jax.recommend import export, onnx, trained
from rearec_jax.recommend.histories import of_ids
from rearec_jax.recommend.recommender import Recommender
from rearec_jax.recommend.rows import batches
from tests import tiny
from tests.recommend.test_recommender import ITEMS, catalogue

HISTORIES = [["i3", "i4"], ["i7"], [f"i{n}" for n in range(9)]]


def written(path):
    config = tiny.config("erl")
    _, variables = tiny.build(config, ITEMS)
    recommender = Recommender(trained.engine_of_model(config, variables, ITEMS), catalogue())
    export.write(path, config, variables, recommender, with_onnx=True)
    return recommender.engine


def one_a_row(histories):
    """Returns tokens, positions, segments [B, T] and queries [B, 1], made by hand."""
    rows = np.zeros((4, len(histories), 6), np.int32)
    for row, history in enumerate(histories):
        items = [int(raw[1:]) for raw in history][-6:]
        rows[0, row, : len(items)], rows[1, row, : len(items)] = items, range(len(items))
        rows[2, row, : len(items)], rows[3, row, 0] = 1, len(items) - 1
    return rows[0], rows[1], rows[2], rows[3, :, :1]


@pytest.mark.filterwarnings("ignore")  # of the libraries
def test_same_numbers_in_onnxruntime(tmp_path):
    pytest.importorskip("jax2onnx")
    runtime = pytest.importorskip("onnxruntime")
    engine = written(tmp_path / "model")
    session = runtime.InferenceSession(tmp_path / "model" / onnx.FILE)
    inputs = dict(zip(onnx.INPUTS, one_a_row(HISTORIES), strict=True))
    (found,) = session.run(None, inputs)
    histories = of_ids(HISTORIES, catalogue())
    (rows,) = batches(histories, engine.max_length, 128, None)
    ours = jax.jit(engine.encode, static_argnums=3)(engine.weights, engine.table, rows, 2)
    for row, user in np.argwhere(rows.users >= 0):
        own = found[rows.users[row, user], 0]
        np.testing.assert_allclose(own, ours[row, user], rtol=1e-4, atol=1e-5)
    for wrong in (ITEMS, 2**31 - 1):
        tokens = inputs["tokens"].copy()
        tokens[1, 0] = wrong
        with pytest.raises(Exception, match=r"out of data bounds"):
            session.run(None, inputs | {"tokens": tokens})
    nobody = {name: array[:0] for name, array in inputs.items()}
    with pytest.raises(Exception, match=r"out of data bounds"):  # not the end of the process
        session.run(None, nobody)
    manifest = json.loads((tmp_path / "model" / "manifest.json").read_text())
    assert onnx.FILE in manifest["files"]


def test_the_missing_extra_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "jax2onnx", None)
    with pytest.raises(UserError, match=r"pip install -e '.\[onnx\]'"):
        written(tmp_path / "model")
