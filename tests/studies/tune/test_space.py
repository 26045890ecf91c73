"""What is searched: defaults, mistakes, and an order that covers the space."""

from collections import Counter

import pytest

from rearec_jax import config as config_lib
from rearec_jax.config import command_line
from rearec_jax.errors import UserError
from rearec_jax.methods import METHODS
from rearec_jax.studies.tune.space import candidates, default_space, group_of, read_space
from tests.processes import ROOT

DEMO = str(ROOT / "configs/demo.py")

# ml_collections loads config files in a way that Python 3.15 will not know.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module")


def found(*pairs, given=(), seed=0):
    arguments = [f"--config={DEMO}", *given]
    options = command_line.load(arguments)
    space = read_space(pairs, arguments, config_lib.resolve(options))
    return candidates(space, options, arguments, seed)


def test_the_first_is_the_configuration_as_given_and_each_comes_once():
    made = found("method.kl_weight=0,0.01,0.1", "train.learning_rate=0.002,0.001")
    assert made[0].values == () and made[0].label == "as given"
    # The demo's own values are among them: that combination is candidate 0.
    assert len(made) == len({c.config for c in made}) == 6
    assert [c.number for c in made] == list(range(6))
    assert {c.config.method.kl_weight for c in made} == {0.0, 0.01, 0.1}
    assert all(config_lib.resolve(c.options) == c.config for c in made)


def test_any_beginning_covers_the_space():
    pairs = ("method.kl_weight=0.1,0.2,0.3,0.4", "model.dropout=0.1,0.2,0.3,0.4")
    made = found(*pairs)
    assert len(made) == 17
    for name in ("method.kl_weight", "model.dropout"):
        counts = Counter(dict(c.values)[name] for c in made[1:9])
        assert len(counts) == 4 and max(counts.values()) <= 3
    assert [c.values for c in made] == [c.values for c in found(*pairs)]
    assert [c.values for c in made] != [c.values for c in found(*pairs, seed=1)]


def test_a_method_differs_only_in_what_it_reads():
    made = found("method.name=base,erl", "method.kl_weight=0.1,0.2")
    labels = {c.label for c in made[1:]}
    assert labels == {
        "method.name=base",
        "method.kl_weight=0.1 method.name=erl",
        "method.kl_weight=0.2 method.name=erl",
    }


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("backbone", ["sasrec", "unisrec"])
def test_every_default_space_is_valid(method, backbone):
    options = config_lib.default()
    options.method.name, options.model.backbone = method, backbone
    space = default_space(config_lib.resolve(options))
    assert ("method.kl_weight" in space) == (method in ("erl", "plr"))
    assert ("method.temperature_decay" in space) == (method in ("prl", "router"))
    for name, values in space.items():
        section, key = name.split(".")
        for value in values:
            changed = options.copy_and_resolve_references().unlock()
            changed[section][key] = type(changed[section][key])(value)
            config_lib.resolve(changed)


def test_what_the_command_line_sets_is_not_searched():
    made = found(given=["--config.model.width=16", "--config.model.dropout=0.1"])
    assert all({"model.width", "model.dropout"}.isdisjoint(dict(c.values)) for c in made)
    assert len(made) > 10


def test_a_group_differs_in_numbers_alone():
    made = found("method.kl_weight=0,0.01,0.1", "train.learning_rate=0.001,0.01")
    groups = {group_of(c.config): c for c in made}
    assert len(groups) == 2  # with and without the KL term
    assert len({group_of(c.config) for c in found("model.dropout=0.1,0.2,0.5")}) == 3


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        (["method.kl_weigth=0,1"], "did you mean config.method.kl_weight"),
        (["method.kl_weight"], "must have the form --space=method.steps=1,2,3"),
        (["model.dropout=0.5,1.5"], r"model\.dropout=1\.5 must be at least 0 and below 1"),
        (["model.width=a"], "model.width must be int"),
        (["model.width=7"], "multiple of model.heads"),
        (["seed=0,1"], "luck"),
        (["train.epochs=3,9"], "the budget"),
        (["data.core=0,5"], "same data"),
        (["method.temperature_decay=1,2"], "method.name=erl does not read it.*method.name=prl"),
        (["method.kl_weight=0", "method.kl_weight=1"], "set twice"),
    ],
)
def test_mistakes_are_said_before_anything_runs(pairs, words):
    with pytest.raises(UserError, match=words):
        found(*pairs)


def test_set_in_two_places():
    with pytest.raises(UserError, match="set twice"):
        found("method.kl_weight=0,1", given=["--config.method.kl_weight=0.1"])


def test_lambda_is_nothing_for_base():
    with pytest.raises(UserError, match=r"method\.name=base does not read it.*method\.name=erl"):
        found("method.kl_weight=0,1", given=["--config.method.name=base"])
