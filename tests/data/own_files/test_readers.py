"""Files to one table of interactions, and what is said of files that are not right."""

import csv
import dataclasses
import datetime
import gzip
import io
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
import polars as pl
import pytest

from rearec_jax.config import DataConfig
from rearec_jax.data.interactions import TEST, TRAIN, VALIDATION
from rearec_jax.data.own_files import tables
from rearec_jax.data.own_files.cells import id_text
from rearec_jax.data.own_files.readers import read
from rearec_jax.data.own_files.text import read_item_text
from rearec_jax.errors import UserError

HEADER = "user_id\titem_id\ttimestamp\n"


# No blanks (they part the items of a line), nothing that ends a line, no half of a character.
IDS = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1, max_size=5
)
# A line of ids has no header that says what stands where: commas and brackets may be those of
# lists (`user item,item`), and U+FEFF at the start of a file is its byte order mark.
WORDS = st.text(
    st.characters(
        exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp"), exclude_characters=",[]\ufeff"
    ),
    min_size=1,
    max_size=5,
)
SECONDS = st.integers(0, 4_000_000_000)


def write(path, content):
    """Writes the file, compressed where its name says so, and returns its path as a string."""
    content = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return str(path)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("readers")


@pytest.fixture
def put(tmp_path):
    """Writes a file and returns the configuration that names it."""

    def put(name, content, **options):
        source = "sequences" if name.startswith("sequences") else "table"
        path = write(tmp_path / name, content)
        return DataConfig(**{"source": source, "path": path} | options)

    return put


def rows(frame, *columns):
    return frame.select(columns or ("user", "item")).rows()


@pytest.mark.parametrize("name", ["sequences.txt", "sequences.txt.gz"])
def test_sequences_keep_the_order_of_the_line(put, name):
    frame = read(put(name, "b 3 1  2\r\n\na 9\t3\n"))
    assert rows(frame) == [("b", "3"), ("b", "1"), ("b", "2"), ("a", "9"), ("a", "3")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1 2 3\n\n7 5\n", "line 3: user 7 has 1 item"),
        ("1 2 3\n7\n", "line 2: user 7 has 0 item"),
        ("1 2 3\n2 5 6\n1 4 5\n", "line 3: user 1 already has line 1"),
        ("\n", "is empty"),
        (b"1 2 3\n2 \xff 3\n", "line 2: not UTF-8"),
    ],
)
def test_wrong_sequences_name_the_line(put, content, message):
    with pytest.raises(UserError, match=rf"sequences\.txt.*{message}"):
        read(put("sequences.txt", content))


def test_a_line_an_interaction(put):
    content = "1 1\n2 2\n1 2\n2 3\n1 3\n2 1\n"
    expected = [("1", "1"), ("1", "2"), ("1", "3"), ("2", "2"), ("2", "3"), ("2", "1")]
    assert rows(read(put("sequences.txt", content))) == expected


@pytest.mark.parametrize("separator", ["\t", " "])
def test_items_separated_by_commas(put, separator):
    content = f"1{separator}1,2,3\n2{separator}3,4,2,\r\n"
    expected = [("1", "1"), ("1", "2"), ("1", "3"), ("2", "3"), ("2", "4"), ("2", "2")]
    assert rows(read(put("sequences.txt", content))) == expected
    # Where blanks part the items, a comma is a part of an id.
    assert rows(read(put("sequences.txt", "1 a,b c\n"))) == [("1", "a,b"), ("1", "c")]


@pytest.mark.parametrize("line", ["1 [2, 3]", "1\t['2', '3']", "1 (2, 3)", "1 {2,3}"])
def test_lists_in_brackets_are_no_items(put, line):
    with pytest.raises(UserError, match=r"its lines are 'user \[item, item, \.\.\.\]'; write"):
        read(put("sequences.txt", f"{line}\n2{line}\n"))
    assert rows(read(put("sequences.txt", "1 [a b]\n2 c d\n")))[0] == ("1", "[a")


@pytest.fixture
def parallel(put, tmp_path):
    """Writes items and their times, and returns the configuration that names both files."""

    def parallel(items, times, **options):
        path = write(tmp_path / "sequence_times.txt", times)
        return put("sequences.txt", items, times_path=path, **options)

    return parallel


