"""Costs and numbers of parameters are those of the programs that train and rank."""

import dataclasses

import jax
import pytest

from rearec_jax.data.read import read_data
from rearec_jax.studies.equal import costs
from rearec_jax.training.setup import make_setup
from tests import tiny

DEMO = {"data__demo_users": 30, "data__demo_items": 60, "train__batch_size": 64}


def config(method, **changes):
    return tiny.config(method, model__layers=1, **DEMO, **changes)


def test_flops_grow_with_what_is_computed():
    chosen = [config("base"), config("erl"), config("base", train__dropout_samples=3)]
    base, erl, three = costs.costs(chosen, "flops")
    assert base.update < erl.update
    # The catalogue's vectors are gathered and not multiplied, so all of an update is made thrice.
    assert three.update == 3 * base.update
    assert three.evaluation == base.evaluation < erl.evaluation
    assert (
        base.updates == erl.updates == make_setup(chosen[0], read_data(chosen[0])).steps_per_epoch
    )
    assert base.epoch == base.update * base.updates


def test_flops_of_an_update_grow_with_the_batch_and_those_of_evaluation_do_not():
    small = config("base")
    train = dataclasses.replace(small.train, batch_size=4 * small.train.batch_size)
    one, four = costs.costs([small, dataclasses.replace(small, train=train)], "flops")
    assert four.update > 3 * one.update and four.updates < one.updates
    assert four.evaluation == one.evaluation


def test_seconds_take_turns(monkeypatch):
    order = []
    monkeypatch.setattr(costs, "TURNS", 3)
    monkeypatch.setattr(costs._Trainee, "evaluation", lambda _: 0.5)

    def turn(self):
        order.append(self.setup.config.method.name)
        return float(len(order))

    monkeypatch.setattr(costs._Trainee, "turn", turn)
    base, erl = costs.costs([config("base"), config("erl")], "seconds")
    assert order == ["base", "erl"] * 4
    assert (base.update, erl.update) == (3.0, 4.0)  # the fastest turns, but the first: it compiles
    assert base.evaluation == 0.5


def test_seconds_are_those_of_updates(monkeypatch):
    monkeypatch.setattr(costs, "TURNS", 1)
    (found,) = costs.costs([config("base")], "seconds")
    assert 0 < found.update < 5 and found.evaluation > 0


@pytest.mark.parametrize("method", ["base", "rpe"])
@pytest.mark.parametrize("backbone", ["sasrec", "morec"])
def test_parameters_are_those_of_the_model(method, backbone):
    chosen = config(method, model__backbone=backbone, text__width=5)
    variables = tiny.build(chosen, 9)[1]
    expected = sum(leaf.size for leaf in jax.tree.leaves(variables))
    assert costs.parameters(chosen, 9) == expected
