"""What Python gives to a recommender: any list of ids, or a sentence that says what to give."""

import datetime
import decimal
import enum

import jax.numpy as jnp
import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from rearec_jax.errors import UserError
from rearec_jax.recommend.arguments import id_text
from rearec_jax.recommend.histories import Histories
from rearec_jax.recommend.items import Items
from rearec_jax.recommend.recommender import Options, Recommender
from tests.recommend.test_recommender import ITEMS, recommender

LISTS = pl.Series("items", [["17", "4"], ["29"]])
NUMBERS = pl.Series("items", [[17, 4], [29]])


@pytest.fixture(scope="module")
def rec():
    """A model of items "0", "1", ..."""
    made = recommender()[0]
    ids = pl.Series([str(n) for n in range(ITEMS)])
    return Recommender(made.engine, Items(ids, made.items.titles, made.items.counts))


@pytest.mark.parametrize(
    "histories",
    [
        [[17, 4], [29]],
        ((17.0, np.float32(4)), (np.int64(29),)),
        [np.array(["17", "4"]), np.array([29])],
        [["17", b"4"], [decimal.Decimal("29.00")]],
        [jnp.array([17, 4]), pl.Series([29])],
        [pa.array([17, 4]), pa.chunked_array([["29"]])],
        [(raw for raw in ("17", "4")), iter([29])],
        LISTS,
        NUMBERS,
        LISTS.to_arrow(),
        NUMBERS.cast(pl.List(pl.Float32)),
        NUMBERS.to_frame().to_arrow()["items"],
        (history for history in LISTS.to_list()),
        {"ann": ["17", "4"], "bob": ["29"]}.values(),
    ],
)
def test_histories_of_any_kind_are_the_same(rec, histories):
    expected = rec.recommend([["17", "4"], ["29"]], k=5)
    found = rec.recommend(histories, k=5)
    assert found.ids == expected.ids and all(one.by == "model" for one in found)


def test_an_array_of_users(rec):
    (expected,) = rec.recommend([["17", "4"]])
    for array in (np.array([[17.0, 4.0]]), np.array([["17", "4"]]), jnp.array([[17, 4]])):
        assert list(rec.recommend(array)) == [expected]


@pytest.mark.parametrize(
    "given", [["17", "4"], np.array([17.0, 4.0]), {4, "17"}, pl.Series([17, 4]), pa.array([4, 17])]
)
def test_excluded_and_candidates_of_any_kind(rec, given):
    (few,) = rec.recommend([["29"]], candidates=given)
    assert set(few.ids) == {"17", "4"}
    (most,) = rec.recommend([["29"]], k=ITEMS, exclude=given, exclude_seen=False)
    assert set(rec.items.ids) - set(most.ids) == {"17", "4"}
    assert list(rec.recommend([["29"]], exclude=(raw for raw in given), k=3))


class Fruit(enum.StrEnum):
    PEAR = "pear"


class Size(int, enum.Enum):  # its str() is "Size.LARGE"
    LARGE = 17


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
        (Size.LARGE, "17"),
        (np.longdouble(17), "17"),
        (np.longdouble("0.5"), "0.5"),
        (np.float32(0.1), "0.1"),
        (pa.scalar(0.1, pa.float32()), "0.1"),
        (decimal.Decimal("120.00"), "120"),
        (decimal.Decimal("1.2E+2"), "120"),
        (np.array(17), "17"),
        (np.array("a", object), "a"),
        (jnp.int32(5), "5"),
        (pa.scalar(5), "5"),
        (pa.scalar("a"), "a"),
        (pa.scalar(b"a"), "a"),
    ],
)
def test_an_id_of_any_type_is_text(value, text):
    found = id_text(value)
    assert found == text and type(found) is str


@pytest.mark.parametrize(
    "value",
    [
        *(None, float("nan"), np.float32("nan"), np.longdouble("nan"), pa.scalar(None)),
        *("", " \n", b"", np.ma.masked),
    ],
)
def test_a_missing_id_is_said(value):
    with pytest.raises(ValueError, match=r" is no item id$"):
        id_text(value)


