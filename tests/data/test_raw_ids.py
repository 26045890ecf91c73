"""Raw ids as text, and as 0, 1, ... and back."""

import datetime
import decimal
import enum

from hypothesis import given
from hypothesis import strategies as st
import jax.numpy as jnp
import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from rearec_jax.data.raw_ids import encode, id_text


class Fruit(enum.StrEnum):
    PEAR = "pear"


class Colour(str, enum.Enum):  # noqa: UP042 - its str() is "Colour.RED"
    RED = "red"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("17", "17"),
        (" 07 ", " 07 "),
        (np.str_("a"), "a"),
        (Fruit.PEAR, "pear"),
        (Colour.RED, "red"),
        ("\xe9".encode(), "\xe9"),
        (np.bytes_(b"17"), "17"),
        (17, "17"),
        (-(10**30), "-1" + 30 * "0"),
        (np.int8(-3), "-3"),
        (np.uint64(2**64 - 1), "18446744073709551615"),
        (17.0, "17"),
        (-0.0, "0"),
        (2.0**53, "9007199254740992"),
        (np.float32(17), "17"),
        (np.float16(2048), "2048"),
        (decimal.Decimal("120.00"), "120"),
        (decimal.Decimal("1.2E+2"), "120"),
        (np.array(17), "17"),
        (np.array("a", object), "a"),
        (jnp.int32(5), "5"),
        (pa.scalar(5), "5"),
        (pa.scalar("a"), "a"),
    ],
)
def test_an_id_of_any_type_is_text(value, text):
    found = id_text(value)
    assert found == text and type(found) is str


@pytest.mark.parametrize(
    "value",
    [None, float("nan"), np.float32("nan"), decimal.Decimal("NaN"), pa.scalar(None), "", " \n"],
)
def test_a_missing_id_is_said(value):
    with pytest.raises(ValueError, match=r"^no item id$"):
        id_text(value, "item id")


@pytest.mark.parametrize(
    "value",
    [
        *(True, np.False_, 0.5, float("inf"), 1e17, decimal.Decimal("1.5"), 1j, [1], (1,), object),
        *(np.float32(2**25), np.float16(4096)),  # their neighbours are even numbers alone
        *(datetime.date(2020, 1, 2), np.datetime64(1, "ns"), np.timedelta64(1, "ns")),
        *(np.array([1]), jnp.bfloat16(3), decimal.Decimal("Infinity")),
    ],
)
def test_what_is_no_id_is_said(value):
    with pytest.raises(ValueError, match=r"^the id .* is neither text nor an exact whole number$"):
        id_text(value)


@pytest.mark.parametrize("value", [b"\xff", "\ud800"])
def test_what_is_no_text_is_said(value):
    with pytest.raises(ValueError, match=r"^the user id is not UTF-8 text$"):
        id_text(value, "user id")


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
