"""The losses of `plr`, `recrec` and `router` are their formulas; gradients end where they say."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from rearec_jax.methods import recrec, router
from rearec_jax.methods.reasoned import Blocks
from rearec_jax.training import objective
from rearec_jax.training.objective import Scoring
from rearec_jax.types import Batch, Catalogue, Reasoning
from tests import tiny
from tests.training.test_objective import objective_of

ITEMS, STEPS, WIDTH, STREAMS = 11, 2, 8, 3
TARGETS = np.array([[0, 10, 3, 5]])
USERS = np.array([[0, 1, 2, -1]])
WEIGHTS = np.array([[1.0, 1.0, 1.0, 0.0]])


@pytest.fixture(scope="module", autouse=True)
def float64():
    with tiny.float64():
        yield


@pytest.fixture
def drawn():
    rng = np.random.default_rng(0)
    return {
        "states": rng.normal(size=(1, 4, STEPS + 1, WIDTH)),
        "noisy": rng.normal(size=(1, 4, STEPS, WIDTH)),
        "carried": rng.normal(size=(STEPS, 1, STREAMS, 4, WIDTH)),
        "table": rng.normal(size=(ITEMS, WIDTH)),
        "trust": rng.normal(size=(STEPS + 1, WIDTH)),
        "trust_bias": rng.normal(size=STEPS + 1),
    }


def parts_of(drawn, method, **changes):
    config = tiny.config(method, STEPS, model__dtype="float64", **changes)
    zeros = jnp.zeros((1, 4), int)
    batch = Batch(zeros, zeros, zeros, zeros, *map(jnp.asarray, (TARGETS, WEIGHTS, USERS)))

    def parts(states, noisy, carried, table, **weights):
        reasoning = Reasoning(states, noisy, weights=weights, carried=carried)
        return objective.loss_of(config, reasoning, batch, table, Scoring(Blocks(ITEMS)))[1]

    return jax.jit(parts)(**drawn)  # a gradient may be taken of it


def cross_entropies(states, table):
    log_p = log_softmax(states @ table.T, axis=-1)
    return -np.take_along_axis(log_p[0], TARGETS[0][:, None], axis=-1)[:, 0]


def test_plr_trains_the_mean_of_the_steps_and_repels_every_pair_of_streams(drawn):
    drawn["noisy"] = None
    parts = parts_of(drawn, "plr", method__kl_weight=0.3, method__streams=STREAMS)
    z = drawn["states"][:, :, 1:].mean(axis=2)
    cross_entropy = cross_entropies(z, drawn["table"])[:3].mean()
    log_p = log_softmax(drawn["carried"][:, 0] @ drawn["table"].T, axis=-1)
    every = log_p.reshape(-1, 4, ITEMS)
    pairs = [(np.exp(p) * (p - q)).sum(-1)[:3] for p, q in itertools.permutations(every, 2)]
    assert len(pairs) == STREAMS * STEPS * (STREAMS * STEPS - 1)
    assert float(parts["cross_entropy"]) == pytest.approx(cross_entropy)
    assert float(parts["kl_diversity"]) == pytest.approx(np.mean(pairs))
    assert float(parts["loss"]) == pytest.approx(cross_entropy - 0.3 * np.mean(pairs))


def test_plr_contrasts_the_mean_with_that_of_the_other_dropout(drawn):
    parts = parts_of(drawn, "plr", method__kl_weight=0.0, method__dropout_contrast=0.5)
    clean, other = drawn["states"][0, :3, 1:].mean(axis=1), drawn["noisy"][0, :3].mean(axis=1)
    contrastive = -np.diag(log_softmax(other @ clean.T, axis=-1)).mean()
    assert float(parts["contrastive"]) == pytest.approx(contrastive)
    loss = float(parts["cross_entropy"]) + 0.5 * contrastive
    assert float(parts["loss"]) == pytest.approx(loss)


def test_recrec_supervises_every_step_alike(drawn):
    parts = parts_of(drawn, "recrec")
    by_step = [
        cross_entropies(drawn["states"][:, :, k], drawn["table"])[:3].mean()
        for k in range(STEPS + 1)
    ]
    assert float(parts["loss"]) == pytest.approx(np.mean(by_step))
    assert float(parts["cross_entropy"]) == pytest.approx(by_step[-1])


def test_recrec_has_no_gradient_from_one_step_to_the_next():
    rng = np.random.default_rng(0)
    shapes = recrec.weights(tiny.config("recrec").method, WIDTH)
    weights = {name: jnp.asarray(rng.normal(size=shape)) for name, shape in shapes.items()}

    def last(carried, scale):
        m, s = recrec.step(lambda x: jnp.tanh(scale * x), carried, weights)
        return (m + s).sum()

    carried = tuple(jnp.asarray(rng.normal(size=(1, 1, 2, WIDTH))) for _ in range(2))
    of_carried, of_encoder = jax.grad(last, argnums=(0, 1))(carried, 0.5)
    assert all(not leaf.any() for leaf in of_carried)
    assert of_encoder != 0


class TestRouter:
    HELD = np.array([True, False, True, False])

    @pytest.fixture(autouse=True)
    def held(self, monkeypatch):
        monkeypatch.setattr(router, "held_out", lambda users, share: jnp.asarray(self.HELD))

    def test_the_gate_learns_from_the_held_out_users_and_the_steps_from_the_others(self, drawn):
        parts = parts_of(drawn, "router", method__contrastive_weight=0.0)
        states, table = drawn["states"], drawn["table"]
        trust = (states * drawn["trust"]).sum(-1) + drawn["trust_bias"]
        mixed = (softmax(trust, axis=-1)[..., None] * states).sum(axis=2)
        routed = cross_entropies(mixed, table)[[0, 2]].mean()
        by_step = [cross_entropies(states[:, :, k], table)[1] for k in range(STEPS + 1)]
        assert float(parts["routed_cross_entropy"]) == pytest.approx(routed)
        assert float(parts["cross_entropy"]) == pytest.approx(by_step[-1])
        assert float(parts["loss"]) == pytest.approx(routed + by_step[-1] + np.mean(by_step[:-1]))

    def test_no_gradient_of_the_mix_reaches_the_states(self, drawn):
        def routed(states, trust):
            with_them = drawn | {"states": states, "trust": trust}
            return parts_of(with_them, "router")["routed_cross_entropy"]

        of_states, of_trust = jax.grad(routed, argnums=(0, 1))(drawn["states"], drawn["trust"])
        assert not of_states.any()
        assert abs(of_trust).min() > 0


def test_the_held_out_users_are_a_share_of_all_and_never_change():
    users = jnp.arange(100_000)
    held = np.asarray(router.held_out(users, 0.05))
    assert held.mean() == pytest.approx(0.05, abs=0.002)
    assert (held <= np.asarray(router.held_out(users, 0.1))).all()
    assert np.asarray(router.held_out(users[7:9], 0.05)).tolist() == held[7:9].tolist()


@pytest.mark.parametrize(("weight", "there"), [(0.5, True), (0.0, False)])
def test_the_second_dropout_is_drawn_only_where_it_weighs(weight, there):
    config = tiny.config(
        "plr", STEPS, model__layers=1, model__dropout=0.3, method__dropout_contrast=weight
    )
    batch = tiny.pack([tiny.sequences([4], ITEMS)], 4, ITEMS, every_position=True)
    function, variables = objective_of(config, batch)
    given = variables, batch, Catalogue(), jax.random.key(0)
    _, parts = jax.eval_shape(function, *given)
    assert ("contrastive" in parts) == there