@pytest.mark.parametrize(
    "value",
    [
        *(True, np.False_, float("inf"), 1e17, decimal.Decimal("-Infinity"), 1j, [1], (1,), object),
        *(np.float32(2**25), np.float16(4096)),  # their neighbours are even numbers alone
        *(pa.scalar(2.0**25, pa.float32()), np.longdouble(2) ** 54, np.longdouble("inf")),
        *(datetime.date(2020, 1, 2), np.datetime64(1, "ns"), np.timedelta64(1, "ns")),
        *(np.array([1]), jnp.bfloat16(3), decimal.Decimal("sNaN")),
    ],
)
def test_what_is_no_id_is_said(value):
    with pytest.raises(ValueError, match=r"^the item id .* is neither text nor an exact number$"):
        id_text(value)


@pytest.mark.parametrize("value", [b"\xff", "\ud800"])
def test_what_is_no_text_is_said(value):
    with pytest.raises(ValueError, match=r"^an item id is not UTF-8 text$"):
        id_text(value)


class Frame:
    """A table as of pandas: iterating gives the names of its columns."""

    columns = ("ab", "cd")

    def __iter__(self):
        return iter(self.columns)


TABLES = [Frame(), LISTS.to_frame(), LISTS.to_frame().lazy(), LISTS.to_frame().to_arrow()]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: type(table).__name__)
def test_a_whole_table_is_refused(rec, table):
    name = type(table).__name__
    with pytest.raises(UserError, match=rf"histories is a {name}; give a list .*\.to_list\(\)"):
        rec.recommend(table)
    with pytest.raises(UserError, match=rf"history 0 is a {name}; a history is a list"):
        rec.recommend([table])
    for argument in ("exclude", "candidates"):
        with pytest.raises(UserError, match=rf"{argument} is a {name}; it is a list of item ids"):
            rec.recommend([["4"]], **{argument: table})


@pytest.mark.parametrize(
    "one", ["17", b"17", bytearray(b"17"), 17, 17.0, None, True, np.int64(17), np.array(17)]
)
def test_one_id_is_no_list(rec, one):
    for histories in (one, [one]):
        with pytest.raises(
            UserError, match=r"^(histories|history 0) is .*(17|None|True|array|bytearray)"
        ):
            rec.recommend(histories)
    with pytest.raises(UserError, match=r"^candidates is .*; it is a list of item ids"):
        rec.recommend([["4"]], **({"candidates": one} if one is not None else {"candidates": 1}))


@pytest.mark.parametrize("flat", [["17", "4"], [17, 4], np.array([17, 4]), pl.Series(["17", "4"])])
def test_the_history_of_one_user(rec, flat):
    with pytest.raises(UserError, match=r"history 0 is .*17.*; of one user give \[history\]"):
        rec.recommend(flat)


def test_masked_values_are_no_items(rec):
    masked = np.ma.array([17, 4], mask=[False, True])
    with pytest.raises(UserError, match=r"^history 0: masked is no item id"):
        rec.recommend([masked])


def test_what_32_bits_have_rounded_is_no_item(rec):
    rounded = [17.0, 2.0**25]
    for history in (pl.Series(rounded, dtype=pl.Float32), pa.array(rounded, pa.float32())):
        with pytest.raises(UserError, match=r"^history 0: the item id .* exact number"):
            rec.recommend([history])


@pytest.mark.parametrize("history", [{"17", "4"}, frozenset({4}), {"17": 1}])
def test_a_history_has_an_order(rec, history):
    with pytest.raises(UserError, match=r"history 0 is a (set|frozenset|dict); a history is a"):
        rec.recommend([history])
    with pytest.raises(UserError, match=r"histories is a (set|dict); give a list"):
        rec.recommend({"ann": ["17"]} if isinstance(history, dict) else {("17",)})


@pytest.mark.parametrize("wrong", [None, float("nan"), "", 1e17, True, [4], datetime.date.today()])
def test_what_is_no_id_is_refused(rec, wrong):
    with pytest.raises(UserError, match=r"^history 1: .*(no|the) item id"):
        rec.recommend([["4"], ["17", wrong]])
    with pytest.raises(UserError, match=r"^exclude: .*(no|the) item id"):
        rec.recommend([["4"]], exclude=[wrong])


