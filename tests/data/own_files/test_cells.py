"""The rules for ids and lists in cells, one for all files and for Python."""

import datetime
import decimal

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import polars as pl
import pytest

from rearec_jax.data.own_files import cells

DECIMALS = st.decimals(-(10**9), 10**9, places=3)
KINDS = {
    "text": (st.text(max_size=4), pl.String),
    "written numbers": (st.from_regex(r"-?[0-9]{1,3}(\.[0-9]{1,2})?", fullmatch=True), pl.String),
    "whole": (st.integers(-(2**63), 2**63 - 1), pl.Int64),
    "floats": (st.floats(), pl.Float64),
    "whole floats": (st.integers(-(2**60), 2**60).map(float), pl.Float64),
    "decimals": (DECIMALS, pl.Decimal(20, 3)),
    "bytes": (st.binary(max_size=4), pl.Binary),
}


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_a_column_has_the_ids_of_its_cells(kind, data):
    values, dtype = KINDS[kind]
    column = pl.Series("c", data.draw(st.lists(st.one_of(st.none(), values), max_size=5)), dtype)
    found = cells.id_texts(column)
    assert found.dtype == pl.String and found.name == "c"
    for value, text in zip(column, found, strict=True):
        expected = cells.id_or_none(value)
        if isinstance(value, float) and expected and not value.is_integer():
            assert float(text) == float(expected)  # digits of 1e-07 and 1e-7 differ
        else:
            assert text == expected
        assert text is not None or cells.id_fault(value, "c")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (17, "17"),
        (17.0, "17"),
        ("17.0", "17"),
        ("17", "17"),
        (b"17", "17"),
        (np.int64(17), "17"),
        (np.float32(17), "17"),
        (decimal.Decimal("120.00"), "120"),
        (decimal.Decimal("1E+2"), "100"),
        (decimal.Decimal("1.50"), "1.5"),
        (12.01, "12.01"),
        ("12.01", "12.01"),
        ("007", "007"),
        ("1.0.0", "1.0.0"),
        (float("nan"), ""),
        (None, ""),
        ("", ""),
        (2**70, str(2**70)),
    ],
)
def test_one_id_however_it_is_written(value, text):
    assert cells.id_text(value) == text


@pytest.mark.parametrize(
    "value", [True, 1e17, float("inf"), datetime.date(2020, 1, 2), [1], decimal.Decimal("inf")]
)
def test_what_is_no_id(value):
    with pytest.raises(TypeError):
        cells.id_text(value)
    assert "neither text nor" in cells.id_fault(value, "x")


def test_rounded_numbers_are_no_ids():
    """Beyond 2^24 neighbours are one number in 32 bits."""
    column = pl.Series([2.0**24, 2.0**24 + 2], dtype=pl.Float32)
    assert cells.id_texts(column).to_list() == [str(2**24), None]
    assert cells.id_text(np.float32(2**24)) == str(2**24)
    with pytest.raises(TypeError):
        cells.id_text(np.float32(2**24 + 2))


@pytest.mark.parametrize("blank", [" ", "\x1c", "\x1f", "\x85", "\xa0", "\u2028", "\u3000", "\n\t"])
def test_what_is_blank_is_no_id_in_a_column_and_alone(blank):
    assert cells.id_texts(pl.Series([blank])).to_list() == [None]
    assert cells.id_or_none(blank) is None and cells.id_fault(blank, "x") == "x is empty"


@pytest.mark.parametrize("value", [0.1, 1.1, 17.0, 0.30000001])
def test_floats_of_32_bits_are_the_same_ids_in_a_column_and_alone(value):
    column = pl.Series([value], dtype=pl.Float32)
    assert cells.id_texts(column).to_list() == [cells.id_text(np.float32(value))]


@pytest.mark.parametrize(
    ("cell", "items"),
    [
        ("17 4", ["17", "4"]),
        (" 17  4 ", ["17", "4"]),
        ("17", ["17"]),
        ("", []),
        ("17,4", ["17", "4"]),
        ("17, 4,", ["17", "4"]),
        ("a,b c", ["a,b", "c"]),
        ("[17, 4]", [17, 4]),
        ("[17,4]", [17, 4]),
        ('["17", "4"]', ["17", "4"]),
        ("['17', 'a, b']", ["17", "a, b"]),
        ("['17' '4'\n '5']", ["17", "4", "5"]),
        ("[17 4]", ["17", "4"]),
        ("(17, 4)", [17, 4]),
        ("{17,4}", [17, 4]),
        ("[a, b]", ["a", "b"]),
        ("[]", []),
        ("17 , 4 ,5", ["17", "4", "5"]),
        ("17, 4 5", ["17,", "4", "5"]),
        ("[np.int64(17), np.int64(4)]", ["17", "4"]),
        ("[np.str_('a, b'), np.str_(\"c\")]", ["a, b", "c"]),
        ("[Decimal('17'), Decimal('4.5')]", ["17", "4.5"]),
        ("[b'a', u'b', 'np.a(b)']", ["a", "b", "np.a(b)"]),
        ("[17. 4.]", ["17", "4"]),
        ("[17.5 4.]", ["17.5", "4"]),
        ("array([17, 4])", [17, 4]),
        ("array(['a', 'b'], dtype=object)", ["a", "b"]),
        ("lamp(red) b", ["lamp(red)", "b"]),
        ("[lamp(red), b]", ["lamp(red)", "b"]),
    ],
)
def test_lists_in_a_cell(cell, items):
    assert cells.item_list(cell) == items


@pytest.mark.parametrize("cell", ["[1 2 3 ... 7 8 9]", "[1, 2, \u2026 9]", "array([1, ..., 9])"])
def test_a_list_that_was_cut_off_is_refused(cell):
    with pytest.raises(ValueError, match="cut off"):
        cells.item_list(cell)
