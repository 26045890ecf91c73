"""Files as people have them: each kind is read, and one line says what it was taken for."""

import bz2
import gzip
import logging
import lzma
from pathlib import Path
import uuid
import zipfile

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rearec_jax import config as config_lib
from rearec_jax.config import DataConfig
from rearec_jax.data import prepare
from rearec_jax.data.interactions import CONTEXT, TEST, TRAIN, VALIDATION
from rearec_jax.data.own_files import by_user, user_rows
from rearec_jax.data.own_files.readers import read
from rearec_jax.errors import UserError

# In no order: of each user i3, i1, i2 by time.
ROWS = [("u2", "i1", 5), ("u1", "i2", 9), ("u2", "i3", 4), ("u1", "i3", 1), ("u2", "i2", 8)]
ROWS += [("u1", "i1", 3)]
NAMES = ("user_id", "item_id", "timestamp")
EXPECTED = [(user, item) for user in ("u1", "u2") for item in ("i3", "i1", "i2")]
FRAME = pl.DataFrame(ROWS, schema=NAMES, orient="row")


def text(separator=",", header=True, rows=ROWS, names=NAMES) -> str:
    lines = [names] * header + rows
    return "".join(separator.join(map(str, line)) + "\n" for line in lines)


def config(path, **options) -> DataConfig:
    return config_lib.resolve({"data": {"source": "table", "path": str(path), **options}}).data


def found(path, *columns, **options):
    return read(config(path, **options)).select(columns or ("user", "item")).rows()


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", "::", " ", "   "])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.txt", "a.dat", "a"])
@pytest.mark.parametrize("header", [True, False])
def test_any_separator_is_found(tmp_path, caplog, separator, name, header):
    path = write(tmp_path / name, text(separator, header))
    with caplog.at_level(logging.INFO, logger="rearec_jax"):
        assert found(path, columns="" if header else "who,item,ts", **_who(header)) == EXPECTED
    word = {"\t": "tab"}.get(separator, "blank" if separator.isspace() else f"'{separator}'")
    assert f"{word} separated, {'header' if header else 'no header'}, user=" in caplog.text


def _who(header):
    return {} if header else {"user_column": "who"}


def test_blanks_part_fields_only_where_nothing_else_does(tmp_path):
    rows = [(user, item, f"2020-01-01 10:00:0{time} UTC") for user, item, time in ROWS]
    for separator in (",", ";", "\t"):
        assert found(write(tmp_path / "a.txt", text(separator, rows=rows))) == EXPECTED
        path = write(tmp_path / "b.txt", text(separator, header=False, rows=rows))
        assert found(path, columns="user,item,time") == EXPECTED


def test_a_separator_may_be_told(tmp_path):
    path = write(tmp_path / "a.csv", text("~"))
    assert found(path, separator="~") == EXPECTED
    quoted = 'user_id;item_id;timestamp\n"u;1";i;1\n"u;1";"j;";2\n'
    assert found(write(tmp_path / "b.csv", quoted), separator=";") == [("u;1", "i"), ("u;1", "j;")]
    assert found(write(tmp_path / "c.csv", text("\t")), separator="tab") == EXPECTED


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_file_without_a_header(tmp_path, ending):
    lines = [f"\ufeff{u}\t2010-10-1{t}T0{t}:00:00Z\t30.2\t-97.7\t{i}" for u, i, t in ROWS]
    path = write(tmp_path / "checkins.txt", ending.join(lines[:1] + [x[1:] for x in lines[1:]]))
    assert found(path, columns="user,timestamp,_,_,item") == EXPECTED
    with pytest.raises(UserError, match=r"line 1: 5 fields where data\.columns has 3"):
        found(path, columns="user,timestamp,item")
    path = write(tmp_path / "ratings.csv", "A1,B1,5.0,1369699200\nA1,B2,5.0,1369699201\n")
    with pytest.raises(UserError, match=r"no header, perhaps.*data\.columns=user,item.*'user_id'"):
        found(path)
    assert (
        found(path, "item", "timestamp", columns="user,item,rating,timestamp")[0][1] == 1369699200
    )


