"""Data and models of unusual shape: results, memory and time are what they should be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rearec_jax.config import AnalysisConfig
from rearec_jax.data.interactions import TEST
from rearec_jax.data.prepare import prepare
from rearec_jax.devices.mesh import make_devices
from rearec_jax.evaluation import evaluator, ranking
from rearec_jax.evaluation.ranking import Examples
from rearec_jax.ops import scores
from rearec_jax.studies.analysis import comparable_runs, comparison_table, paired_tests
from rearec_jax.training.setup import make_setup
from tests import tiny
from tests.faults import tiny_run
from tests.studies.analysis import made


@pytest.mark.parametrize("mesh", [(1, 1), (2, 4)])
@pytest.mark.parametrize("score_mib", [0, 1])
def test_model_that_scores_all_items_alike(mesh, score_mib, monkeypatch):
    """Also where products of float32 are rounded to bfloat16, as TPUs do."""
    original, items = scores.product, 23

    def rounding(a, b, dtype):
        a, b = (x.astype(jnp.bfloat16).astype(x.dtype) for x in (a, b))
        return original(a, b, dtype)

    monkeypatch.setattr(scores, "product", rounding)
    rng = np.random.default_rng(0)
    vectors = jnp.asarray(rng.normal(size=(9, 2, 16)), "float32")
    table = jnp.asarray(np.tile(rng.normal(size=16), (items, 1)), "float32")
    examples = Examples(vectors, jnp.arange(9), jnp.full((9, 0), items))
    rank = jax.jit(lambda e, t: ranking.target_ranks(e, t, score_mib, make_devices(*mesh)))
    assert (np.asarray(rank(examples, table)) == items).all()


def test_user_with_a_very_long_history():
    """Without the items seen, that user alone makes a batch wide; of items each counts once."""
    items = 1500
    data = tiny.interactions(tiny.sequences([5] * 40 + [9000] + [6] * 40, items), items)
    model, _ = tiny.build(tiny.config("base", model__layers=1), items)
    config = tiny.config("base", eval__exclude_seen=True, eval__batch_size=8, model__layers=1)
    evaluate = evaluator.make_evaluator(model, config, data, TEST)
    widths = sorted(seen.shape[2] for _, _, seen in evaluate.inputs())
    assert len(widths) > 4 and widths[-2] <= 256 < widths[-1] <= items


def test_batch_larger_than_the_data(tmp_path, capsys):
    config = tiny_run.tiny(train__batch_size=10**6, train__epochs=1)
    tiny_run.run(tmp_path, config)
    said = [line for line in capsys.readouterr().out.splitlines() if "1,000,000" in line]
    assert len(said) == 1 and "train.batch_size" in said[0]
    data = prepare(config.data)
    large = make_setup(config, data).batches
    assert large.steps_per_epoch == 1
    fits = round(large.rows_per_batch * large.targets_per_epoch / large.plan.rows)
    just = make_setup(tiny_run.tiny(train__batch_size=fits), data).batches
    jax.tree.map(np.testing.assert_array_equal, large.batch(0, 0), just.batch(0, 0))


def test_comparison_of_one_user(tmp_path):
    runs = [
        made.write_run(tmp_path / name, {"method.name": name}, np.array([rank]))
        for name, rank in (("base", 3), ("erl", 1))
    ]
    groups = comparable_runs.group(comparable_runs.read(runs))
    found = paired_tests.compare(groups, AnalysisConfig(resamples=99))
    assert {each.bootstrap.p for each in found.differences} == {None}
    assert "the bootstrap has no p" in comparison_table.markdown(found, False)
