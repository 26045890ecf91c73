"""Packing: every batch has a shape of the list, and every history is in it once."""

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from rearec_jax.serve.shapes import Packing, Shape, filled, shapes


def test_beauty():
    alone = [Shape(1, 16, 1), Shape(1, 50, 1)]
    assert shapes(50, 128) == (*alone, *(Shape(n, 50, 4) for n in (1, 2, 4, 8, 16, 32)))


@pytest.mark.parametrize("max_length", [1, 6, 20, 50, 200])
@pytest.mark.parametrize("users", [1, 3, 128])
def test_shapes_hold_so_many_users(max_length, users):
    found = shapes(max_length, users)
    assert len(set(found)) == len(found) and found[0].queries == found[0].rows == 1
    assert found[-1].rows * found[-1].queries >= users > (found[-1].rows // 2) * found[-1].queries


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 24), min_size=1, max_size=40), st.sampled_from([1, 5, 24]))
def test_each_history_is_in_the_batch_once(lengths, users):
    known = shapes(24, users)
    packing = Packing(known)
    taken = [packing.add(length) for length in lengths]
    assert taken[0]
    histories = [np.arange(n, dtype=np.int32) for n, ok in zip(lengths, taken, strict=True) if ok]
    rows = filled(packing, histories)
    assert Shape(*rows.tokens.shape, rows.queries.shape[1]) in known
    assert sorted(rows.users[rows.users >= 0]) == list(range(len(histories)))
    for b, q in np.argwhere(rows.users >= 0):
        own = rows.segments[b] == q + 1
        history = histories[rows.users[b, q]]
        assert (rows.tokens[b, own] == history).all() and (rows.positions[b, own] == history).all()
        assert rows.queries[b, q] == np.flatnonzero(own)[-1]
    assert (rows.segments > 0).sum() == sum(map(len, histories))