@pytest.mark.parametrize("kind", [".gz", ".bz2", ".xz", ".zst", ".zip"])
@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.feather"])
def test_packed_files(tmp_path, caplog, kind, name):
    plain = tmp_path / name
    if name == "a.csv":
        write(plain, text())
    elif name == "a.parquet":
        FRAME.write_parquet(plain)
    else:
        FRAME.write_ipc(plain)
    path = pack(plain, kind)
    with caplog.at_level(logging.INFO, logger="rearec_jax"):
        assert found(path) == EXPECTED
    assert f": {kind}, " in caplog.text
    if kind != ".zip":  # whose directory at its end tells that it is cut
        write(path, path.read_bytes()[:-9])
    else:
        write(path, path.read_bytes()[:-30])
    with pytest.raises(UserError, match=rf"a\.[a-z]+{kind}.* cannot be read"):
        found(path)


def pack(path: Path, kind: str) -> Path:
    target, content = path.with_name(path.name + kind), path.read_bytes()
    if kind == ".zip":
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr(path.name, content)
            file.writestr("__MACOSX/._" + path.name, b"x")
        return target
    pack = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
    pack[".zst"] = lambda content: pa.compress(content, "zstd", asbytes=True)
    return write(target, pack[kind](content))


def test_zstandard_in_several_frames(tmp_path):
    half = text().index("u2,i3")
    parts = (text()[:half], text()[half:])
    packed = b"".join(pa.compress(part.encode(), "zstd", asbytes=True) for part in parts)
    assert found(write(tmp_path / "a.csv.zst", packed)) == EXPECTED


def test_a_file_of_an_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "ml.zip", "w") as file:
        file.writestr("ml/README", "words")
        file.writestr("ml/ratings.dat", text("::", header=False))
    with pytest.raises(UserError, match=r"ml\.zip holds 2 files: ml/README, ml/ratings\.dat; name"):
        found(tmp_path / "ml.zip")
    path = tmp_path / "ml.zip" / "ml" / "ratings.dat"
    assert found(path, columns="user,item,timestamp") == EXPECTED
    with pytest.raises(UserError, match=r"no\.dat .* does not exist"):
        found(tmp_path / "ml.zip" / "ml" / "no.dat")


@pytest.mark.parametrize("name", ["a.feather", "a.arrow", "a.ipc", "b"])
@pytest.mark.parametrize("stream", [False, True])
def test_arrow(tmp_path, name, stream):
    path = tmp_path / name
    if stream and name != "b":
        FRAME.write_ipc_stream(path)
    else:
        FRAME.write_ipc(path, compression="zstd")
    assert found(path) == EXPECTED


def spark(directory: Path, split_by: str = "") -> Path:
    write(directory / "_SUCCESS", "")
    for number, row in enumerate(ROWS):
        frame = pl.DataFrame([row], schema=NAMES, orient="row")
        place = directory
        if split_by:
            place = directory / f"{split_by}={frame[split_by][0]}"
            frame = frame.drop(split_by)
        place.mkdir(exist_ok=True, parents=True)
        frame.write_parquet(place / f"part-{number:05}-x.c000.snappy.parquet")
        write(place / f".part-{number:05}-x.c000.snappy.parquet.crc", "crc")
    return directory


@pytest.mark.parametrize("split_by", ["", "timestamp", "user_id"])
def test_directories_of_spark(tmp_path, caplog, split_by):
    path = spark(tmp_path / "data", split_by)
    with caplog.at_level(logging.INFO, logger="rearec_jax"):
        assert found(path) == EXPECTED
    assert "and 5 more: columns, user=user_id" in caplog.text
    assert found(f"{path}/**/*.parquet") == EXPECTED
    assert sorted(found(path, "timestamp")) == [(1,), (3,), (4,), (5,), (8,), (9,)]


def test_dates_in_the_path_are_times(tmp_path):
    for user, item, time in ROWS:
        place = tmp_path / f"date=2024-01-0{time}"
        write(place / f"{user}.csv", f"user_id,item_id\n{user},{item}\n")
    assert found(tmp_path) == EXPECTED
    assert found(f"{tmp_path}/date=*") == EXPECTED
    assert len(found(f"{tmp_path}/date=*[13]")) == 2


