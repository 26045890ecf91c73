"""Ranks and best items in blocks equal a sort of all scores."""

from hypothesis import given, settings
from hypothesis import strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rearec_jax.devices.mesh import make_devices
from rearec_jax.evaluation import ranking
from rearec_jax.evaluation.ranking import Examples
from rearec_jax.ops import scores as ops
from tests import tiny

USERS, STEPS, WIDTH, ITEMS, SEEN = 7, 3, 4, 23, 5
MESHES = ((1, 1), (2, 4), (1, 8))


def in_blocks_of_items(examples, table, size):
    return 1 + ranking._in_blocks_of_items(examples, whole(table), size)


def in_blocks_of_users(examples, table, users):
    return 1 + ranking._in_blocks_of_users(examples, whole(table), users)


def whole(table):
    return ranking._Slice(table, 0, len(table), lambda x: x)


def draw(seed=0, grid=False):
    """Examples and a table; on a grid of small whole numbers there are many ties."""
    rng = np.random.default_rng(seed)
    make = (lambda shape: rng.integers(-1, 2, shape)) if grid else (lambda s: rng.normal(size=s))
    vectors, table = make((USERS, STEPS, WIDTH)), make((ITEMS, WIDTH))
    targets = rng.integers(0, ITEMS, USERS)
    seen = rng.integers(0, ITEMS + 1, (USERS, SEEN))
    seen[seen == targets[:, None]] = ITEMS
    examples = Examples(
        jnp.asarray(vectors, "float32"), jnp.asarray(targets, "int32"), jnp.asarray(seen, "int32")
    )
    return examples, jnp.asarray(table, "float32")


def brute_force(examples, table):
    vectors, targets, seen = examples
    ranks = np.zeros((USERS, STEPS), int)
    for u in range(USERS):
        others = sorted(set(range(ITEMS)) - {int(targets[u])} - set(np.asarray(seen[u]).tolist()))
        scores = np.asarray(vectors[u] @ table.T)
        ranks[u] = 1 + (scores[:, others] >= scores[:, [int(targets[u])]]).sum(axis=1)
    return ranks


