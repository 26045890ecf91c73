"""Steps that refine all tokens, and states of a fixed length, against NumPy, for every layer."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rearec_jax.models import backbones, reasoning, scan
from rearec_jax.models.encoder import LAYERS
from tests import oracle, tiny

ITEMS, TOKENS, STEPS, HEADS, CORE = 13, 7, 2, 2, 2
LENGTHS = [[3, 4], [1, 4, 2], [5], []]


@pytest.fixture(scope="module", autouse=True)
def float64():
    with tiny.float64():
        yield


@pytest.fixture(scope="module")
def rows():
    drawn = iter(tiny.sequences([n for row in LENGTHS for n in row], ITEMS))
    return [[next(drawn) for _ in row] for row in LENGTHS]


@pytest.fixture(scope="module")
def batch(rows):
    return tiny.pack(rows, TOKENS, ITEMS, every_position=True)


@functools.cache
def made(method, with_attention=False, steps=STEPS, **changes):
    """A compiled unroll with one layer before the core, and its parameters."""
    small = {"model__dtype": "float64", "model__layers": 1, "model__taps": 4}
    own = {"lares": {"method__core_layers": CORE}, "mancar": {"method__rescale": True}}
    config = tiny.config(method, STEPS, **small, **own[method], **changes)
    model, variables = tiny.build(config, ITEMS)

    def unroll(variables, batch, key=None):
        table = backbones.item_table(model, variables)
        return reasoning.encode_and_reason(
            model, variables, table, batch, steps, None, key, with_attention
        )

    return tiny.jit(unroll), variables


def refined(variables, history, kind="transformer", bidirectional=False):
    """H, T_1 .. T_K of the last item of one history: all tokens are refined, nothing is packed."""
    params = jax.tree.map(np.asarray, variables["params"])
    encoder = params["encoder"]
    causal = np.tri(len(history), dtype=bool) | bidirectional
    items = params["items"]["table"][history] + encoder["position"][: len(history)]
    encoded = oracle.encoder(items, encoder, HEADS, causal, kind)
    states, found = np.zeros_like(encoded), [encoded[-1]]
    for _ in range(STEPS):
        states = oracle.layer_norm((states + encoded) / 2, encoder["core_norm"])
        for number in range(CORE):
            layer = encoder[f"core_layers_{number}"]
            states, _ = oracle.LAYERS[kind](states, layer, HEADS, causal)
        found.append(states[-1])
    return np.stack(found)


def rescaled(variables, history, kind):
    """r_0 .. r_K, each of which gets the mean length of an item, times phi, before the next."""
    params = jax.tree.map(np.asarray, variables["params"])
    length = np.linalg.norm(params["items"]["table"], axis=1).mean()
    length *= 1 + params["encoder"]["state_scale"]

    def finish(state):
        return state / np.linalg.norm(state) * length

    return oracle.reason(variables, history, HEADS, STEPS, kind=kind, finish=finish)[0]


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize(("method", "double"), [("lares", refined), ("mancar", rescaled)])
def test_every_prefix_of_packed_users_equals_that_prefix_alone(rows, batch, method, double, kind):
    unroll, variables = made(method, model__layer=kind)
    states = np.asarray(unroll(variables, batch).states)
    assert np.isfinite(states).all()
    for b, row in enumerate(rows):
        histories = [user[: n + 1] for user in row for n in range(len(user))]
        for q, history in enumerate(histories):
            want = double(variables, history, kind)
            np.testing.assert_allclose(states[b, q], want, rtol=1e-9, atol=1e-9)
    assert abs(np.diff(states[0, 0], axis=0)).max(axis=-1).min() > 1e-3


def test_all_items_of_a_bidirectional_segment_are_refined(rows):
    unroll, variables = made("lares", model__backbone="bert4rec")
    states = unroll(variables, tiny.pack(rows, TOKENS, ITEMS)).states
    for b, row in enumerate(rows):
        for q, history in enumerate(row):
            want = refined(variables, history, bidirectional=True)
            np.testing.assert_allclose(states[b, q], want, rtol=1e-9, atol=1e-9)


def test_later_items_and_other_users_change_nothing(batch):
    unroll, variables = made("lares", model__layer="transformer")
    query = int(batch.queries[1, 2])  # the second item of the second user of row 1
    own = np.asarray(batch.segments == batch.segments[1, query]) & (np.arange(TOKENS) <= query)
    own[[0, 2, 3]] = False
    tokens = jnp.asarray(np.where(own, batch.tokens, (np.asarray(batch.tokens) + 5) % ITEMS))
    before = unroll(variables, batch).states
    after = unroll(variables, batch._replace(tokens=tokens)).states
    np.testing.assert_array_equal(after[1, 2], before[1, 2])
    assert abs(after[1, 3] - before[1, 3]).max() > 1e-3


def test_fewer_steps_are_the_first_of_many(batch):
    whole, variables = made("lares", model__layer="transformer")
    for steps in (0, 1):
        some = made("lares", steps=steps)[0](variables, batch).states
        want = whole(variables, batch).states[:, :, : steps + 1]
        np.testing.assert_allclose(some, want, rtol=1e-12, atol=1e-12)


def test_a_loop_over_steps_is_the_same_as_straight_line_code(batch, monkeypatch):
    straight, variables = made("lares", model__layer="transformer")
    monkeypatch.setattr(scan, "UNROLLED", 1)
    looped = made.__wrapped__("lares")[0]
    assert "while" in looped.lower(variables, batch).as_text()
    want = straight(variables, batch).states
    np.testing.assert_allclose(looped(variables, batch).states, want, rtol=1e-12, atol=1e-12)


def test_the_attention_of_every_step_sums_to_one(batch):
    told, variables = made("lares", with_attention=True)
    found = told(variables, batch)
    assert found.attention.shape == (*batch.queries.shape, STEPS + 1, TOKENS)
    real = np.asarray(batch.weights) > 0
    np.testing.assert_allclose(found.attention.sum(-1)[real], 1, rtol=1e-9)
    assert abs(np.diff(found.attention[real], axis=1)).max() > 1e-3  # each step has its own
    plain = made("lares", model__layer="transformer")[0](variables, batch)
    np.testing.assert_allclose(found.states, plain.states, rtol=1e-12, atol=1e-12)
    assert plain.attention is None


def test_the_first_state_is_noise_in_training_alone(batch):
    """There is no dropout here: what the key changes is T_0."""
    unroll, variables = made("lares", steps=1)
    one, other = (unroll(variables, batch, jax.random.key(n)).states for n in (1, 2))
    np.testing.assert_array_equal(one[:, :, 0], other[:, :, 0])
    assert abs(one[:, :, 1] - other[:, :, 1]).max(axis=-1).min() > 1e-3
    quiet, _ = made("lares", steps=1, method__start_noise=0.0)
    same = quiet(variables, batch, jax.random.key(1)).states
    np.testing.assert_allclose(same, unroll(variables, batch).states, rtol=1e-12, atol=1e-12)


def test_a_state_has_the_length_of_an_item_times_phi(batch):
    unroll, variables = made("mancar", model__layer="transformer")
    table = np.asarray(variables["params"]["items"]["table"])
    length = np.linalg.norm(table, axis=1).mean()
    length *= abs(1 + float(variables["params"]["encoder"]["state_scale"]))
    states = unroll(variables, batch).states
    np.testing.assert_allclose(np.linalg.norm(states, axis=-1), length, rtol=1e-9)


def test_parts_that_a_method_does_not_need_are_not_there():
    def parts(method):
        return set(tiny.build(tiny.config(method), ITEMS)[1]["params"]["encoder"])

    plain, lares, mancar = map(parts, ("prl", "lares", "mancar"))
    assert lares - plain == {"core_norm", "core_layers_0"}
    assert plain - lares == {"reasoning_position"}
    assert plain == mancar  # without method.rescale