def test_a_list_of_files_and_their_faults(tmp_path):
    one, two = (text(rows=rows) for rows in (ROWS[:2], ROWS[2:]))
    paths = write(tmp_path / "a.csv", one), write(tmp_path / "b.csv", two)
    assert found(", ".join(map(str, paths))) == EXPECTED
    assert found(tmp_path / "*.csv") == EXPECTED
    write(paths[1], two.replace("u1,i3,1", "u1,i3,x"))
    with pytest.raises(UserError, match=r"b\.csv, line 3: timestamp 'x'"):
        found(tmp_path)
    write(paths[1], two.replace("item_id", "article"))
    with pytest.raises(UserError, match=r"b\.csv has no column 'item_id', which .*a\.csv has"):
        found(tmp_path)
    FRAME.write_parquet(tmp_path / "c.parquet")
    with pytest.raises(UserError, match=r"several kinds \(\.csv, \.parquet\); name those"):
        found(tmp_path)
    with pytest.raises(UserError, match=r"no file matches .*x\*\.csv \(option data\.path\)"):
        found(tmp_path / "x*.csv")


def test_more_names_than_one_path_may_have_letters(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [write(Path(f"part-{n:05}-of-00030.csv"), text(rows=ROWS[:1])) for n in range(30)]
    assert len(found(",".join(map(str, names)))) == 30


def test_a_name_with_a_comma_or_a_star_is_a_name(tmp_path):
    for name in ("a,b.csv", "a*.csv", "[a].csv"):
        assert found(write(tmp_path / name / name, text())) == EXPECTED


def test_files_with_ids_of_other_types(tmp_path):
    for name, ids in {"a": [17, 4], "b": [17.0, None]}.items():
        frame = pl.DataFrame({"user_id": [1, 1], "item_id": ids, "timestamp": [1, 2]})
        frame.drop_nulls().write_parquet(tmp_path / f"{name}.parquet")
    assert found(tmp_path) == [("1", "17"), ("1", "17"), ("1", "4")]
    frame.with_columns(item_id=pl.lit("x")).write_parquet(tmp_path / "c.parquet")
    assert ("1", "x") in found(tmp_path)
    frame.with_columns(item_id=pl.Series([["x"], ["y"]])).write_parquet(tmp_path / "d.parquet")
    with pytest.raises(UserError, match=r"column 'item_id' has other types in other files"):
        found(tmp_path)


LISTS = {"u2": ["i3", "i1", "i2"], "u1": ["i3", "i1", "i2"]}


@pytest.mark.parametrize("kind", [pl.List(pl.String), pl.Array(pl.String, 3)])
@pytest.mark.parametrize("times", [False, True])
def test_a_row_a_user(tmp_path, kind, times):
    items = [items[::-1] if times else items for items in LISTS.values()]
    columns = {"user_id": list(LISTS), "item_id": pl.Series(items, dtype=kind)}
    columns |= {"timestamp": [[3, 2, 1], [9, 5, 4]]} if times else {}
    pl.DataFrame(columns).write_parquet(tmp_path / "a.parquet")
    assert found(tmp_path / "a.parquet") == EXPECTED


@pytest.mark.parametrize(
    "cell", ['"[""i3"", ""i1"", ""i2""]"', "\"['i3', 'i1', 'i2']\"", '"[i3, i1, i2]"']
)
@pytest.mark.parametrize("name", ["item_id", "items"])
def test_a_row_a_user_as_text(tmp_path, cell, name):
    path = write(tmp_path / "a.csv", f"user,{name}\nu2,{cell}\nu1,{cell}\n")
    assert found(path) == EXPECTED
    assert found(write(tmp_path / "b.csv", "user,items\nu2,i3 i1 i2\nu1,i3 i1 i2\n")) == EXPECTED
    # An id in brackets is one.
    path = write(tmp_path / "c.csv", "user,item,time\nu,[i],1\nu,[j],2\n")
    assert found(path) == [("u", "[i]"), ("u", "[j]")]


def test_lists_that_do_not_fit(tmp_path):
    path = tmp_path / "a.parquet"
    frame = pl.DataFrame({"user_id": ["a", "b"], "item_id": [["x"], ["y", "z"]]})
    frame.with_columns(timestamp=pl.Series([[1], [2]])).write_parquet(path)
    with pytest.raises(UserError, match=r"row 2: column 'item_id' has 2 values and column 'time"):
        found(path)
    frame.with_columns(user_id=pl.lit("a")).write_parquet(path)
    with pytest.raises(UserError, match=r"row 2: user a already has a row"):
        found(path)
    frame.with_columns(item_id=pl.Series([["x"], ["y", None]])).write_parquet(path)
    with pytest.raises(UserError, match=r"row 2: column 'item_id' is empty"):
        found(path)


@pytest.mark.parametrize("items", ["a, b, c", "a,b,c", "a , b,c,", "a,\tb,\tc"])
@pytest.mark.parametrize("between", [" ", "\t", ", "])
def test_no_comma_stays_on_an_id(tmp_path, items, between):
    path = write(tmp_path / "a.txt", f"u{between}{items}\nv{between}{items}\n")
    expected = [(user, item) for user in "uv" for item in "abc"]
    assert found(path, source="sequences") == expected


def test_sequences_in_several_files(tmp_path):
    write(tmp_path / "a.txt", "u x y\nv x z\n")
    write(tmp_path / "b.txt.gz", gzip.compress(b"w a b\nu z x\n"))
    by_user = {}
    for user, item in found(tmp_path, source="sequences"):
        by_user.setdefault(user, []).append(item)
    assert by_user == {"u": list("xyzx"), "v": list("xz"), "w": list("ab")}


IDS = [uuid.UUID(int=n) for n in (7, 2**127 + 5)]


@pytest.mark.parametrize("kind", ["uuid", "fixed", "bytes", "text"])
def test_uuids_are_text(tmp_path, kind):
    types = {"uuid": pa.uuid(), "fixed": pa.binary(16), "bytes": pa.binary(), "text": pa.string()}
    values = [str(one) if kind == "text" else one.bytes for one in IDS]
    storage = pa.array(values, pa.binary(16) if kind == "uuid" else types[kind])
    users = pa.ExtensionArray.from_storage(pa.uuid(), storage) if kind == "uuid" else storage
    table = pa.table({"user_id": users, "item_id": ["i", "j"], "timestamp": [1, 2]})
    pq.write_table(table, tmp_path / "a.parquet")
    assert found(tmp_path / "a.parquet") == [(str(IDS[0]), "i"), (str(IDS[1]), "j")]


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        ("userId,movieId,rating,timestamp", ("userId", "movieId", "timestamp")),
        ("reviewerID,asin,overall,unixReviewTime", ("reviewerID", "asin", "unixReviewTime")),
        ("timestamp,visitorid,event,itemid", ("visitorid", "itemid", "timestamp")),
        ("review_id,user_id,business_id,date", ("user_id", "business_id", "date")),
        ("session_id,User ID,product_id,ts", ("User ID", "product_id", "ts")),
        ("uid,item,time", ("uid", "item", "time")),
    ],
)
def test_obvious_columns_are_found_and_said(tmp_path, caplog, names, taken):
    columns = names.split(",")
    rows = [tuple(dict(zip(taken, row, strict=True)).get(n, 0) for n in columns) for row in ROWS]
    path = write(tmp_path / "a.csv", text(rows=rows, names=tuple(columns)))
    with caplog.at_level(logging.INFO, logger="rearec_jax"):
        assert found(path) == EXPECTED
    assert "user={}, item={}, time={} in s".format(*taken) in caplog.text


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("user,asin,parent_asin,time", "several .* item: asin, parent_asin; name one by data.item"),
        (
            "a,item_id,timestamp",
            r"no column 'user_id' \(option data.user_column\).* are a, item_id",
        ),
        ("user_id,item_id,time,date", "several .* time: time, date; name one by data.timestamp_"),
        ("user_id,item_id,when", r"no column 'timestamp' .*'' if the rows are in time order"),
    ],
)
def test_columns_that_are_not_obvious_are_refused(tmp_path, message, names):
    path = write(tmp_path / "a.csv", f"{names}\n{','.join('1' * len(names.split(',')))}\n")
    with pytest.raises(UserError, match=message):
        found(path)


