"""Raw ids as 0, 1, ... and back."""

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import polars as pl

from rearec_jax.data.raw_ids import encode


@given(
    raw=st.lists(
        st.one_of(st.text(max_size=5), st.integers(-50, 50).map(str)), min_size=1, max_size=20
    )
)
def test_ids_are_dense_and_lead_back(raw):
    """0, 1, ... in a fixed order, and back to the raw ids; the order of the rows plays no part."""
    codes, ids = encode(pl.Series(raw, dtype=pl.String))
    assert ids.gather(codes).to_list() == raw
    assert len(ids) == len(set(raw))
    again, same = encode(pl.Series(raw[::-1], dtype=pl.String))
    assert same.to_list() == ids.to_list()
    np.testing.assert_array_equal(again[::-1], codes)
