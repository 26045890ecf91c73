"""docs/extending.md is true: its very text is run through all that asks about a method."""

import json
import re
import time
import types

import jax.numpy as jnp
import numpy as np
import pytest

import rearec_jax
from rearec_jax import methods
from rearec_jax.commands import analyse, evaluate, train
from rearec_jax.config import checks, resolve
from rearec_jax.data.own_files import readers
from rearec_jax.data.prepare import prepare
from rearec_jax.errors import UserError
from rearec_jax.evaluation import metrics
from rearec_jax.methods.method import Method
from rearec_jax.models import encoder
from rearec_jax.models.backbones import item_table
from rearec_jax.models.reasoning import encode_and_reason
from rearec_jax.recommend import export
from rearec_jax.studies.grid import means, summaries
from tests import tiny as tiny_model
from tests.processes import ROOT
from tests.training.test_backbones import tiny

PAGE = (ROOT / "docs" / "extending.md").read_text()


def code(title: str) -> str:
    """The text of the block with this title."""
    (found,) = re.findall(rf'```python title="{re.escape(title)}"\n(.*?)```', PAGE, re.DOTALL)
    return found


def module(title: str, **names: object) -> types.ModuleType:
    made = types.ModuleType(title.replace("/", ".").removesuffix(".py"))
    made.__dict__.update(names)
    exec(compile(code(title), title, "exec"), made.__dict__)
    return made


@pytest.fixture
def deep(monkeypatch) -> Method:
    title = "rearec_jax/methods/deep.py"
    assert code(title).count("\n") <= 60
    method = module(title).METHOD
    monkeypatch.setitem(methods.METHODS, "deep", method)
    return method


def test_a_sixth_method_is_one_file_and_one_line(deep, tmp_path, capsys):
    root = tmp_path / "root"
    path = root / "demo" / "sasrec-deep-seed0"
    config = tiny(tmp_path / "cache", method__name="deep", method__steps=2)
    summary = train.train_run(str(path), config, "configs/tiny.py", time.perf_counter())
    assert len(summary["test_by_step"]) == 3
    events = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    parts = next(event["parts"] for event in events if event["kind"] == "training")
    assert set(parts) == {"loss", "cross_entropy", "cross_entropy_of_steps"}

    again = evaluate.evaluate_run(str(path), None)
    assert again["test"] == summary["test"]

    run = rearec_jax.load(path)
    exported = rearec_jax.load(export.export_run(str(path), str(tmp_path / "exported")))
    (history, _), *_ = run.samples
    (one,) = run.recommend([history], k=5, explain=True)
    (other,) = exported.recommend([history], k=5)
    assert one.ids == other.ids and len(one.steps) == 3

    tables = json.loads((analyse.analyse_run(str(path), None) / "tables.json").read_text())
    kinds = [row["representation"] for row in tables["accuracy_by_step"]]
    assert kinds == ["step 0", "step 1", "step 2", "final"]

    results, _ = summaries.read(root)
    (comparison,) = means.compare(results, [])
    (block,) = comparison.blocks
    row = next(row for row in block.rows if row.label == deep.label)
    assert row.values[0].mean == pytest.approx(summary["test"]["ndcg@10"])


def test_what_represents_a_user_after_each_depth(deep):
    states = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3, 8)), jnp.float32)
    by_depth = deep.by_depth(states)
    np.testing.assert_allclose(by_depth[:, 0], states[:, 0], rtol=1e-6)
    expected = (states[:, 0] + 2 * states[:, 1] + 4 * states[:, 2]) / 7
    np.testing.assert_allclose(by_depth[:, 2], expected, rtol=1e-5, atol=1e-6)


def test_a_metric_is_a_function_and_a_name(monkeypatch):
    made = module("metric", **vars(metrics))
    monkeypatch.setitem(metrics.AT_CUTOFF, "precision", made.precision)
    sums = metrics.MetricSums.empty([10]).add(np.array([1, 4, 11]))
    assert list(sums.means()) == ["ndcg@10", "recall@10", "precision@10", "mrr"]
    assert sums.means()["precision@10"] == pytest.approx(2 / 3 / 10)
    assert "precision@20" in metrics.names((10, 20))


def test_a_loss_is_a_function_of_arrays():
    margin = module("rearec_jax/losses/margin.py").margin
    found = margin(jnp.array([2.0, 1.0]), jnp.array([[0.0, 0.5], [3.0, -1.0]]), 1.0)
    np.testing.assert_allclose(found, [0.0, 3.0])


def test_a_layer_is_chosen_by_name(monkeypatch):
    monkeypatch.setitem(encoder.LAYERS, "gated", module("rearec_jax/models/gated.py").GatedLayer)
    monkeypatch.setattr(checks, "LAYERS", ("transformer", "gated"))
    batch = tiny_model.pack([tiny_model.sequences([5], 9)], 6, 9)

    def states(layer, gate):
        config = tiny_model.config("rpe", model__layer=layer, model__layers=1)
        model, variables = tiny_model.build(config, 9)
        of_layer = variables["params"]["encoder"]["layers_0"]
        assert ("gate" in of_layer) == (layer == "gated")
        if layer == "gated":
            plain = tiny_model.build(tiny_model.config("rpe", model__layers=1), 9)[1]
            plain["params"]["encoder"]["layers_0"]["gate"] = np.full(8, gate, np.float32)
            variables = plain
        table = item_table(model, variables)
        return encode_and_reason(model, variables, table, batch, config.method.steps).states

    plain = states("transformer", None)
    np.testing.assert_allclose(states("gated", 0), plain, rtol=1e-5, atol=1e-6)  # 2 sigmoid(0) = 1
    assert np.abs(states("gated", -9) - plain).max() > 1e-2


def test_an_unknown_layer_is_said():
    with pytest.raises(UserError, match=r"model\.layer='transformr'.*did you mean transformer"):
        tiny_model.config("rpe", model__layer="transformr")


def test_a_source_is_a_function_and_a_name(monkeypatch, tmp_path):
    read = module("rearec_jax/data/own_files/json_events.py").read_json_events
    monkeypatch.setitem(readers.READERS, "json_events", read)
    monkeypatch.setattr(checks, "SOURCES", (*checks.SOURCES, "json_events"))
    path = tmp_path / "events.jsonl"
    lines = [
        {"user_id": user, "item_id": f"i{(user + n) % 5}", "timestamp": 100 - n}
        for user in range(6)
        for n in range(4)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    config = resolve(
        {"data": {"source": "json_events", "path": str(path), "cache_dir": str(tmp_path)}}
    )
    data = prepare(config.data)
    assert (data.num_users, data.num_items, data.num_interactions) == (6, 5, 24)
    first = data.item_ids.gather(data.items[: data.offsets[1]]).to_list()
    assert first == ["i3", "i2", "i1", "i0"]  # in the order of time
    path.write_text('{"user_id": 1}\n')
    with pytest.raises(UserError, match=r"events\.jsonl cannot be read as JSON lines"):
        prepare(config.data)
