"""Delimited files in blocks: any table comes back, and a wrong record spoils no other."""

import csv
import gzip
import io

from hypothesis import given
from hypothesis import strategies as st
import pytest

from rearec_jax.data.own_files import cells, records
from rearec_jax.data.own_files.records import Header, read_header, read_records
from rearec_jax.errors import UserError

NAMES = ["a", "b", "c"]
FIELDS = st.text(st.sampled_from('x",\n \u00e9'), max_size=4)
PLAIN = st.text(st.sampled_from('x", \u00e9'), max_size=4)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("records")


def read(path, content, wanted=NAMES):
    """The lines, the fields (None where empty) and the wrong records of a file."""
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    found = list(read_records(path, read_header(path), wanted))
    rows = [row for one in found for row in zip(one.lines.tolist(), *one.frame, strict=True)]
    return rows, [wrong for one in found for wrong in one.wrong]


def written(rows, quoting, ending):
    """A CSV file, and the first line of each record in it."""
    file, lines = io.StringIO(), []
    writer = csv.writer(file, quoting=quoting, lineterminator=ending)
    for row in [NAMES, *rows]:
        lines.append(file.getvalue().count("\n") + 1)
        writer.writerow(row)
    return file.getvalue().encode(), lines[1:]


@given(
    rows=st.lists(st.tuples(FIELDS, FIELDS, FIELDS.map(lambda x: x + "x")), max_size=6),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    ending=st.sampled_from(["\n", "\r\n"]),
    block=st.sampled_from([1, 5, 17, 10_000]),
    has_end=st.booleans(),
)
def test_a_table_comes_back_whatever_the_blocks(directory, rows, quoting, ending, block, has_end):
    content, lines = written(rows, quoting, ending)
    if not has_end:
        content = content.removesuffix(ending.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "BLOCK", block)
        found, wrong = read(directory / "a.csv", content)
        patch.setattr(records, "_at_once", lambda *a: None)
        assert read(directory / "a.csv", content) == (found, wrong)
    assert not wrong
    expected = [[line, *(field or None for field in row)] for line, row in zip(lines, rows)]  # noqa: B905
    assert [list(row) for row in found] == expected


@given(
    good=st.lists(st.tuples(PLAIN, PLAIN, PLAIN.map(lambda x: x + "x")), max_size=4),
    bad=st.sampled_from(
        [b"u", b"u,v,w,x", b"u,\xff,w", b'u,"v,w', b'u,v" x,w', b'u,"v"v,w', b'u,v,"w', b'"'],
    ),
    place=st.integers(0, 4),
    block=st.sampled_from([3, 10_000]),
)
def test_a_wrong_record_spoils_no_other(directory, good, bad, place, block):
    place = min(place, len(good))
    header, *rows = written(good, csv.QUOTE_MINIMAL, "\n")[0].splitlines(keepends=True)
    content = b"".join([header, *rows[:place], bad + b"\n", *rows[place:]])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "BLOCK", block)
        found, wrong = read(directory / "a.csv", content)
    quoted = bad.count(b'"') % 2 and any(b'"' in row for row in rows[place:])
    if not quoted:  # else a later quote may close it
        assert [one.line for one in wrong] == [place + 2]
        assert [row[1:] for row in found] == [tuple(f or None for f in row) for row in good]


def test_what_is_wrong_is_said(tmp_path):
    content = b'a,b,c\n1,2\n\n1,"2\n3",4\n , ,\t\n1,5" x,3\n1,"x"y,3\n1,\xff,3\n1,"2,3\n4,5,6\n'
    rows, wrong = read(tmp_path / "a.csv", content)
    assert rows == [(4, "1", "2\n3", "4"), (11, "4", "5", "6")]
    assert [one.line for one in wrong] == [2, 7, 8, 9, 10]
    reasons = [one.reason for one in wrong]
    assert reasons[0] == "2 fields where the header has 3"
    assert reasons[1].startswith("a quote inside a field") and reasons[3] == records.NOT_UTF8
    assert reasons[4] == "a quote that no other closes"


def test_a_quote_that_nothing_closes_costs_bounded_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "BLOCK", 50)
    monkeypatch.setattr(records, "LONGEST", 200)
    texts = []
    real = records._one_by_one
    monkeypatch.setattr(records, "_one_by_one", lambda *a: texts.append(len(a[0])) or real(*a))
    content = b'a,b,c\n1,"2,3\n' + b"4,5,6\n" * 200
    rows, wrong = read(tmp_path / "a.csv", content)
    assert len(rows) == 200 and [one.line for one in wrong] == [2]
    assert max(texts) < 300


@pytest.mark.parametrize("block", range(20, 60, 3))
def test_only_the_first_of_a_long_text_counts_as_never_closed(tmp_path, monkeypatch, block):
    monkeypatch.setattr(records, "BLOCK", block)
    monkeypatch.setattr(records, "LONGEST", 100)
    good = [b'4,"5\n5",6\n'] * 50
    rows, wrong = read(tmp_path / "a.csv", b"".join([b'a,b,c\n1,"2,3\n', *good]))
    assert [one.line for one in wrong] == [2] and len(rows) == 50


def test_only_the_wanted_columns_in_the_wanted_order(tmp_path):
    assert read(tmp_path / "a.csv.gz", b"a,b,c\n1,2,3\n", ["c", "a"])[0] == [(2, "3", "1")]


@pytest.mark.parametrize("block", [1, 10_000])
@pytest.mark.parametrize("start", ["x^", "x\x01", "BZh", "PK\x03\x04", "PAR1", "ARROW1"])
def test_text_that_begins_as_another_kind_of_file(tmp_path, monkeypatch, start, block):
    """Polars tells compressed text by its first bytes: the letters x^ are those of zlib."""
    monkeypatch.setattr(records, "BLOCK", block)
    content = f"a,b,c\n{start},1,2\ny,3,4\n".encode()
    assert read(tmp_path / "a.csv", content) == ([(2, start, "1", "2"), (3, "y", "3", "4")], [])


def test_an_empty_table(tmp_path):
    assert read(tmp_path / "a.csv", b"a,b,c\n") == ([], [])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n1,2\n", "starts with an empty line"),
        (b"a\xff,b\n", "line 1: not UTF-8"),
        (b"a,b\r1,2\r", "end in CR alone"),
        (gzip.compress(b"a,b\n", mtime=0), "compressed by gzip"),
    ],
)
def test_headers_that_are_none(tmp_path, content, words):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(UserError, match=rf"a\.csv.*{words}"):
        read_header(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("name", "first", "form"),
    [
        ("a.tsv", b"a,b\tc\n", cells.TABS),
        ("a.tsv", b"a,b\n", cells.COMMAS),
        ("a.txt", b"a\tb,c\n", cells.TABS),
        ("a.txt", b"\xef\xbb\xbfa,b\r\n", cells.COMMAS),
        ("a.csv.gz", b"a\tb,c\n", cells.COMMAS),
        ("a.csv.gz", b"a\tb\n", cells.TABS),
    ],
)
def test_the_separator(tmp_path, name, first, form):
    (tmp_path / name).write_bytes(gzip.compress(first) if name.endswith(".gz") else first)
    header = read_header(tmp_path / name)
    text = first.decode("utf-8-sig").rstrip()
    assert header == Header(text.split(form.separator), form)
