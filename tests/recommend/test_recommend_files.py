"""--mode=recommend: every good row has its list, every wrong one its line, and nothing is lost."""

import dataclasses
import datetime
import decimal
import gzip
import io
import json
import os

from absl import flags
from absl.testing import flagsaver
import polars as pl
import pytest
from rich.console import Console

from rearec_jax.commands import recommend
from rearec_jax.data.own_files import by_user, records, user_rows
from rearec_jax.data.own_files.user_rows import Columns
from rearec_jax.errors import UserError
from rearec_jax.recommend import model_directory, recommend_files
from rearec_jax.recommend.recommend_files import Request, recommend_file
from rearec_jax.run import lock
from tests.recommend.test_recommender import recommender

COLUMNS = Columns("user_id", "items", "item_id", "timestamp")
URL = "https://example.org/a.csv"
USERS = {f"u{n}": [f"i{(n + m) % 30}" for m in range(1 + n % 4)] for n in range(25)}


@pytest.fixture(scope="module")
def rec():
    return recommender()[0]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(user_rows, "ROWS", 4)


def run(rec, tmp_path, source, output="out.parquet", **options):
    request = Request(str(source), str(tmp_path / output), COLUMNS, k=5, **options)
    return recommend_file(rec, request, "model", Console(file=io.StringIO()))


def lists(path):
    frame = pl.read_csv(path) if path.suffix == ".csv" else pl.read_parquet(path)
    assert frame.columns == ["user_id", "rank", "item_id", "score", "by"]
    grouped = frame.sort("user_id", "rank").group_by("user_id", maintain_order=True)
    return {user: items for user, items in grouped.agg("item_id").iter_rows()}


@pytest.fixture
def expected(rec):
    found = rec.recommend(list(USERS.values()), k=5).ids
    return dict(zip(USERS, found, strict=True))


def write_by_user(path):
    frame = pl.DataFrame({"user_id": list(USERS), "items": list(USERS.values())})
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    else:
        separator = "\t" if path.suffix == ".tsv" else ","
        frame.with_columns(pl.col("items").list.join(" ")).write_csv(path, separator=separator)
    return path


@pytest.mark.parametrize("name", ["in.parquet", "in.csv", "in.tsv"])
@pytest.mark.parametrize("output", ["out.parquet", "out.csv"])
def test_a_row_a_user(rec, tmp_path, expected, name, output):
    counts = run(rec, tmp_path, write_by_user(tmp_path / name), output)
    assert lists(tmp_path / output) == expected
    assert (counts.users, counts.wrong, counts.unknown) == (25, 0, 0)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, output])


@pytest.mark.parametrize("dates", [False, True])
def test_interactions_in_any_order(rec, tmp_path, expected, dates, monkeypatch):
    monkeypatch.setattr("rearec_jax.data.own_files.by_user.FILE_BYTES", 200)  # several files
    rows = [
        (user, item, f"2020-01-{day + 1:02}" if dates else str(100 + day))
        for user, items in USERS.items()
        for day, item in enumerate(items)
    ]
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")
    frame.sample(fraction=1, shuffle=True, seed=1).write_csv(tmp_path / "in.csv")
    run(rec, tmp_path, tmp_path / "in.csv")
    assert lists(tmp_path / "out.parquet") == expected


def test_interactions_are_dealt_to_a_file_a_part_that_is_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(by_user, "FILE_BYTES", 200)
    lines = [f"{user},{item}\n" for user, items in USERS.items() for item in items]
    (tmp_path / "in.csv").write_text("user_id,item_id\n" + "".join(lines))
    on_disk = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: on_disk.append(os.fstat(file)) or real(file))

    def dealt(name):
        source = user_rows.open_input(str(tmp_path / "in.csv"), COLUMNS)
        rows = by_user.users(source, tmp_path / name, lambda read: None)
        users = [user for piece in rows for user in piece.users]
        assert sorted(users) == sorted(USERS)
        return {file.name: file.stat() for file in (tmp_path / name).glob("*.arrows")}

    together = dealt("together")  # dealt once
    monkeypatch.setattr(records, "BLOCK", 100)
    often = dealt("often")
    assert len(together) > 2
    assert together.keys() == often.keys()
    sizes = {(file.st_ino, file.st_size) for file in on_disk}
    assert {(file.st_ino, file.st_size) for file in [*together.values(), *often.values()]} <= sizes


