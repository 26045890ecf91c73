"""Packed rows, and the items that must not be listed for each user of a batch."""

import numpy as np
import pytest

from rearec_jax.recommend import rows
from rearec_jax.recommend.histories import Histories

NOTHING = 99


@pytest.mark.parametrize("length", [1, 8, 9, 50, 70])
def test_a_single_user_is_packed_as_a_user_among_others(length):
    items = np.arange(100, 100 + length, dtype=np.int32)
    (alone,) = rows.batches(Histories(items, np.array([0, 0, length]), ()), 50, 128, None)
    assert alone.tokens.shape[1] >= min(length, 50)
    others = Histories(np.tile(items, 2), np.array([0, 0, length, 2 * length]), ())
    packed = next(rows.batches(others, 50, 128, None))
    row, query = np.argwhere(packed.users == 1)[0]
    of_user = packed.segments[row] == packed.segments[row, packed.queries[row, query]]
    for name in ("tokens", "positions"):
        own = getattr(alone, name)[alone.segments == 1]
        assert np.array_equal(own, getattr(packed, name)[row, of_user]), name
    asked = packed.positions[row, packed.queries[row, query]]
    assert (alone.queries, alone.users) == (asked, 1)
    assert all(part.dtype == np.int32 for part in alone)


@pytest.mark.parametrize("long", [0, 3, 100])
def test_excluded_are_the_seen_and_the_given(long, monkeypatch):
    monkeypatch.setattr(rows, "LONG", long)
    rng = np.random.default_rng(0)
    seen = [rng.integers(0, 20, n).astype(np.int32) for n in (4, 0, 50, 3)]
    offsets = np.cumsum([0, *map(len, seen)])
    histories = Histories(np.concatenate(seen), offsets, ())
    users = np.array([2, -1, 0, 1, 3], np.int32)
    out = rows.excluded_items(users, histories, True, np.array([30, 31], np.int32), NOTHING)
    for user, row in zip(users, out, strict=True):
        had = set() if user < 0 else set(seen[user].tolist())
        assert set(row.tolist()) - {NOTHING} == had | {30, 31}


def test_one_long_history_does_not_widen_all_rows():
    items = np.arange(100_000, dtype=np.int32) % 12
    histories = Histories(items, np.array([0, len(items)]), ())
    out = rows.excluded_items(
        np.zeros(3, np.int32), histories, True, np.zeros(0, np.int32), NOTHING
    )
    assert out.shape == (3, 16)
