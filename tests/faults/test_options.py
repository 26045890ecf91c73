"""Options that are wrong: one sentence that names the option, before anything is read."""

from typing import Any

import pytest

from rearec_jax import config as config_lib
from rearec_jax.errors import UserError
from tests.faults.tiny_run import run, tiny


def refused(options: dict[str, Any]) -> str:
    with pytest.raises(UserError) as caught:
        config_lib.resolve(options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("options", "nearest"),
    [
        ({"model": {"widht": 3}}, "did you mean config.model.width?"),
        ({"method": {"stesp": 3}}, "did you mean config.method.steps?"),
        ({"trian": {"epochs": 3}}, "did you mean config.train?"),
        ({"method": {"kl_wieght": 0.1}}, "did you mean config.method.kl_weight?"),
    ],
)
def test_unknown_option(options, nearest):
    said = refused(options)
    assert "unknown option config." in said
    assert nearest in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model": {"width": "64"}}, "model.width must be int, got '64' (str)"),
        ({"model": {"width": 64.0}}, "model.width must be int, got 64.0 (float)"),
        ({"model": {"width": True}}, "model.width must be int, got True (bool)"),
        ({"train": {"learning_rate": "fast"}}, "train.learning_rate must be float"),
        ({"train": {"lazy_adam": 1}}, "train.lazy_adam must be bool"),
        ({"eval": {"cutoffs": [10, "20"]}}, "eval.cutoffs must be int, got '20'"),
        ({"model": 3}, "config.model is a group of options"),
        ({"model": {"backbone": "sasrek"}}, "did you mean sasrec?"),
        ({"seed": None}, "config.seed must be int, got None"),
    ],
)
def test_wrong_type_or_name_of_a_value(options, said):
    assert said in refused(options)


def test_seeds_that_are_none():
    for options in ({"seed": -1}, {"data": {"demo_seed": -1}}, {"analysis": {"seed": -1}}):
        assert "seed=-1 must not be negative" in refused(options)
    said = "seed=9223372036854775808 must not be negative, and be below 2^63"
    assert said in refused({"seed": 2**63})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"data": {"split": "given"}}, "data.split=given"),
        ({"data": {"rating_filter": "targets"}}, "data.rating_filter=targets"),
        ({"data": {"known_items_only": True}}, "data.known_items_only"),
        ({"eval": {"max_users": 9}}, "eval.max_users"),
    ],
)
def test_ties_that_other_options_decide(options, said):
    for ties in ("file", "untied"):
        config_lib.resolve(options | {"data": {"ties": ties, **options.get("data", {})}})
    refusal = refused(options | {"data": {"ties": "expected", **options.get("data", {})}})
    assert f"does not go with {said};" in refusal and "data.ties=untied" in refusal
    assert "did you mean untied?" in refused({"data": {"ties": "untid"}})


def test_times_beside_a_source_that_has_them():
    said = refused({"data": {"source": "table", "times_path": "times.txt"}})
    assert "data.times_path=times.txt belongs to data.source=sequences" in said


@pytest.mark.parametrize("method", ["naive", "rpe", "erl", "prl"])
def test_no_reasoning_steps_for_a_method_that_reasons(method):
    said = refused({"method": {"name": method, "steps": 0}})
    assert f"method.name={method} needs method.steps of at least 1, got 0" in said
    assert config_lib.resolve({"method": {"name": "base", "steps": 0}}).method.steps == 0


def test_more_steps_at_inference_than_trained():
    said = refused({"method": {"name": "prl", "steps": 2}, "eval": {"steps": 3}})
    assert "eval.steps=3 must lie between 0 and the trained method.steps=2" in said


@pytest.mark.parametrize("temperature", [-1.0, -1e-9, float("inf"), float("nan")])
def test_temperature_that_is_not_positive(temperature):
    said = refused({"method": {"temperature": temperature}})
    assert f"method.temperature={temperature} must be a positive number" in said


def test_numbers_that_are_no_numbers():
    """NaN is neither below nor above any bound."""
    for section, name in [
        ("train", "learning_rate"),
        ("train", "clip_norm"),
        ("train", "weight_decay"),
        ("train", "logits_gib"),
        ("model", "dropout"),
        ("model", "init_stddev"),
        ("method", "noise"),
        ("method", "temperature_decay"),
        ("method", "contrastive_weight"),
        ("method", "kl_weight"),
        ("data", "rating_above"),
    ]:
        assert name in refused({section: {name: float("nan")}})


def test_more_model_shards_than_items(tmp_path):
    """And more than devices. Nothing of such a run stays."""
    path = tmp_path / "nine.txt"
    path.write_text(
        "".join(f"u{u} " + " ".join(f"i{(u + n) % 9}" for n in range(5)) + "\n" for u in range(9))
    )
    data = {"data__source": "sequences", "data__path": str(path), "data__cache_dir": str(tmp_path)}
    with pytest.raises(UserError, match=r"mesh\.model=8 leaves devices without any of the 9 items"):
        run(tmp_path / "run", tiny(**data, mesh__data=-1, mesh__model=8))
    with pytest.raises(UserError, match=r"mesh\.model=16 does not divide the 8 devices"):
        run(tmp_path / "run", tiny(**data, mesh__data=-1, mesh__model=16))
    assert not (tmp_path / "run").exists()


def test_warm_up_as_long_as_the_run(tmp_path):
    config = tiny(train__schedule="cosine", train__warmup_steps=2, train__max_steps=2)
    with pytest.raises(UserError, match=r"warmup_steps=2 leaves nothing of the run's 2 updates"):
        run(tmp_path / "run", config)


def test_heads_that_do_not_divide_the_width():
    with pytest.raises(UserError, match=r"model\.width=8 must be a multiple of model\.heads=3"):
        tiny(model__heads=3)