def test_parallel_times_belong_to_the_items_on_the_same_line(parallel):
    frame = read(parallel("b 3 1 2\n\na 9 3\n", "b 10 20 20\n\na 1 1\n"))
    found = rows(frame, "user", "item", "timestamp")
    assert found == [("a", "9", 1), ("a", "3", 1), ("b", "3", 10), ("b", "1", 20), ("b", "2", 20)]


def test_items_are_put_in_the_order_of_parallel_times(parallel):
    frame = read(parallel("u 3 1 2 4\n", "u 1600000000900 1600000000100 1600000000000.5 15\n"))
    assert rows(frame, "item", "timestamp")[1:] == [
        ("2", 1_600_000_000),
        ("1", 1_600_000_000),
        ("3", 1_600_000_000),
    ]
    dates = read(parallel("u 3 1\n", "u 2020-01-02 2020-01-01T12:00\n"))
    assert rows(dates, "item", "timestamp") == [("1", 1_577_880_000), ("3", 1_577_923_200)]
    pairs = read(parallel("u 3\nv 1\nu 2\n", "u 7\nv 1\nu 5\n"))
    assert rows(pairs) == [("u", "2"), ("u", "3"), ("v", "1")]


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ("b 1 2 3\na 1\n", "line 2: user a has 1 times, where line 3 of .* has 2 items"),
        (
            "a 1 2\nb 1 2 3\n",
            "line 1: user a has 2 times, where line 1 of .* has 3 items",
        ),
        ("b 1 2 3\n", "has 1 users' lines and .* 2"),
        ("b 1 2 x\na 1 2\n", "line 1: timestamp 'x' where seconds"),
        ("\n", "is empty; it needs lines of 'user time time ...'"),
    ],
)
def test_wrong_parallel_times_name_the_line(parallel, times, message):
    with pytest.raises(UserError, match=rf"sequence_times\.txt.*{message}"):
        read(parallel("b 3 1 2\n\na 9 3\n", times))


def test_sequences_can_be_split_by_parallel_times(parallel, put):
    read(parallel("b 3 1 2\n", "b 1 2 3\n", split="time_fraction"))
    with pytest.raises(UserError, match=r"data\.times_path"):
        read(put("sequences.txt", "b 3 1 2\n", split="time_fraction"))


def test_repeated_items_are_told_apart_by_parallel_times(parallel):
    items, times = "u 3 1 3 3\n", "u 5.5 6 5.5 5.25\n"
    for rule, left in {"keep": 4, "drop": 3, "last": 2}.items():
        assert len(read(parallel(items, times, duplicates=rule))) == left


def test_one_file_of_items_has_one_of_parallel_times(parallel, tmp_path):
    path = write(tmp_path / "more.txt", "c 1 2\n")
    config = parallel("b 3 1\n", "b 1 2\n")
    for option in ("path", "times_path"):
        several = dataclasses.replace(config, **{option: f"{getattr(config, option)},{path}"})
        with pytest.raises(UserError, match=r"data\.times_path belongs to one file of items"):
            read(several)


def test_sequences_that_end_in_cr_alone_are_not_one_line(put):
    with pytest.raises(UserError, match="lines end in CR alone"):
        read(put("sequences.txt", "1 2 3\r2 3 4\r"))


@pytest.mark.parametrize("line", ["1,2,3,4", "1;2;3", "1::2::3::978300760", "1|2|3"])
def test_lines_of_other_files_are_not_to_be_removed(put, line):
    with pytest.raises(UserError, match=r"line 1: .*data\.source=table") as caught:
        read(put("sequences.txt", f"{line}\n{line}9\n"))
    assert "remove" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
@given(
    users=st.dictionaries(WORDS, st.lists(WORDS, min_size=2, max_size=5), min_size=1, max_size=5)
)
def test_sequences_come_back(directory, name, users):
    text = "".join(f"{user} {' '.join(items)}\n" for user, items in users.items())
    frame = read(DataConfig(source="sequences", path=write(directory / name, text)))
    expected = [(user, item) for user, items in users.items() for item in items]
    assert frame.rows() == [tuple(map(id_text, row)) for row in expected]