def test_a_stopped_deal_begins_again(tmp_path, monkeypatch):
    monkeypatch.setattr(by_user, "FILE_BYTES", 200)
    monkeypatch.setattr(records, "BLOCK", 100)
    lines = [f"{user},{item}\n" for user, items in USERS.items() for item in items]
    (tmp_path / "in.csv").write_text("user_id,item_id\n" + "".join(lines))

    def dealt(show):
        source = user_rows.open_input(str(tmp_path / "in.csv"), COLUMNS)
        rows = by_user.users(source, tmp_path / "users", show)
        return [one for piece in rows for one in zip(piece.users, piece.values, strict=True)]

    def stop(read):
        if read > 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dealt(stop)
    assert list((tmp_path / "users").glob("*.arrows"))  # some rows are there, and not to be twice
    whole = dealt(lambda read: None)
    assert dict(whole) == {user: list(items) for user, items in USERS.items()}

    def never(read):
        raise AssertionError

    assert dealt(never) == whole  # a finished deal is used again


def test_without_times_the_order_of_the_file_counts(rec, tmp_path, expected):
    lines = [f"{user},{item}\n" for user, items in USERS.items() for item in items]
    with gzip.open(tmp_path / "in.csv.gz", "wt") as file:
        file.write("user_id,item_id\n" + "".join(lines))
    run(rec, tmp_path, tmp_path / "in.csv.gz")
    assert lists(tmp_path / "out.parquet") == expected


def test_wrong_rows_are_told_and_the_rest_done(rec, tmp_path):
    (tmp_path / "in.csv").write_bytes(
        b"user_id,items\r\nu0,i0\nu1,i1,i2\n,i3\n\nu2,i2 i3\nb\xffd,i1\nu3,\nu4,i4 zzz\n"
        b'u5,"i1 i2\nu6,"i6 i7"\n'
    )
    counts = run(rec, tmp_path, tmp_path / "in.csv", wrong_share=1.0)
    assert set(lists(tmp_path / "out.parquet")) == {"u0", "u2", "u3", "u4", "u6"}
    wrong = pl.read_csv(tmp_path / "out.parquet.errors.csv").rows()
    assert wrong == [
        (3, "3 fields where the header has 2"),
        (4, "column 'user_id' is empty"),
        (7, "not UTF-8 text; convert the file to UTF-8"),
        (10, "a quote that no other closes"),
    ]
    assert (counts.users, counts.wrong, counts.unknown, counts.fallback) == (5, 4, 1, 1)
    by = pl.read_parquet(tmp_path / "out.parquet").group_by("user_id").agg(pl.col("by").first())
    assert dict(by.iter_rows())["u3"] == "popularity"


def test_a_quoted_field_may_have_line_ends(rec, tmp_path, monkeypatch):
    """As in training: each row is read whole, in whatever block it begins or ends."""
    lines = [
        f'{user},{item},"one\ntwo, ""three""",{day}\n'
        for user, items in USERS.items()
        for day, item in enumerate(items)
    ]
    content = "user_id,item_id,comment,timestamp\n" + "".join(lines)
    (tmp_path / "in.csv").write_text(content)
    for block in (10, 1000, 10**6):
        monkeypatch.setattr(records, "BLOCK", block)
        counts = run(rec, tmp_path, tmp_path / "in.csv")
        assert (counts.users, counts.wrong, counts.items) == (25, 0, len(lines))
        assert lists(tmp_path / "out.parquet") == dict(
            zip(USERS, rec.recommend(list(USERS.values()), k=5).ids, strict=True)
        )


@pytest.mark.parametrize("name", ["in.txt", "in.txt.gz", "in.inter", "in.parquet.gz"])
def test_files_that_can_be_trained_on_can_be_recommended_for(rec, tmp_path, expected, name):
    rows = [(user, item) for user, items in USERS.items() for item in items]
    frame = pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row")
    if ".parquet" in name:
        frame.write_parquet(tmp_path / "whole")
        content = (tmp_path / "whole").read_bytes()
    else:
        content = frame.write_csv(separator="\t").encode()
    if name == "in.inter":
        content = content.replace(b"\t", b":token\t", 1).replace(b"\n", b":token\n", 1)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    run(rec, tmp_path, tmp_path / name)
    assert lists(tmp_path / "out.parquet") == expected