def test_a_named_column_is_never_replaced(tmp_path):
    path = write(tmp_path / "a.csv", text(names=("userId", "item_id", "timestamp")))
    with pytest.raises(UserError, match=r"no column 'customer' \(option data\.user_column\)"):
        found(path, user_column="customer")


PARTS = {"train": ROWS[3:4] + ROWS[2:3], "valid": ROWS[5:6] + ROWS[:1], "test": ROWS[1:2]}
PARTS["test"] = PARTS["test"] + ROWS[4:5]


@pytest.mark.parametrize("times", [True, False])
def test_files_of_each_split(tmp_path, times):
    for name, rows in PARTS.items():
        write(tmp_path / f"{name}.csv", text(rows=rows))
    options = {"validation_path": str(tmp_path / "valid.csv"), "path": str(tmp_path / "train.csv")}
    options |= {} if times else {"timestamp_column": ""}
    frame = read(config(**options, test_path=str(tmp_path / "test.csv")))
    assert frame.select("user", "item").rows() == EXPECTED
    assert frame["split"].to_list() == 2 * [TRAIN, VALIDATION, TEST]
    assert read(config(**options))["split"].to_list() == 2 * [TRAIN, VALIDATION]
    with pytest.raises(UserError, match=r"data\.validation_path and data\.test_path need"):
        config(**options, split="time")