def in_order(rows: list[tuple[str, str, int]]) -> list[tuple[str, str, int]]:
    """By user, then time; rows of one user and second stay as they are."""
    return sorted(rows, key=lambda row: (row[0].encode(), row[2]))


@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.txt", "a.tsv.gz", "a.csv.gz", "a.parquet"])
@given(rows=st.lists(st.tuples(IDS, IDS, SECONDS), min_size=1, max_size=12), blank=st.booleans())
def test_a_table_is_sorted_by_user_and_time_and_ties_keep_the_file_order(
    directory, name, rows, blank
):
    path = directory / name
    columns = ("user_id", "item_id", "timestamp")
    if name == "a.parquet":
        pl.DataFrame(rows, schema=columns, orient="row").write_parquet(path)
    else:
        write(path, table(columns, rows, "," if ".csv" in name else "\t", blank))
    frame = read(DataConfig(source="table", path=str(path)))
    expected = in_order([(id_text(user), id_text(item), time) for user, item, time in rows])
    assert frame.select("user", "item", "timestamp").rows() == expected


def table(columns: tuple[str, ...], rows: list, separator: str, blank: bool) -> str:
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


def test_many_ties_keep_the_file_order(put):
    config = put("a.tsv", HEADER + "".join(f"{n % 3}\t{n}\t{n % 7}\n" for n in range(20_000)))
    frame = read(config).with_columns(pl.col("item").cast(pl.Int64))
    assert frame.equals(frame.sort("user", "timestamp", "item"))


def test_other_columns_quotes_blank_lines_and_a_byte_order_mark_do_no_harm(put):
    config = put(
        "a.csv",
        '\ufeffnote,who,what\r\n"a ""b"", c",1,"x,y"\r\n\r\n"two\nlines",1,z\r\n,1,w\r\n',
        user_column="who",
        item_column="what",
        timestamp_column="",
    )
    assert rows(read(config)) == [("1", "x,y"), ("1", "z"), ("1", "w")]


def test_quotes_in_tab_separated_files_are_plain_characters(put):
    config = put("a.tsv", HEADER + '1\t"x\t1\n1\ty"\t2\n')
    assert rows(read(config)) == [("1", '"x'), ("1", 'y"')]


@pytest.mark.parametrize(
    "times",
    [
        ("0", "1463184000", "1463270400"),
        ("0.0", "1463184000.0", "1.4632704e9"),
        ("0", "1463184000123", "1463270400999"),
        ("1970-01-01", "2016-05-14", "2016-05-15"),
        ("1970-01-01T00:00:00Z", "2016-05-14 02:00:00+02:00", "2016-05-15T00:00:00.25"),
        ("1970-01-01 00:00", "2016-05-14T02:00+02", "2016-05-15T02:00:00.25+02"),
        ("1970-01-01T00:00Z", "2016-05-13 22:30-01:30", "2016-05-15"),
    ],
)
def test_times_come_out_in_seconds_utc(put, times):
    frame = read(put("a.csv", "user_id,item_id,timestamp\n" + "".join(f"1,i,{t}\n" for t in times)))
    assert frame["timestamp"].to_list() == [0, 1463184000, 1463270400]


def test_times_of_parquet_are_understood(put):
    config = put("a.parquet", "")
    days = pl.Series(["1970-01-01", "2016-05-14"]).str.to_date()
    pl.DataFrame({"user_id": [1, 1], "item_id": [1, 2], "timestamp": days}).write_parquet(
        config.path
    )
    assert read(config)["timestamp"].to_list() == [0, 1463184000]


def parquet(put, **columns):
    """A file of one user's two interactions, with other columns in place of some."""
    config = put("a.parquet", "", rating_column="stars")
    plain = {"user_id": [1, 1], "item_id": [1, 2], "timestamp": [3, 4], "stars": [5, 5]}
    pl.DataFrame(plain | columns).write_parquet(config.path)
    return config