@pytest.mark.parametrize("form", ["[{}]", "{}", '["{}"]', "['{}']"])
def test_lists_in_cells_of_text(rec, tmp_path, expected, form):
    separator = '", "' if '"' in form else "', '" if "'" in form else ","
    cells = [form.format(separator.join(items)) for items in USERS.values()]
    frame = pl.DataFrame({"user_id": list(USERS), "items": cells})
    frame.write_csv(tmp_path / "in.tsv", separator="\t", quote_style="never")
    run(rec, tmp_path, tmp_path / "in.tsv")
    assert lists(tmp_path / "out.parquet") == expected


def test_ids_that_no_item_has_are_not_answered_with_what_is_popular(rec, tmp_path):
    (tmp_path / "in.csv").write_text("user_id,items\nu0,i1;i2\nu1,i3|i4\n")
    with pytest.raises(UserError, match=r"none of the 2 ids in column 'items' is an item"):
        run(rec, tmp_path, tmp_path / "in.csv")
    assert not (tmp_path / "out.parquet").exists()
    (tmp_path / "in.csv").write_text("user_id,items\nu0,\nu1,\n")  # new users: nothing is wrong
    assert run(rec, tmp_path, tmp_path / "in.csv").fallback == 2


@pytest.mark.parametrize(
    ("wrong", "share", "words"),
    [
        (1, 0.1, None),
        (2, 0.1, r"2 of 11 rows are wrong.* the first, line 11: column 'user_id' is empty"),
        (2, 0.2, None),
        (2, 0.0, r"raise --wrong_share=0\."),
        (2, 1.5, r"--wrong_share=1.5 must lie between 0 and 1"),
        (2, float("nan"), r"--wrong_share=nan must lie between 0 and 1"),
    ],
)
@pytest.mark.parametrize("by_user", [True, False])
def test_a_share_of_wrong_rows(rec, tmp_path, by_user, wrong, share, words):
    header, row = ("items", "i1 i2") if by_user else ("item_id", "i1")
    lines = [f"u{n},{row}\n" for n in range(9)] + [f",{row}\n"] * wrong
    (tmp_path / "in.csv").write_text(f"user_id,{header}\n" + "".join(lines))
    if words is None:
        counts = run(rec, tmp_path, tmp_path / "in.csv", wrong_share=share)
        assert (counts.users, counts.wrong) == (9, wrong)
        return
    with pytest.raises(UserError, match=words):
        run(rec, tmp_path, tmp_path / "in.csv", wrong_share=share)
    assert not (tmp_path / "out.parquet").exists()
    assert (tmp_path / "out.parquet.errors.csv").exists() == (share < 1)
    if share == 0.0:  # what was done is not done again
        assert len(list((tmp_path / "out.parquet.parts").glob("0*.parquet"))) >= 2
        stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "out.parquet.parts").glob("0*")}
        with pytest.raises(UserError):
            run(rec, tmp_path, tmp_path / "in.csv", wrong_share=0.01)
        assert stamps == {path: path.stat().st_mtime_ns for path in stamps}


def test_nobody_left_is_an_error_whatever_the_share(rec, tmp_path):
    (tmp_path / "in.csv").write_text("user_id,items\n,i1\n,i2\n")
    with pytest.raises(UserError, match=r"2 of 2 rows are wrong; correct them\."):
        run(rec, tmp_path, tmp_path / "in.csv", wrong_share=1.0)
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize("at_once", [1, 10, 100])
def test_users_with_several_rows_are_counted(rec, tmp_path, monkeypatch, at_once):
    monkeypatch.setattr(recommend_files, "_AT_ONCE", at_once)
    lines = [f"u{n % 8},i{n}\n" for n in range(11)]
    (tmp_path / "in.csv").write_text("user_id,items\n" + "".join(lines))
    counts = run(rec, tmp_path, tmp_path / "in.csv")
    assert (counts.users, counts.repeated) == (11, 3)
    (tmp_path / "in.csv").write_text("user_id,item_id\n" + "".join(lines))
    counts = run(rec, tmp_path, tmp_path / "in.csv")
    assert (counts.users, counts.repeated) == (8, 0)


