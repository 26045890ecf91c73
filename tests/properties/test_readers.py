"""What is written comes back: every interaction once, a user's together, in the order of time."""

import csv
import gzip
import io
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import polars as pl
import pytest

from rearec_jax.config import DataConfig
from rearec_jax.data.own_files.readers import read
from rearec_jax.data.own_files.text import read_item_text
from rearec_jax.data.raw_ids import encode

# No blanks (they part the items of a line), nothing that ends a line, no half of a character.
IDS = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1, max_size=5
)
TITLES = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=8)
SECONDS = st.integers(0, 4_000_000_000)


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("readers")


def put(path: Path, text: str) -> str:
    content = text.encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return str(path)


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
@given(users=st.dictionaries(IDS, st.lists(IDS, min_size=2, max_size=5), min_size=1, max_size=5))
def test_sequences(directory, name, users):
    text = "".join(f"{user} {' '.join(items)}\n" for user, items in users.items())
    frame = read(DataConfig(source="sequences", path=put(directory / name, text)))
    assert frame.rows() == [(user, item) for user, items in users.items() for item in items]


def in_order(rows: list[tuple[str, str, int]]) -> list[tuple[str, str, int]]:
    """By user, then time; rows of one user and second stay as they are."""
    return sorted(rows, key=lambda row: (row[0].encode(), row[2]))


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.csv.gz", "a.parquet"])
@given(rows=st.lists(st.tuples(IDS, IDS, SECONDS), min_size=1, max_size=12), blank=st.booleans())
def test_tables(directory, name, rows, blank):
    path = directory / name
    columns = ("user_id", "item_id", "timestamp")
    if name == "a.parquet":
        pl.DataFrame(rows, schema=columns, orient="row").write_parquet(path)
    else:
        put(path, written(columns, rows, "\t" if ".tsv" in name else ",", blank))
    # core=2: the reader does not ask for two interactions of each user
    frame = read(DataConfig(source="table", path=str(path), core=2))
    assert frame.select("user", "item", "timestamp").rows() == in_order(rows)


def written(columns: tuple[str, ...], rows: list, separator: str, blank: bool) -> str:
    file = io.StringIO()
    quoting = csv.QUOTE_MINIMAL if separator == "," else csv.QUOTE_NONE
    writer = csv.writer(
        file,
        delimiter=separator,
        quoting=quoting,
        quotechar=None if separator == "\t" else '"',
        lineterminator="\n",
    )
    writer.writerow(columns)
    for row in rows:
        writer.writerow(row)
        if blank:
            file.write("\n")
    return file.getvalue()


@given(texts=st.dictionaries(IDS, TITLES, min_size=1, max_size=8), more=st.sets(IDS, max_size=3))
def test_item_text(directory, texts, more):
    """Each item its own text; none where the table has none or an empty one."""
    ids = pl.Series(sorted(texts.keys() | more), dtype=pl.String)
    path = directory / "text.parquet"
    pl.DataFrame({"item_id": list(texts), "title": list(texts.values())}).write_parquet(path)
    wanted = [texts.get(item, "").strip() or None for item in ids]
    if not any(wanted):
        return
    got = read_item_text(DataConfig(item_text=str(path)), ids)
    assert [text and text.strip() for text in got] == wanted


@given(raw=st.lists(st.one_of(IDS, st.integers(-50, 50).map(str)), min_size=1, max_size=20))
def test_dense_ids(raw):
    """0, 1, ... in a fixed order, and back to the raw ids; the order of the rows plays no part."""
    codes, ids = encode(pl.Series(raw, dtype=pl.String))
    assert ids.gather(codes).to_list() == raw
    assert len(ids) == len(set(raw))
    again, same = encode(pl.Series(raw[::-1], dtype=pl.String))
    assert same.to_list() == ids.to_list()
    np.testing.assert_array_equal(again[::-1], codes)
