"""How the columns of a file become the text of an item."""

from hypothesis import given
from hypothesis import strategies as st
import polars as pl
import pytest

from rearec_jax import config as options
from rearec_jax.config import DataConfig
from rearec_jax.config.checks import template_parts
from rearec_jax.data.own_files.text import read_item_text
from rearec_jax.errors import UserError

IDS = pl.Series(["1", "2", "3", "4"])
# Nothing that ends a line, no half of a character; in ids no blanks.
TITLES = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=8)
RAW_IDS = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1, max_size=5
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("text")


@pytest.fixture
def read(tmp_path):
    path = tmp_path / "text.tsv"
    path.write_text(
        "item_id\ttitle\tbrand name\tx.y\n1\tLamp\tOak & Co\t7\n2\t Vase \t\t8\n3\t\t\t9\n"
    )

    def read(template, ids=IDS):
        config = DataConfig(item_text=str(path), text_template=template, text_columns=("absent",))
        return read_item_text(config, ids).to_list()

    return read


def test_columns_are_put_into_the_template(read):
    expected = ["The title is Lamp, by Oak & Co.", "The title is Vase, by .", None, None]
    assert read("The title is {title}, by {brand name}.") == expected
    assert read("{title}") == ["Lamp", "Vase", None, None]
    assert read("{{{title}}} {title}") == ["{Lamp} Lamp", "{Vase} Vase", None, None]


def test_names_are_only_names(read):
    assert read("no {x.y}") == ["no 7", "no 8", "no 9", None]
    for name in ("title.__class__", "title[0]", "0", "colour"):
        with pytest.raises(UserError, match=r"no column .*data\.text_template.*title, brand name"):
            read(f"{{{name}}}")


def test_the_id_may_be_a_part_of_it(read):
    assert read("{item_id}: {title}") == ["1: Lamp", "2: Vase", "3:", None]


def of_parquet(path, **columns):
    pl.DataFrame({"item_id": [1.0, 2.0, float("nan")]} | columns).write_parquet(path)
    config = DataConfig(item_text=str(path), text_columns=tuple(columns))
    return read_item_text(config, pl.Series(["1", "2", "3"])).to_list()


@pytest.mark.parametrize("kind", [pl.List(pl.String), pl.Array(pl.String, 2)])
def test_lists_are_joined(kind, tmp_path):
    parts = pl.Series([["Home", "Lamps"], ["Vases", None], ["x", "y"]], dtype=kind)
    found = of_parquet(tmp_path / "t.parquet", title=["Oak", None, "z"], parts=parts)
    assert found == ["Oak Home, Lamps", "Vases", None]


@pytest.mark.parametrize("value", [{"a": 1}, b"x", [[1]], [{"a": 1}]])
def test_columns_that_are_no_text_are_refused(value, tmp_path):
    with pytest.raises(UserError, match=r"t\.parquet: column 'about' is of type .* lists of texts"):
        of_parquet(tmp_path / "t.parquet", about=[value] * 3)


@pytest.mark.parametrize("template", ["{", "{title", "}", "{}", "{title!r}", "{title:>9}", "{a!}"])
def test_a_malformed_template_is_refused_with_the_options(template):
    with pytest.raises(UserError, match=r"data\.text_template.*\{title\}"):
        options.resolve({"data": {"text_template": template}})


def test_a_template_without_a_column_is_refused(read):
    with pytest.raises(UserError, match="names no column"):
        read("an item")


def test_parts():
    assert template_parts("") == []
    assert template_parts("a {b}{c} {{d}}") == [("a ", "b"), ("", "c"), (" {", None), ("d}", None)]


@given(
    texts=st.dictionaries(RAW_IDS, TITLES, min_size=1, max_size=8),
    more=st.sets(RAW_IDS, max_size=3),
)
def test_each_item_gets_its_text(directory, texts, more):
    """None where the table has no text of it, or an empty one."""
    ids = pl.Series(sorted(texts.keys() | more), dtype=pl.String)
    path = directory / "text.parquet"
    pl.DataFrame({"item_id": list(texts), "title": list(texts.values())}).write_parquet(path)
    wanted = [texts.get(item, "").strip() or None for item in ids]
    if not any(wanted):
        return
    got = read_item_text(DataConfig(item_text=str(path)), ids)
    assert [text and text.strip() for text in got] == wanted