@pytest.mark.parametrize(
    ("column", "values", "kind"),
    [
        ("user_id", [[1], [1]], r"List\(Int64\)"),
        ("item_id", [{"a": 1}, {"a": 2}], "Struct"),
        ("timestamp", [[1], [1]], r"List\(Int64\)"),
        ("timestamp", [datetime.time(1), datetime.time(2)], "Time"),
        ("timestamp", [datetime.timedelta(1), datetime.timedelta(2)], "Duration"),
        ("timestamp", [True, False], "Boolean"),
        ("stars", [b"1", b"2"], "Binary"),
        ("stars", [datetime.date(2020, 1, 1)] * 2, "Date"),
    ],
)
def test_parquet_columns_of_other_types_are_named(put, column, values, kind):
    with pytest.raises(UserError, match=rf"a\.parquet: column '{column}' is of type {kind}"):
        read(parquet(put, **{column: values}))


def test_parquet_columns_of_any_fitting_type_are_read(put):
    columns = {
        "user_id": pl.Series(["a", "a"], dtype=pl.Categorical),
        "timestamp": pl.Series(["5", "6"]).cast(pl.Decimal(10, 2)),
        "stars": pl.Series(["4", "5"], dtype=pl.Categorical),
    }
    frame = read(parquet(put, **columns))
    assert rows(frame, "user", "timestamp", "rating") == [("a", 5, 4.0), ("a", 6, 5.0)]


@pytest.mark.parametrize("rows", [1, 2, 100])
def test_stretches_make_the_whole(put, rows):
    users = pl.Series(["a", "b", "a"], dtype=pl.Categorical)
    items = pl.Series(["y", "x", "y"], dtype=pl.Enum(["x", "y"]))
    path = Path(put("a.parquet", "").path)
    pl.DataFrame({"user_id": users, "item_id": items}).write_parquet(path)
    found = tables.stretches(path, tables.read_header(path), ["item_id", "user_id"], rows)
    whole = [(n, *row) for one in found for n, row in zip(one.lines, one.frame.rows(), strict=True)]
    assert whole == [(1, "y", "a"), (2, "x", "b"), (3, "y", "a")]


def test_whole_numbers_in_a_column_of_floats_are_ids_without_a_point(put):
    frame = read(parquet(put, user_id=[-17.0, -17.0], item_id=[1.5, 2.0**53]))
    assert rows(frame, "user", "item") == [("-17", "1.5"), ("-17", "9007199254740992")]


def test_bytes_are_ids_where_they_are_text(put):
    assert rows(read(parquet(put, item_id=[b"a", "\u00e9".encode()])))[1] == ("1", "\u00e9")
    with pytest.raises(UserError, match=r"row 2: column 'item_id' is not UTF-8 text"):
        read(parquet(put, item_id=[b"a", b"\xff"]))


@pytest.mark.parametrize(
    "ids",
    [
        ["10.0", "11", "12.00", "-3.0", "x.0", "1.50"],
        ["10", "11.0", "12", "-3", "x.0", "1.50"],
    ],
)
def test_an_id_is_the_same_however_its_number_is_written(put, ids):
    """A missing value makes 10.0 of the ids of a column, and none in the next file."""
    expected = [("1", one) for one in ("10", "11", "12", "-3", "x.0", "1.50")]
    lines = "".join(f"1.0,{one},{n}\n" for n, one in enumerate(ids))
    assert rows(read(put("a.csv", "user_id,item_id,timestamp\n" + lines))) == expected
    assert rows(read(put("sequences.txt", "1.0 " + " ".join(ids)))) == expected
    path = put("a.parquet", "").path
    columns = {"user_id": [b"1.0"] * 6, "item_id": ids, "timestamp": [*range(6)]}
    pl.DataFrame(columns).write_parquet(path)
    assert rows(read(DataConfig(source="table", path=path))) == expected


def test_missing_numbers_are_no_ids(put):
    with pytest.raises(UserError, match=r"row 2: column 'item_id' is empty"):
        read(parquet(put, item_id=[1.0, float("nan")]))


def test_times_beyond_64_bits_are_named(put):
    times = pl.Series([3, 2**63], dtype=pl.UInt64)
    with pytest.raises(UserError, match=r"row 2: timestamp '9223372036854775808'"):
        read(parquet(put, timestamp=times))


