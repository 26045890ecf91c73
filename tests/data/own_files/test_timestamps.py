"""Times sort exactly, in whatever way they are written."""

import decimal

from hypothesis import given
from hypothesis import strategies as st
import polars as pl
import pytest

from rearec_jax.config import DataConfig
from rearec_jax.data.own_files import timestamps
from rearec_jax.data.own_files.readers import read

BILLION = 10**9


def pairs(column, dates=None):
    """The (seconds, nanoseconds) of a column in seconds."""
    times = timestamps.read_times(column, dates)
    return list(zip(times.whole, times.fraction, strict=True))


def iso(nanoseconds):
    seconds, rest = divmod(nanoseconds, BILLION)
    start = pl.Series([seconds * 10**6]).cast(pl.Datetime("us"))
    return start.dt.strftime("%Y-%m-%dT%H:%M:%S")[0] + f".{rest:09}Z"


def number(nanoseconds):
    sign = "-" if nanoseconds < 0 else ""
    return sign + "{}.{:09}".format(*divmod(abs(nanoseconds), BILLION))


# The years 1 to 9999: more than 64 bits of nanoseconds hold.
NANOSECONDS = st.integers(-62_000_000_000 * BILLION, 250_000_000_000 * BILLION)


@pytest.mark.parametrize("write", [iso, number, decimal.Decimal])
@given(times=st.lists(NANOSECONDS, min_size=1, max_size=5))
def test_nanoseconds_of_any_year_are_kept(write, times):
    if write is decimal.Decimal:
        values = [decimal.Decimal(one).scaleb(-9) for one in times]
        column = pl.Series(values, dtype=pl.Decimal(38, 9))
    else:
        column = pl.Series([write(one) for one in times])
    assert pairs(column) == [divmod(one, BILLION) for one in times]


@pytest.mark.parametrize("kind", ["Datetime", "text", "Decimal", "whole numbers"])
def test_rows_are_in_the_order_of_nanoseconds(tmp_path, kind):
    start = 1_600_000_000 * BILLION
    late = {"x": start + 3, "y": start + 1, "z": start + 999, "w": start + 1000}
    times = pl.Series(list(late.values()), dtype=pl.Int64)
    if kind == "Datetime":
        times = times.cast(pl.Datetime("ns"))
    elif kind == "text":
        times = pl.Series([iso(one) for one in times])
    elif kind == "Decimal":
        values = [decimal.Decimal(one).scaleb(-9) for one in times]
        times = pl.Series(values, dtype=pl.Decimal(38, 9))
    frame = pl.DataFrame({"user_id": ["u"] * 4, "item_id": list(late), "timestamp": times})
    frame.write_parquet(tmp_path / "a.parquet")
    found = read(DataConfig(source="table", path=str(tmp_path / "a.parquet")))
    assert found["item"].to_list() == ["y", "x", "z", "w"]
    assert found["timestamp"].to_list() == [1_600_000_000] * 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2020-01-01", (1577836800, 0)),
        ("2020-01-01T00:00", (1577836800, 0)),
        ("2020-01-01 10:00:00 UTC", (1577872800, 0)),
        ("2020-01-01 10:00:00 GMT", (1577872800, 0)),
        ("2020-01-01T10:00:00,5+02:00", (1577865600, 500_000_000)),
        ("2020-01-01T10:00:00.123456789-0130", (1577878200, 123_456_789)),
        ("20200101T100000Z", (1577872800, 0)),
        ("2300-01-01", (10413792000, 0)),
        ("1960-01-01T00:00:00.25Z", (-315619200, 250_000_000)),
        ("-1.25", (-2, 750_000_000)),
        ("1.4632704e9", (1463270400, 0)),
        ("881250949.0", (881250949, 0)),
        (" 7 ", (7, 0)),
        ("1600000000.325", (1600000000, 325_000_000)),
    ],
)
def test_ways_of_writing(text, expected):
    assert pairs(pl.Series([text])) == [expected]


@pytest.mark.parametrize(
    "text", ["", "soon", "nan", "inf", "2020-13-01", "2020-01-01T25:00", "1_000", "0x10", "9" * 30]
)
def test_what_is_no_time(text):
    times = timestamps.read_times(pl.Series([text]))
    assert times.whole.to_list() == [None]
    assert "seconds since 1970" in timestamps.fault(text)


def test_a_column_is_of_dates_or_of_numbers():
    assert pairs(pl.Series(["2020-01-01", "2020-01-02", "5"]))[2] == (None, 0)
    assert pairs(pl.Series(["2020-01-01", "4", "5"]))[0][0] is None
    assert pairs(pl.Series(["4", "2020-01-01"]), dates=True)[0][0] is None
    assert pairs(pl.Series(["2020-01-01"] * 2), dates=False)[0][0] is None


@pytest.mark.parametrize(
    ("times", "ties"),
    [
        (pl.Series([1_600_000_000 + n for n in range(4)], dtype=pl.Float32), 8),
        (pl.Series([1_600_000_000 + n for n in range(4)], dtype=pl.Float64), 0),
        (pl.Series([1.6e18 + 300 * n for n in range(4)], dtype=pl.Float64), 0),
        (pl.Series([1.6e18 + 30 * n for n in range(4)], dtype=pl.Float64), 8),
        (pl.Series(["1.60000E+09"] * 4), 8),
        # More digits than a float has: as NumPy's savetxt writes them.
        (pl.Series([f"{1.6e18 + 30 * n:.18e}" for n in range(4)]), 8),
        (pl.Series([f"{1.6e18 + 300 * n:.18e}" for n in range(4)]), 0),
        (pl.Series([f"1.60000000{n}E9" for n in range(4)]), 0),
        (pl.Series(["1.6E9"] * 3 + ["1.600000001E9"]), 0),  # the shortest digits, as Java's
        (pl.Series([1_600_000_000] * 4), 0),
    ],
)
def test_ties_that_rounding_made_are_counted(tmp_path, caplog, times, ties):
    users = [user for user in "ab" for _ in range(4)]
    frame = pl.DataFrame(
        {"user_id": users, "item_id": list("xyzw") * 2, "timestamp": pl.concat([times, times])}
    )
    frame.write_parquet(tmp_path / "a.parquet")
    read(DataConfig(source="table", path=str(tmp_path / "a.parquet")))
    if ties:
        assert f"{ties} of 8 interactions have the time of another" in caplog.text
    else:
        assert "have the time of another" not in caplog.text
