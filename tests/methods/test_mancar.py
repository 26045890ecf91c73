"""The loss of `mancar` is the formula, and its neighbours are those of each query's last item."""

import jax.numpy as jnp
import numpy as np
import pytest

from rearec_jax.data import neighbours
from rearec_jax.errors import UserError
from rearec_jax.methods import METHODS
from rearec_jax.methods.reasoned import Blocks
from rearec_jax.training import objective
from rearec_jax.training.objective import Scoring
from rearec_jax.training.setup import make_setup
from rearec_jax.types import Reasoning
from tests import tiny

ITEMS, STEPS, TOKENS, NAMED = 11, 2, 6, 3


@pytest.fixture(scope="module")
def drawn():
    """A batch of several users, states, item vectors, and near items of each item."""
    rng = np.random.default_rng(0)
    users = tiny.sequences([2, 3, 6], ITEMS)
    batch = tiny.pack([users[:2], users[2:]], TOKENS, ITEMS, every_position=True)
    states = rng.normal(size=(*batch.queries.shape, STEPS + 1, 8))
    near = np.array([rng.permutation(ITEMS)[: NAMED + 1] for _ in range(ITEMS)])
    near[3, 1:] = ITEMS  # one item has one neighbour, and one has none
    near[4] = ITEMS
    return batch, states, rng.normal(size=(ITEMS, 8)), near


def parts_of(drawn, blocks, **changes):
    batch, states, table, near = drawn
    config = tiny.config("mancar", STEPS, method__teacher_neighbours=NAMED, **changes)
    scoring = Scoring(blocks, neighbours=jnp.asarray(near, jnp.int32))

    def loss(states, table):
        return objective.loss_of(config, Reasoning(states, None), batch, table, scoring)[1]

    return tiny.jit(loss)(*(jnp.asarray(x, jnp.float32) for x in (states, table)))


def by_hand(drawn, tau, power, width):
    """CE and KL [K + 1] of every step, the means over the queries that count."""
    batch, states, table, near = drawn
    real = np.argwhere(np.asarray(batch.weights) > 0)
    entropies, divergences = np.zeros(STEPS + 1), np.zeros(STEPS + 1)
    for b, q in real:
        last = int(batch.tokens[b, batch.queries[b, q]])
        target = int(batch.targets[b, q])
        named = [n for n in near[last] if n not in (target, ITEMS)][:NAMED]
        for k in range(STEPS + 1):
            scores = table @ states[b, q, k]

            def log_p(temperature, scores=scores):
                return scores / temperature - np.log(np.exp(scores / temperature).sum())

            entropies[k] -= log_p(tau * (k + 1) ** power)[target]
            weights = np.exp(-np.arange(len(named) + 1) / (width * (STEPS - k + 1)))
            shares = weights / weights.sum()
            divergences[k] += shares @ (np.log(shares) - log_p(tau)[[target, *named]])
    return entropies / len(real), divergences / len(real)


@pytest.mark.parametrize("blocks", [Blocks(ITEMS), Blocks(ITEMS, queries=4)])
@pytest.mark.parametrize("power", [0.0, 2.0])
def test_the_loss_is_the_formula(drawn, power, blocks):
    changes = {"temperature": 0.8, "temperature_power": power, "teacher_width": 1.5}
    given = {f"method__{name}": value for name, value in changes.items()}
    got = parts_of(drawn, blocks, method__teacher_weight=0.4, **given)
    entropies, divergences = by_hand(drawn, 0.8, power, 1.5)
    assert float(got["cross_entropy"]) == pytest.approx(entropies[-1], rel=1e-5)
    assert float(got["shallow_cross_entropy"]) == pytest.approx(entropies[:-1].sum(), rel=1e-5)
    assert float(got["teacher"]) == pytest.approx(divergences.sum(), rel=1e-4)
    want = entropies.sum() + 0.4 * divergences.sum()
    assert float(got["loss"]) == pytest.approx(want, rel=1e-5)


def test_no_teacher_where_it_weighs_nothing(drawn):
    got = parts_of(drawn, Blocks(ITEMS), method__teacher_weight=0.0)
    assert set(got) == {"loss", "cross_entropy", "shallow_cross_entropy"}
    assert METHODS["mancar"].neighbours(tiny.config("mancar").method) == 21
    off = tiny.config("mancar", method__teacher_weight=0.0, train__loss="sampled")
    assert METHODS["mancar"].neighbours(off.method) == 0


def test_training_reads_the_neighbours_of_the_data(tmp_path):
    data = tiny.interactions(tiny.sequences([6, 9, 8], ITEMS), ITEMS)
    changes = {"train__batch_size": 4, "data__cache_dir": str(tmp_path)}
    config = tiny.config("mancar", method__teacher_neighbours=2, **changes)
    found = make_setup(config, data).catalogue.neighbours
    np.testing.assert_array_equal(found, neighbours.neighbours(config, data, 3))
    assert make_setup(tiny.config("prl", **changes), data).catalogue.neighbours is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"train__loss": "sampled"}, r"method\.name=mancar.*set method\.teacher_weight to 0"),
        (
            {"train__objective": "cloze", "model__backbone": "bert4rec"},
            r"method\.name=mancar.*train\.objective=next_item",
        ),
        ({"method__graph": "pair"}, r"method\.graph='pair'.*did you mean pairs"),
        ({"method__graph_window": 0}, r"method\.graph_window=0"),
        ({"method__teacher_width": 0.0}, r"method\.teacher_width=0"),
        ({"method__teacher_neighbours": 10**12}, r"method\.teacher_neighbours"),
        ({"method__teacher_weight": float("nan")}, r"method\.teacher_weight=nan"),
    ],
)
def test_options_that_do_not_fit(changes, why):
    with pytest.raises(UserError, match=why):
        tiny.config("mancar", **changes)