def test_prepared_data_know_which_split_a_file_is(tmp_path):
    path = write(tmp_path / "train.csv", text())
    held_out = write(tmp_path / "more.csv", text(rows=[("u1", "i1", 10), ("u2", "i2", 10)]))
    for option, code in (("validation_path", VALIDATION), ("test_path", TEST)):
        options = {option: str(held_out), "cache_dir": str(tmp_path / "cache")}
        assert (prepare.prepare(config(path, **options)).split == code).sum() == 2


def test_given_splits_without_validation_or_without_test(tmp_path):
    rows = [(f"u{n % 3}", f"i{n % 5}", n) for n in range(15)]
    for last, codes in (("valid", VALIDATION), ("test", TEST)):
        given = [(*row, last if row[2] > 11 else "train") for row in rows]
        path = write(tmp_path / "a.csv", text(rows=given, names=(*NAMES, "split")))
        data = prepare.build(config(path, split="given"))
        assert data.split.tolist() == 3 * [CONTEXT, TRAIN, TRAIN, TRAIN, codes]


def test_events(tmp_path):
    rows = [(*row, "view" if row[2] > 3 else "buy") for row in ROWS] + [("", "", "", "login")]
    path = write(tmp_path / "a.csv", text(rows=rows, names=(*NAMES, "event")))
    views = [("u1", "i2"), ("u2", "i3"), ("u2", "i1"), ("u2", "i2")]
    assert found(path, event_column="event", events="view") == views
    assert found(path, events="view") == views
    assert found(path, events="view, buy") == EXPECTED
    with pytest.raises(UserError, match=r"'event' is sell .*data\.events.*there are buy, login"):
        found(path, events="view,sell")
    with pytest.raises(UserError, match=r"data\.event_column=event needs data\.events"):
        config(path, event_column="event")


@pytest.mark.parametrize(
    ("duplicates", "items", "count"),
    [("keep", "xxyyx", 0), ("drop", "xyx", 2), ("last", "yx", 3)],
)
def test_repeated_interactions(tmp_path, caplog, duplicates, items, count):
    path = write(tmp_path / "a.csv", "user,item,time\na,x,1\na,x,1\na,x,3\na,y,2\na,y,2\n")
    assert found(path, "item", duplicates=duplicates) == [(item,) for item in items]
    assert (f"{count} of 5 interactions are left out" in caplog.text) == bool(count)