class TestNumbersAndFlags:
    @pytest.mark.parametrize("two", [2, np.int64(2), np.uint8(2), np.array(2), jnp.int32(2)])
    def test_whole_numbers_of_any_type(self, rec, two):
        (one,) = rec.recommend([["4"]], k=two, steps=two)
        assert one.ids == rec.recommend([["4"]], k=2, steps=2)[0].ids and len(one.ids) == 2

    @pytest.mark.parametrize("wrong", [2.0, np.float64(2), "2", b"2", True, np.True_, [2], (2,)])
    @pytest.mark.parametrize("name", ["k", "steps"])
    def test_anything_else_is_refused(self, rec, name, wrong):
        with pytest.raises(UserError, match=rf"^{name}=.* must be a whole number"):
            rec.recommend([["4"]], **{name: wrong})

    def test_none(self, rec):
        with pytest.raises(UserError, match=r"^k=None must be a whole number"):
            rec.recommend([["4"]], k=None)
        (one,) = rec.recommend([["4"]], steps=None, exclude=None, candidates=None)
        assert one == rec.recommend([["4"]])[0]

    def test_very_many(self, rec):
        assert len(rec.recommend([["4"]], k=10**30)[0].ids) == ITEMS - 1

    @pytest.mark.parametrize("digits", [1000, 5000])
    @pytest.mark.parametrize("sign", [1, -1])
    def test_far_too_many(self, rec, digits, sign):
        """Python writes no number of 5,000 digits, and nobody reads one of 1,000."""
        count = sign * 10**digits
        with pytest.raises(UserError, match=r"^steps=.{,120} must lie between 0 and the") as caught:
            rec.recommend([["4"]], steps=count)
        assert len(str(caught.value)) < 300
        if count < 0:
            with pytest.raises(UserError, match=r"^k=.{,120} must be at least 1$"):
                rec.recommend([["4"]], k=count)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"k": "9" * 5000},
            {"explain": "9" * 5000},
            {"unknown": "9" * 5000},
            {"exclude": "9" * 5000},
            {"exclude": ["9" * 5000]},
            {"candidates": [b"9" * 5000]},
            {"candidates": [10**1000]},
            {"exclude": [1 << 20_000]},
            {"histories": "9" * 5000},
            {"histories": [["9" * 5000]], "unknown": "error"},
        ],
    )
    def test_long_values_are_not_echoed_whole(self, rec, wrong):
        with pytest.raises(UserError) as caught:
            rec.recommend(**{"histories": [["4"]]} | wrong)
        assert len(str(caught.value)) < 300

    @pytest.mark.parametrize("wrong", ["false", None, 1, 0.0, [], np.array([True])])
    @pytest.mark.parametrize("name", ["exclude_seen", "explain"])
    def test_true_or_false(self, rec, name, wrong):
        with pytest.raises(UserError, match=rf"^{name}=.* must be True or False"):
            rec.recommend([["4"]], **{name: wrong})
        rec.recommend([["4"]], **{name: np.True_})

    @pytest.mark.parametrize("wrong", [None, 3, ["skip"], "SKIP"])
    def test_unknown(self, rec, wrong):
        with pytest.raises(UserError, match=r"^unknown=.* must be one of skip, error"):
            rec.recommend([["4"]], unknown=wrong)


class TestDenseIds:
    """JAX would take the row of another item for one that is not there."""

    @pytest.mark.parametrize("wrong", [-1, ITEMS, 2**31 - 1])
    def test_out_of_range(self, rec, wrong):
        ids = np.array([3, wrong], np.int32)
        with pytest.raises(UserError, match=rf"histories: the dense id {wrong} is none of the 30"):
            rec.rank(Histories(ids, np.array([0, 2]), ((),)), Options())
        known = Histories(ids[:1], np.array([0, 1]), ((),))
        for name in ("exclude", "candidates"):
            with pytest.raises(UserError, match=rf"{name}: the dense id {wrong} is none"):
                rec.rank(known, Options(**{name: ids}))