def test_times_below_a_microsecond_are_ordered(rec, tmp_path):
    start = 1_600_000_000 * 10**9
    times = pl.Series([start + 3, start + 1, start + 2]).cast(pl.Datetime("ns"))
    frame = pl.DataFrame({"user_id": ["u"] * 3, "item_id": ["i3", "i1", "i2"], "timestamp": times})
    frame.write_parquet(tmp_path / "in.parquet")
    run(rec, tmp_path, tmp_path / "in.parquet")
    assert lists(tmp_path / "out.parquet")["u"] == list(
        rec.recommend([["i1", "i2", "i3"]], 5)[0].ids
    )


@pytest.mark.parametrize("option", ["input", "output", "exclude", "candidates"])
def test_a_url_is_no_path(rec, tmp_path, option, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_by_user(tmp_path / "in.csv")
    request = Request(
        **({"input": "in.csv", "output": "o.csv", "columns": COLUMNS} | {option: URL})
    )
    with pytest.raises(UserError, match=rf"^{URL} \(option --{option}\) is a URL"):
        recommend_file(rec, request, "model", Console(file=io.StringIO()))
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_a_users_directory(rec, tmp_path, monkeypatch):
    """Shells leave the ~ of `--output=~/out.csv` to the program."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(tmp_path)
    write_by_user(home / "in.csv")
    (home / "ids.txt").write_text("i1\ni2\n")
    for option in ("exclude", "candidates"):
        request = Request("~/in.csv", "~/out.csv", COLUMNS, **{option: "~/ids.txt"})
        recommend_file(rec, request, "model", Console(file=io.StringIO()))
    assert set(pl.read_csv(home / "out.csv")["item_id"]) <= {"i1", "i2"}
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


@pytest.mark.parametrize("name", ["in.csv", "in.parquet"])
@pytest.mark.parametrize("options", [("user", "items"), ("user", "item"), ("item", "timestamp")])
def test_a_column_has_one_meaning(tmp_path, name, options):
    frame = pl.DataFrame({"user_id": ["u"], "item_id": ["i1"], "timestamp": [1]})
    write = frame.write_csv if name == "in.csv" else frame.write_parquet
    write(tmp_path / name)
    both = dict.fromkeys(options, "item_id")
    with pytest.raises(
        UserError, match=rf"--{options[0]}_column and --{options[1]}_column are both 'item_id'"
    ):
        user_rows.open_input(str(tmp_path / name), dataclasses.replace(COLUMNS, **both))


def test_a_catalogue_with_points_still_knows_its_items(rec, tmp_path):
    """Earlier versions took 17.0 in a CSV file for another id than 17."""
    ids = rec.items.ids.to_list()
    items = dataclasses.replace(rec.items, ids=pl.Series(["17.0", "4", *ids[2:]]))
    old = dataclasses.replace(rec, items=items)
    (tmp_path / "in.csv").write_text("user_id,items\nu,17.0 4\nv,17 4.0\n")
    counts = run(old, tmp_path, tmp_path / "in.csv")
    assert counts.unknown == 0
    found = lists(tmp_path / "out.parquet")
    assert found["u"] == found["v"]


@pytest.mark.parametrize("name", ["in.csv", "in.tsv"])
def test_a_long_history_is_no_wrong_row(rec, tmp_path, name):
    separator = "\t" if name == "in.tsv" else ","
    many = " ".join(["i1"] * 50_000)
    assert len(many) > 131_072  # the most that Python's csv reads of a field, unless it is told
    (tmp_path / name).write_text(f"user_id{separator}items\nu0{separator}{many}\n")
    counts = run(rec, tmp_path, tmp_path / name)
    assert (counts.users, counts.wrong) == (1, 0)


def test_ids_of_any_column_are_as_in_text(tmp_path):
    items = [[17.0, 2.0**53], [None], [float("nan")], [0.5], [1e17]]
    found = pieces_of(tmp_path, pl.Series([b"u", "\xe9".encode(), b"\xff", b"v", b"w"]), items)
    # An id that may be trained on, 0.5 as in text, may be asked for.
    assert found.users == ["u", "v"] and found.values == [["17", "9007199254740992"], ["0.5"]]
    reasons = {one.line: one.reason for one in found.wrong}
    assert reasons == {
        2: "an item id is empty",
        3: "column 'user_id' is not UTF-8 text",
        5: "an item id: 1e+17 is neither text nor an exact number",
    }
    found = pieces_of(
        tmp_path, pl.Series([1, 2]), [[decimal.Decimal("3.00")], [decimal.Decimal(4)]]
    )
    assert found.users == ["1", "2"] and found.values == [["3"], ["4"]]
    found = pieces_of(tmp_path, ["u"], pl.Series([[0.1, 17.0]], dtype=pl.List(pl.Float32)))
    assert found.values == [["0.1", "17"]]
    found = pieces_of(tmp_path, ["u"], pl.Series([[2.0**25]], dtype=pl.List(pl.Float32)))
    assert "neither text nor an exact number" in found.wrong[0].reason
    found = pieces_of(tmp_path, ["u", "v", "w"], [b"i1 i2", b"[1, 2]", b"\xff"])
    assert found.values == [["i1", "i2"], ["1", "2"]] and found.wrong[0].line == 3
    for unfit in (True, datetime.date(2020, 1, 2)):
        found = pieces_of(tmp_path, pl.Series([unfit]), [["i1"]])
        assert "neither text nor" in found.wrong[0].reason and not found.users


def pieces_of(tmp_path, users, items):
    pl.DataFrame({"user_id": users, "items": items}).write_parquet(tmp_path / "in.parquet")
    source = user_rows.open_input(str(tmp_path / "in.parquet"), COLUMNS)
    both = list(user_rows.pieces(source))
    return user_rows.Piece(
        *(
            [one for piece in both for one in getattr(piece, name)]
            for name in ("lines", "users", "values", "wrong")
        )
    )


def test_wrong_interactions_are_told(rec, tmp_path):
    (tmp_path / "in.csv").write_text(
        "user_id,item_id,timestamp\nu0,i0,1\nu0,,2\nu1,i1,yesterday\nu2,i2,3\nu2,i3,NaN\n"
    )
    counts = run(rec, tmp_path, tmp_path / "in.csv", wrong_share=0.6)
    assert set(lists(tmp_path / "out.parquet")) == {"u0", "u2"} and counts.wrong == 3
    wrong = pl.read_csv(tmp_path / "out.parquet.errors.csv").rows()
    needed = "where seconds since 1970 (a number) or an ISO date is needed"
    assert wrong == [
        (3, "column 'item_id' is empty"),
        (4, f"timestamp 'yesterday' {needed}"),
        (6, f"timestamp 'NaN' {needed}"),
    ]


def test_a_stopped_run_continues(rec, tmp_path, expected, monkeypatch):
    source, done = write_by_user(tmp_path / "in.parquet"), []
    real = recommend_files._lists

    def stopping(recommender, options, piece):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(piece.lines)
        return real(recommender, options, piece)

    monkeypatch.setattr(recommend_files, "_lists", stopping)
    with pytest.raises(KeyboardInterrupt):
        run(rec, tmp_path, source)
    assert not (tmp_path / "out.parquet").exists()
    assert len(list((tmp_path / "out.parquet.parts").glob("0*.parquet"))) == 3

    again = []
    monkeypatch.setattr(recommend_files, "_lists", lambda *a: again.append(a[2].lines) or real(*a))
    counts = run(rec, tmp_path, source)
    assert lists(tmp_path / "out.parquet") == expected and counts.users == 25
    assert not {line for lines in again for line in lines} & {n for part in done for n in part}


def test_parts_of_other_work_are_not_continued(rec, tmp_path, expected):
    source = write_by_user(tmp_path / "in.parquet")
    parts = tmp_path / "out.parquet.parts"
    parts.mkdir()
    (parts / "about.json").write_text(json.dumps(["something else"]))
    (parts / "00000000.json").write_text("{}")
    run(rec, tmp_path, source)
    assert lists(tmp_path / "out.parquet") == expected


def test_two_with_one_output_are_refused(rec, tmp_path):
    source = write_by_user(tmp_path / "in.parquet")
    parts = tmp_path / "out.parquet.parts"
    parts.mkdir()
    with lock.alone(parts), pytest.raises(UserError, match=r"in use .* another --output"):
        run(rec, tmp_path, source)
    run(rec, tmp_path, source)
    assert not parts.exists()


def test_a_model_trained_again_is_another_one(tmp_path):
    best = tmp_path / "checkpoints/best/780"
    best.mkdir(parents=True)
    before = model_directory.identity(tmp_path)
    assert model_directory.identity(tmp_path) == before
    best.rename(tmp_path / "old")  # still there, so that its inode is not taken again
    best.mkdir()
    assert model_directory.identity(tmp_path) != before


def test_the_identity_is_that_of_before_the_model_is_read(tmp_path, monkeypatch):
    (tmp_path / "manifest.json").write_text("old")
    before, told = model_directory.identity(tmp_path), []

    def changed(path):
        (tmp_path / "manifest.json").write_text("new")

    def keep(recommender, request, model):
        told.append(model)
        return recommend_files.Counts()

    monkeypatch.setattr(model_directory, "load", changed)
    monkeypatch.setattr(recommend_files, "recommend_file", keep)
    with flagsaver.flagsaver():
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()
        flags.FLAGS.input, flags.FLAGS.output = "in.csv", "out.csv"
        recommend.recommend_run(str(tmp_path))
    assert told == [repr(before)]


def test_options(rec, tmp_path):
    source = write_by_user(tmp_path / "in.csv")
    (tmp_path / "some.txt").write_text("i1\r\ni2\n\ni3\n", encoding="utf-8-sig")
    (tmp_path / "out.txt").write_text("i2\n")
    files = {"candidates": str(tmp_path / "some.txt"), "exclude": str(tmp_path / "out.txt")}
    run(rec, tmp_path, source, exclude_seen=False, **files)
    assert {tuple(sorted(items)) for items in lists(tmp_path / "out.parquet").values()} == {
        ("i1", "i3")
    }


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        (None, {}, r"in.csv \(option --input\) does not exist"),
        ("user_id,items\n", {"output": "out.txt"}, r"must end in .parquet or .csv"),
        ("who,items\n", {}, r"needs a column 'user_id' \(--user_column\)"),
        ("user_id,x\n", {}, r"'items' \(--items_column\) or 'item_id'"),
        ("user_id,items\n", {"steps": 9}, r"steps=9 must lie between 0 and the 2"),
        ("user_id,items\n", {"steps": -7}, r"steps=-7 must be 0 or more, or -1"),
        ("user_id,items\n", {"output": "directory.csv"}, r"directory.csv is a directory"),
        ("user_id,items\n", {"exclude": "no"}, r"file no \(option --exclude\) does not exist"),
        (
            "user_id,items\n",
            {"candidates": "latin"},
            r"latin, line 1: not UTF-8 text",
        ),
        ("user_id,items\n", {"output": "no/where/out.csv"}, r"cannot write"),
    ],
)
def test_mistakes_leave_nothing(rec, tmp_path, monkeypatch, content, options, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "latin").write_bytes(b"caf\xe9\n")
    (tmp_path / "directory.csv").mkdir()
    if content is not None:
        (tmp_path / "in.csv").write_text(content)
    if options.get("output", "").startswith("no"):
        (tmp_path / "no").write_text("a file")
    with pytest.raises(UserError, match=words):
        run(rec, tmp_path, tmp_path / "in.csv", **({"output": "out.csv"} | options))
    assert not list(tmp_path.glob("out*"))


def test_the_input_is_not_replaced(rec, tmp_path):
    source = write_by_user(tmp_path / "in.csv")
    before = source.read_bytes()
    with pytest.raises(UserError, match="is the input"):
        run(rec, tmp_path, source, "in.csv")
    assert source.read_bytes() == before


@pytest.mark.parametrize("name", ["in.csv.gz", "in.parquet"])
def test_a_file_that_breaks_off_is_said(rec, tmp_path, name):
    whole = write_by_user(tmp_path / "whole.parquet").read_bytes()
    if name == "in.csv.gz":
        whole = gzip.compress(write_by_user(tmp_path / "whole.csv").read_bytes())
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=rf"{name} cannot be read"):
        run(rec, tmp_path, tmp_path / name)
    assert not (tmp_path / "out.parquet").exists()


def test_no_rows_an_empty_file(rec, tmp_path):
    (tmp_path / "in.csv").write_text("user_id,items\n")
    assert run(rec, tmp_path, tmp_path / "in.csv", "out.csv").users == 0
    assert (tmp_path / "out.csv").read_text() == "user_id,rank,item_id,score,by\n"
