"""Packed rows give each user what an encoder of that user alone gives, and nothing leaks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rearec_jax.errors import UserError
from rearec_jax.models import backbones, prefixes, reasoning
from rearec_jax.models.backbones import Backbone
from rearec_jax.models.encoder import LAYERS, Encoder
from rearec_jax.models.items import ItemIds
from tests import oracle, tiny

ITEMS, TOKENS, STEPS = 13, 7, 2
# Rows of different fill: two users, three users, one user and padding, nothing at all.
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


def histories(rows):
    """(row, query, history) of every query: all prefixes of all sequences."""
    for b, row in enumerate(rows):
        histories = [user[: n + 1] for user in row for n in range(len(user))]
        yield from ((b, q, history) for q, history in enumerate(histories))


def make(causal=True, heads=2, **options):
    changes = {"model__dtype": "float64", "model__heads": heads, **options}
    config = tiny.config("rpe", STEPS, **changes)
    model = Backbone(
        ItemIds(config.model, ITEMS), Encoder(config.model, steps=STEPS, causal=causal)
    )
    variables = tiny.random_like(jax.eval_shape(model.init, jax.random.key(0)))

    def unroll(variables, table, batch):
        return reasoning.encode_and_reason(model, variables, table, batch, STEPS)

    return unroll, variables


KINDS = [(kind, relative) for kind in LAYERS for relative in (False, True)]


@pytest.fixture(scope="module", params=KINDS, ids=[f"{k}-relative" if r else k for k, r in KINDS])
def causal(request):
    kind, relative = request.param
    unroll, variables = make(model__layer=kind, model__relative_positions=relative, model__taps=4)
    return tiny.jit(unroll), variables, kind


def table_of(variables):
    return variables["params"]["items"]["table"]


def test_every_prefix_of_packed_users_equals_that_prefix_alone(rows, batch, causal):
    unroll, variables, kind = causal
    states = unroll(variables, table_of(variables), batch).states
    count = 0
    for b, q, history in histories(rows):
        expected, _ = oracle.reason(variables, history, heads=2, steps=STEPS, kind=kind)
        np.testing.assert_allclose(states[b, q], expected, rtol=1e-11, atol=1e-11)
        count += 1
    assert count == int(batch.weights.sum()) == 19
    assert np.isfinite(states).all()  # also where a query stands at padding


def test_bidirectional_encoder_sees_the_whole_segment():
    sequences = tiny.sequences([3, 4, 5], ITEMS)
    rows = [sequences[:2], sequences[2:]]
    unroll, variables = make(causal=False, heads=4)
    batch = tiny.pack(rows, TOKENS, ITEMS)
    states = tiny.jit(unroll)(variables, table_of(variables), batch).states
    for b, row in enumerate(rows):
        for q, history in enumerate(row):
            expected, _ = oracle.reason(variables, history, 4, STEPS, bidirectional=True)
            np.testing.assert_allclose(states[b, q], expected, rtol=1e-11, atol=1e-11)
    one_way, _ = oracle.reason(variables, sequences[0], 4, STEPS)
    assert abs(states[0, 0] - one_way).max() > 1e-3


@pytest.mark.parametrize("kind", LAYERS)
def test_gradient_is_zero_but_for_the_items_of_the_prefix(batch, kind):
    unroll, variables = make(model__layer=kind)
    # Each place has a vector of its own, so that the table's gradient is that of the places.
    places = np.arange(batch.tokens.size).reshape(batch.tokens.shape)
    vectors = jnp.asarray(np.random.default_rng(1).normal(size=(places.size, 8)))
    at_places = batch._replace(tokens=jnp.asarray(places))
    real = np.argwhere(np.asarray(batch.weights) > 0)
    cotangents = np.zeros((len(real), *batch.queries.shape, STEPS + 1, 8))
    for number, (b, q) in enumerate(real):
        cotangents[number, b, q] = np.random.default_rng(number).normal(size=(STEPS + 1, 8))

    def pull_back(vectors, cotangents):
        _, of_one = jax.vjp(lambda v: unroll(variables, v, at_places).states, vectors)
        return jax.vmap(of_one)(cotangents)[0]

    gradients = tiny.jit(pull_back)(vectors, jnp.asarray(cotangents))
    reached = np.abs(gradients).max(-1).reshape(len(real), *places.shape)

    for (b, q), reach in zip(real, reached, strict=True):
        query = int(batch.queries[b, q])
        own = (batch.segments[b] == batch.segments[b, query]) & (np.arange(TOKENS) <= query)
        expected = np.zeros(places.shape, bool)
        expected[b] = own
        np.testing.assert_array_equal(reach > 0, expected)  # exactly 0, not nearly
        assert reach[expected].min() > 1e-6


def test_values_at_padding_in_other_segments_and_later_change_nothing(batch, causal):
    unroll, variables, _ = causal
    before = unroll(variables, table_of(variables), batch).states
    # Query 2 of row 1 stands at the second item of the second user: places 0, 3, 4.. are others'.
    b, q = 1, 2
    query = int(batch.queries[b, q])
    own = (batch.segments == batch.segments[b, query]) & (np.arange(TOKENS)[None] <= query)
    own = np.asarray(own & (np.arange(4) == b)[:, None])
    assert own.sum() == 2
    others = (np.asarray(batch.tokens) + 5) % ITEMS
    tokens = jnp.asarray(np.where(own, batch.tokens, others))
    after = unroll(variables, table_of(variables), batch._replace(tokens=tokens)).states
    np.testing.assert_array_equal(after[b, q], before[b, q])
    assert abs(after[b, q + 1] - before[b, q + 1]).max() > 1e-3


def test_prefixes_of_a_worked_example():
    positions, segments = jnp.asarray([[[0, 1, 2, 0, 1, 0]], [[1, 1, 1, 2, 2, 0]]])
    queries = jnp.asarray([[1, 4, 3]])
    read = prefixes.of_queries(positions, segments, queries, causal=True)
    np.testing.assert_array_equal(
        read.visible[0], [[1, 1, 0, 0, 0, 0], [0, 0, 0, 1, 1, 0], [0, 0, 0, 1, 0, 0]]
    )
    of_all = prefixes.of_all_tokens(positions, segments, causal=True)
    np.testing.assert_array_equal(of_all.only(queries).visible, read.visible)
    np.testing.assert_array_equal(of_all.distance()[:, queries[0]], read.distance())
    np.testing.assert_array_equal(read.distance(2)[0, 0], [3, 2, 1, 0, -1, -2])


def test_relative_positions_are_of_causal_attention():
    with pytest.raises(UserError, match=r"model\.relative_positions.*model\.attention=causal"):
        tiny.config("rpe", model__backbone="bert4rec", model__relative_positions=True)


def test_initial_parameters():
    config = tiny.config("prl", 3, model__width=32, model__init_stddev=0.5)
    model = backbones.build(config, 200)
    variables = tiny.jit(lambda key: backbones.initialise(model, key))(jax.random.key(0))
    params = variables["params"]
    assert params["items"]["table"].shape == (200, 32)
    assert params["encoder"]["position"].shape == (6, 32)
    assert params["encoder"]["reasoning_position"].shape == (3, 32)
    assert abs(np.std(params["items"]["table"]) - 0.5) < 0.02
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name = jax.tree_util.keystr(path)
        if "bias" in name:
            assert not leaf.any(), name
        elif "scale" in name:
            assert (leaf == 1).all(), name
        else:
            assert abs(np.std(leaf) - 0.5) < 0.15, name