def test_the_order_within_a_second_is_kept(put):
    config = put("a.tsv", HEADER + "1\tlate\t1463184000900\n1\tearly\t1463184000100\n")
    assert rows(read(config)) == [("1", "early"), ("1", "late")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        (HEADER, "no rows"),
        ("user_id\titem_id\ttimestamp\titem_id\n", "line 1: column 'item_id' occurs more than"),
        ("who\titem_id\ttimestamp\n", "'user_id'.*data.user_column.*columns are who, item_id"),
        (HEADER + "1\t2\t3\n1\t2\n", "line 3: 2 fields where the header has 3"),
        (HEADER + "1\t2\t3\n\n1\t2\t3\t4\n", "line 4: 4 fields where the header has 3"),
        ("user_id\titem_id\tx\ttimestamp\ty\n1\t2\t\t3\t\n1\t2\t9\t9\t4\t\n", "line 3: 6 fields"),
        ("user_id,item_id,timestamp\r1,2,3\r", "lines end in CR alone"),
        (gzip.compress(HEADER.encode(), mtime=0), "is compressed by gzip; .* ends in .gz"),
        (HEADER + "1\t2\t3\n\n1\t2\tx\n", "line 4: timestamp 'x'"),
        (HEADER + "1\t2\t2016-05-14\n1\t2\t2016-05-99\n", "line 3: timestamp '2016-05-99'"),
        (HEADER + "1\t2\t3\n1\t2\t\n", "line 3: column 'timestamp' is empty"),
        (HEADER + "1\t2\t3\n1\t2\t4\n1\t2\t1463184000123\n", "line 4: .* another unit"),
        (HEADER + "1\t2\t3\n1\t\t3\n", "line 3: column 'item_id' is empty"),
        (HEADER.encode() + b"1\t\xff\t3\n", "not UTF-8"),
    ],
)
def test_wrong_tables_name_the_line(put, content, message):
    with pytest.raises(UserError, match=rf"a\.tsv.*{message}"):
        read(put("a.tsv", content))


def test_a_bare_quote_names_its_line(put):
    lines = ['7,"x, ""y"" z",2,3\n'] * 30
    lines[20] = '7,5" disk,2,3\n'
    with pytest.raises(UserError, match=r"a\.csv, line 22: a quote inside a field"):
        read(put("a.csv", "user_id,note,item_id,timestamp\n" + "".join(lines)))


def test_a_column_has_one_meaning(put):
    with pytest.raises(
        UserError, match=r"data\.user_column and data\.item_column are both 'user_id'"
    ):
        read(put("a.tsv", HEADER + "1\t2\t3\n", item_column="user_id"))


def test_seconds_among_milliseconds_are_told(put, caplog):
    content = HEADER + "1\t2\t1463184000123\n1\t3\t1463184000\n1\t4\t1463184000999\n1\t5\t0\n"
    assert rows(read(put("a.tsv", content)), "timestamp")[-1] == (1463184000,)
    assert "1 of 4 timestamps" in caplog.text and "a.tsv, line 3: 1463184000" in caplog.text


def test_lines_are_those_of_an_editor_where_quoted_fields_span_several(put):
    config = put("a.csv", 'user_id,note,item_id,timestamp\n1,"a\nb",2,3\n1,"c\nd",2,x\n')
    with pytest.raises(UserError, match=r"a\.csv, line 4: timestamp 'x'"):
        read(config)


def test_a_damaged_gzip_file_is_an_error(put):
    config = put("a.tsv.gz", HEADER + "1\t2\t3\n" * 1000)
    with open(config.path, "r+b") as file:
        file.truncate(60)
    with pytest.raises(UserError, match=r"a\.tsv\.gz"):
        read(config)


@pytest.mark.parametrize("name", ["a.parquet", "a.xlsx"])
def test_a_file_that_is_no_table_is_an_error(put, name):
    with pytest.raises(UserError, match=name):
        read(put(name, "what is this"))