@pytest.mark.parametrize("grid", [False, True])
@pytest.mark.parametrize("block", [1, 4, ITEMS, 2 * ITEMS])
def test_blocks_of_items_and_of_users(block, grid):
    inputs = draw(grid=grid)
    want = brute_force(*inputs)
    got = in_blocks_of_items(*inputs, block)
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(in_blocks_of_users(*inputs, min(block, USERS)), want)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_both_ways_find_the_same_ties(dtype):
    """Products that cancel, in types that round them: a constant score earns nothing."""
    rng = np.random.default_rng(0)
    vectors = jnp.asarray(rng.normal(size=(USERS, STEPS, 64)), dtype)
    targets, seen = jnp.arange(USERS, dtype="int32"), jnp.full((USERS, 1), ITEMS, "int32")
    table = rng.normal(size=(ITEMS, 64))
    for rows in (np.broadcast_to(table[0], table.shape), table, table[np.arange(ITEMS) // 4]):
        inputs = Examples(vectors, targets, seen), jnp.asarray(rows, "float32")
        with jax.numpy_dtype_promotion("standard"):  # bfloat16 with the float32 table
            got = in_blocks_of_items(*inputs, 5)
            np.testing.assert_array_equal(got, in_blocks_of_users(*inputs, USERS))
        if rows.strides[0] == 0:
            assert (np.asarray(got) == ITEMS).all()


@pytest.mark.parametrize("mib", [0, 1])
def test_either_way_by_the_memory_given(mib, monkeypatch):
    chosen = []
    for name in ("_in_blocks_of_items", "_in_blocks_of_users"):
        original = getattr(ranking, name)
        monkeypatch.setattr(
            ranking,
            name,
            lambda *a, original=original, name=name: chosen.append(name) or original(*a),
        )
    inputs = draw()
    np.testing.assert_array_equal(ranking.target_ranks(*inputs, mib), brute_force(*inputs))
    assert chosen == ["_in_blocks_of_users" if mib else "_in_blocks_of_items"]


class TestRoundedProducts:
    """Accelerators round the factors of a float32 product, to bfloat16 or TF32, and of no sum."""

    @pytest.fixture(params=["bfloat16", "tf32"])
    def rounded(self, request, monkeypatch):
        """Rounds the factors of the scores alone; returns the function that rounds an array."""

        def by(array):
            if request.param == "bfloat16":
                return array.astype(jnp.bfloat16).astype(array.dtype)
            bits = jax.lax.bitcast_convert_type(array, jnp.uint32)
            bits = (bits + jnp.uint32(0x1000)) & jnp.uint32(0xFFFFE000)  # 10 of 23 bits
            return jax.lax.bitcast_convert_type(bits, jnp.float32)

        original = ops.product
        monkeypatch.setattr(ops, "product", lambda a, b, dtype: original(by(a), by(b), dtype))
        return lambda array: np.asarray(by(jnp.asarray(array, "float32")), np.float64)

    @staticmethod
    def ranked(examples, table, mesh, mib):
        devices = make_devices(*mesh)
        return np.asarray(
            tiny.jit(lambda e, t: ranking.target_ranks(e, t, mib, devices))(examples, table)
        )

    @staticmethod
    def oracle(round_, examples, table):
        """Ranks in exact arithmetic, but of rounded factors."""
        vectors, targets, seen = map(np.asarray, examples)
        found = np.einsum("msd,nd->msn", round_(vectors), round_(table))
        counted = np.arange(len(table)) != targets[:, None]
        for row, items in zip(counted, seen, strict=True):
            row[items[items < len(table)]] = False
        own = np.take_along_axis(found, targets[:, None, None], axis=2)
        return 1 + ((found >= own) & counted[:, None]).sum(axis=2)

    @pytest.mark.parametrize("mesh", MESHES)
    @pytest.mark.parametrize("mib", [0, 1])
    @pytest.mark.parametrize("kind", ["constant", "equal in fours", "nearly equal"])
    def test_ties_give_the_worst_rank(self, rounded, mesh, mib, kind):
        (vectors, targets, seen), table = draw()
        if kind == "nearly equal":  # small whole numbers: every sum is exact, in any order
            rng = np.random.default_rng(1)
            vectors = jnp.asarray(rng.integers(-4, 5, vectors.shape), "float32")
            table = jnp.asarray(1.5 + rng.integers(-8, 9, table.shape) / 2**12, "float32")
            assert len(np.unique(table)) > len(np.unique(rounded(table)))
        else:
            rows = 0 * np.arange(ITEMS) if kind == "constant" else np.arange(ITEMS) // 4
            table = table[rows]
        examples = Examples(vectors, targets, seen)
        got = self.ranked(examples, table, mesh, mib)
        np.testing.assert_array_equal(got, self.oracle(rounded, examples, table))

    @pytest.mark.parametrize("size", [1, 5, USERS, ITEMS, ITEMS + USERS, 100])
    def test_whatever_the_size_of_a_block(self, rounded, size):
        examples, table = draw()
        got = in_blocks_of_items(examples, table[np.arange(ITEMS) // 3], size)
        want = self.oracle(rounded, examples, table[np.arange(ITEMS) // 3])
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("width", [1, 8, 50, 64, 100])
@pytest.mark.parametrize("size", [7, 777, 5000])
def test_equal_items_tie_in_every_place_of_a_block(width, size):
    """Whichever part of a product's code computes their scores."""
    rng = np.random.default_rng(width)
    users, items = 40, 3001
    examples = Examples(
        jnp.asarray(rng.normal(size=(users, 2, width)), "float32"),
        jnp.asarray(rng.integers(0, items, users), "int32"),
        jnp.full((users, 0), items),
    )
    table = jnp.asarray(np.tile(rng.normal(size=width), (items, 1)), "float32")
    rank = jax.jit(in_blocks_of_items, static_argnums=2)
    assert (np.asarray(rank(examples, table, size)) == items).all()
    rank = jax.jit(in_blocks_of_users, static_argnums=2)
    assert (np.asarray(rank(examples, table, min(size, users))) == items).all()


def test_not_a_number_counts_against_us():
    (vectors, targets, seen), table = draw()
    nothing_seen = jnp.full_like(seen, ITEMS)
    table = table.at[4].set(jnp.nan)
    targets = targets.at[0].set(4).at[1].set(3)
    ranks = in_blocks_of_items(Examples(vectors, targets, nothing_seen), table, 5)
    assert (np.asarray(ranks[0]) == ITEMS).all()
    assert (np.asarray(ranks[1]) >= 2).all()


@given(k=st.integers(1, 30), block=st.integers(1, 30), grid=st.booleans(), seed=st.integers(0, 9))
@settings(max_examples=12, deadline=None, derandomize=True)
def test_top_k_is_the_head_of_a_stable_sort(k, block, grid, seed):
    (vectors, _, excluded), table = draw(seed, grid)
    best = ranking.top_k(vectors[:, 0], table, excluded, k, block)
    for u in range(USERS):
        scores = np.asarray(vectors[u, 0] @ table.T)
        allowed = [i for i in range(ITEMS) if i not in set(np.asarray(excluded[u]).tolist())]
        order = sorted(allowed, key=lambda i: (-scores[i], i))[:k]
        filled = len(order)
        if grid:
            np.testing.assert_array_equal(best.items[u, :filled], order)
        np.testing.assert_allclose(best.scores[u, :filled], scores[order], rtol=1e-5, atol=1e-6)
        assert (np.asarray(best.items[u, filled:]) == ITEMS).all()
        assert np.isneginf(best.scores[u, filled:]).all()