def test_shares_of_the_interactions(tmp_path):
    """Times that rise ever faster: shares of the time span would make the test of nearly all."""
    rows = [(f"u{n % 2}", f"i{n % 5}", 2**n) for n in range(30)]
    path = write(tmp_path / "a.csv", text(rows=rows))
    data = prepare.build(config(path, split="interaction_fraction"))
    assert [int((data.split == code).sum()) for code in (VALIDATION, TEST)] == [3, 3]
    assert data.timestamps[data.split == VALIDATION].min() == 2**24
    assert data.timestamps[data.split == TEST].min() == 2**27


@pytest.mark.parametrize("single", ["drop", "keep"])
def test_minima_of_users_and_of_items(tmp_path, caplog, single):
    """Four users have i0 .. i3, one has two items, one of which is nobody else's."""
    rows = [(f"u{u}", f"i{n}", n) for u in range(4) for n in range(4)]
    rows += [("few", "i0", 0), ("few", "rare", 1)]
    path = write(tmp_path / "a.csv", text(rows=rows))
    data = prepare.build(config(path, min_user=3, single_users=single))
    assert ("few" in list(data.user_ids)) == ("rare" in list(data.item_ids)) == (single == "keep")
    assert "1 users with fewer than 3 interactions" in caplog.text
    if single == "keep":
        assert data.split[: data.offsets[1]].tolist() == [CONTEXT, CONTEXT]
    data = prepare.build(config(path, min_item=2))
    assert "rare" not in list(data.item_ids) and data.num_items == 4
    assert "1 items with fewer than 2" in caplog.text
    assert prepare.build(config(path, core=3, min_user=1, min_item=1)).num_users == 5


@pytest.mark.parametrize("kind", ["", ".zst", ".zip"])
def test_recommending_reads_what_training_reads(tmp_path, kind):
    path = write(tmp_path / "a.csv", text(";", names=("visitorid", "itemId", "ts")))
    path = pack(path, kind) if kind else path
    columns = user_rows.Columns("user_id", "items", "item_id", "timestamp")
    source = user_rows.open_input(str(path), columns)
    pieces = list(by_user.users(source, tmp_path / "users", lambda read: None))
    rows = [(u, i) for one in pieces for u, items in zip(one.users, one.values) for i in items]  # noqa: B905
    assert sorted(rows, key=lambda row: row[0]) == EXPECTED == found(path)
    path = write(tmp_path / "b.csv", "uid|item_ids\nu1|i3,i1\n")
    piece = next(user_rows.pieces(user_rows.open_input(str(path), columns)))
    assert (piece.users, piece.values) == (["u1"], [["i3", "i1"]])


@pytest.mark.parametrize(
    "options",
    [
        {"source": "table", "path": "~no-such-user/a.csv"},
        {"source": "table", "path": "~no-such-user/*.csv"},
        {"builder": "yelp", "path": "~no-such-user/yelp", "tfds_dir": "tfds"},
        {"builder": "yelp", "tfds_dir": "~no-such-user/tfds"},
        {"builder": "software", "mirror": "~no-such-user/mirror", "tfds_dir": "tfds"},
        {"builder": "software", "download_dir": "~no-such-user/x", "tfds_dir": "tfds"},
        {"source": "table", "path": "a.csv", "cache_dir": "~no-such-user/x"},
    ],
)
def test_the_home_of_nobody(tmp_path, monkeypatch, options):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.csv", text())
    with pytest.raises(UserError, match="~no-such-user"):
        prepare.prepare(config_lib.resolve({"data": {"source": "tfds", **options}}).data)
    assert not list(tmp_path.glob("~*"))


def test_moved_directories_have_the_same_prepared_data(tmp_path):
    path = spark(tmp_path / "data", "user_id")
    options = {"cache_dir": str(tmp_path / "cache"), "split": "leave_one_out"}
    options["min_history"] = 1
    with pytest.raises(UserError, match="no target is left for training"):
        prepare.prepare(config(path, **options))
    first = prepare._key(config(path, **options))
    moved = path.rename(tmp_path / "moved")
    assert prepare._key(config(moved, **options)) == first
    (moved / "user_id=u1").rename(moved / "user_id=u3")
    assert prepare._key(config(moved, **options)) != first