def test_a_missing_file_says_where_to_get_it(tmp_path):
    config = DataConfig(source="table", path=str(tmp_path / "no.csv"), hint="get it at the office")
    with pytest.raises(UserError, match=r"no\.csv.*data\.path.*get it at the office"):
        read(config)
    with pytest.raises(UserError, match=r"xxx \(option data\.path\) does not exist"):
        read(DataConfig(source="table", path=500 * "x"))
    with pytest.raises(UserError, match=r"~no-such-user/a\.csv .* does not exist"):
        read(DataConfig(source="table", path="~no-such-user/a.csv"))
    with pytest.raises(UserError, match=r"data\.path names no file"):
        read(DataConfig(source="table"))


def test_recbole_files_have_typed_headers(put):
    options = {"source": "recbole", "rating_column": "rating"}
    content = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    content += "1\t2\t4.5\t9\n1\t3\t2\t8\n"
    frame = read(put("a.inter", content, **options))
    assert rows(frame, "item", "rating", "timestamp") == [("3", 2.0, 8), ("2", 4.5, 9)]
    with pytest.raises(UserError, match=r"line 1: column 'user_id' has no type"):
        read(put("a.inter", HEADER, **options))
    with pytest.raises(UserError, match=r"line 3: rating 'good'"):
        read(put("a.inter", content.replace("\t2\t8", "\tgood\t8"), **options))


def test_given_splits_are_read(put):
    content = "user_id,item_id,timestamp,split\n1,1,1,train\n1,2,2,valid\n1,3,3,test\n"
    frame = read(put("a.csv", content, split="given"))
    assert frame["split"].to_list() == [TRAIN, VALIDATION, TEST]
    with pytest.raises(UserError, match=r"line 3: split 'val' must be one of train, valid"):
        read(put("a.csv", content.replace("valid", "val"), split="given"))


def test_ties_are_ordered_by_given_split(put):
    """A time that a user's rows share says nothing of their order, and the splits do."""
    header = "user_id,item_id,timestamp,split\n"
    content = header + "u,d,9,test\nu,c,9,valid\nu,a,9,train\nu,b,9,train\n"
    assert [item for _, item in rows(read(put("a.csv", content, split="given")))] == list("abcd")


@pytest.mark.parametrize("empty", ["rating", "split", "user_id", "item_id", "timestamp"])
def test_an_empty_cell_is_called_empty(put, empty):
    row = {"user_id": "u", "item_id": "i", "timestamp": "1", "rating": "5", "split": "train"}
    lines = [",".join(row), ",".join(row.values()), ",".join((row | {empty: ""}).values())]
    config = put("a.csv", "\n".join(lines), rating_column="rating", split="given")
    with pytest.raises(UserError, match=rf"a\.csv, line 3: column '{empty}' is empty"):
        read(config)


@pytest.mark.parametrize("option", ["path", "item_text"])
@pytest.mark.parametrize("url", ["https://example.org/a.csv", "https:/a.org/a.csv", "s3://b/c"])
def test_a_url_is_no_path(option, url):
    config = DataConfig(source="table", **{option: url})
    with pytest.raises(UserError, match=rf"^{url} \(option data\.{option}\) is a URL"):
        read(config) if option == "path" else read_item_text(config, pl.Series(["1"]))


def test_item_text_is_found_by_id_and_may_be_missing(put, tmp_path):
    put("t.tsv", 'item_id\ttitle\tsort\n3\tThe "best" \tA\n1\t\tB\n2\t\t\n9\tx\ty\n3\tagain\tC\n')
    config = DataConfig(item_text=str(tmp_path / "t.tsv"), text_columns=("title", "sort"))
    text = read_item_text(config, pl.Series(["1", "2", "3", "4"]))
    assert text.to_list() == ["B", None, 'The "best" A', None]
    with pytest.raises(UserError, match=r"none of the 1 items.*text_id_column"):
        read_item_text(config, pl.Series(["77"]))
    with pytest.raises(UserError, match=r"no column 'name'.*data\.text_columns"):
        read_item_text(
            DataConfig(item_text=config.item_text, text_columns=("name",)), pl.Series(["1"])
        )


def test_item_text_of_recbole(put, tmp_path):
    put("m.item", "item_id:token\tmovie_title:token_seq\n1\tToy Story\n")
    config = DataConfig(item_text=str(tmp_path / "m.item"), text_columns=("movie_title",))
    assert read_item_text(config, pl.Series(["1"])).to_list() == ["Toy Story"]
