"""Data that are cut, damaged or not what they say: the file and the place in it are named."""

import decimal
import gzip
import io
import itertools
import json
import os
import re

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from rearec_jax import config as config_lib
from rearec_jax.config import Config
from rearec_jax.data import prepare
from rearec_jax.data.interactions import CONTEXT, TEST, TRAIN, VALIDATION, Interactions
from rearec_jax.data.item_vectors import vectors
from rearec_jax.data.own_files import by_user, user_rows
from rearec_jax.data.published.line_blocks import Malformed, blocks
from rearec_jax.errors import UserError
from rearec_jax.recommend.recommend_files import Request, recommend_file
from rearec_jax.run.events import read_events
from rearec_jax.run.workdir import Workdir
from rearec_jax.studies.analysis import comparable_runs
from tests.faults.tiny_run import run, tiny
from tests.recommend.test_recommender import recommender

USERS = [f"u{user} " + " ".join(f"i{(3 * user + n) % 11}" for n in range(6)) for user in range(40)]
SEQUENCES = "\n".join(USERS) + "\n"
TABLE = "user_id,item_id,timestamp\n" + "".join(
    f"u{user},i{(3 * user + n) % 11},{1_000_000_000 + n}\n" for user in range(40) for n in range(6)
)


@pytest.fixture
def make(tmp_path):
    """A configuration of a file with this content; other options as given."""

    def config(name: str, content: bytes, **options: dict) -> Config:
        (tmp_path / name).write_bytes(content)
        source = "sequences" if name.startswith("sequences") else "table"
        data = {"source": source, "path": str(tmp_path / name), "cache_dir": str(tmp_path / "kept")}
        data |= options.pop("data", {})
        return config_lib.resolve({"data": data} | options)

    return config


def refused(config: Config) -> str:
    with pytest.raises(UserError) as caught:
        prepare.prepare(config.data)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["a.csv.gz", "sequences.txt.gz"])
def test_compressed_file_cut_in_the_middle(make, name):
    content = gzip.compress((TABLE if name == "a.csv.gz" else SEQUENCES).encode())
    for end in (5, len(content) // 2, len(content) - 4):
        said = refused(make(name, content[:end]))
        assert name in said
        assert re.search("cannot be read|ended before the end-of-stream", said)


@pytest.mark.parametrize("name", ["reviews.json.gz"])
def test_compressed_lines_cut_in_the_middle(tmp_path, name):
    lines = b"".join(
        json.dumps({"n": n, "text": "x" * (n % 7)}).encode() + b"\n" for n in range(99)
    )
    path = tmp_path / name
    path.write_bytes(gzip.compress(lines)[:-20])
    with pytest.raises(UserError, match=r"reviews\.json\.gz cannot be read beyond line"):
        list(blocks(path))


def test_plain_file_cut_in_the_middle(make):
    """A cut between two lines cannot be seen; one inside of a line can."""
    cut = TABLE.encode()[: TABLE.index("u20,i5") + len("u20")]
    assert "line 122: 1 fields where the header has 3" in refused(make("a.csv", cut))
    cut = SEQUENCES.encode()[: SEQUENCES.index("u20") + len("u20 i")]
    assert "line 21: user u20 has 1 item(s)" in refused(make("sequences.txt", cut))
    frame = pl.read_csv(TABLE.encode())
    path = make("a.parquet", b"").data.path
    frame.write_parquet(path)
    with open(path, "rb") as file:
        whole = file.read()
    assert "cannot be read as Parquet" in refused(make("a.parquet", whole[: len(whole) // 2]))


def test_too_many_malformed_lines(tmp_path):
    """Of JSON lines a few that are damaged are left out and counted; many are an error."""
    malformed = Malformed(tmp_path / "reviews.json", lines=1000)
    malformed.add(17, "no JSON")
    malformed.check(most=0.001)
    malformed.add(18, "no JSON")
    with pytest.raises(UserError, match=r"2 of 1,000 lines malformed \(the first: line 17: no JS"):
        malformed.check(most=0.001)


def test_text_that_is_not_utf8(make):
    content = TABLE.encode().replace(b"u20,i5", b"u\xff0,i5")
    line = content[: content.index(b"\xff")].count(b"\n") + 1
    assert f", line {line}: not UTF-8 text; convert the file" in refused(make("a.csv", content))


def text_model(make, tmp_path, **text) -> tuple[Config, Interactions]:
    config = make(
        "sequences.txt", SEQUENCES.encode(), text={"vectors": str(tmp_path / "v.npy")} | text
    )
    return config, prepare.prepare(config.data)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_vector_that_is_not_finite(make, tmp_path, value):
    config, data = text_model(make, tmp_path)
    matrix = np.ones((data.num_items, 4))
    matrix[3, 2] = value
    np.save(tmp_path / "v.npy", matrix)
    with pytest.raises(UserError, match=r"v\.npy, row 4: a value that is not a finite number"):
        vectors.item_vectors(config, data)


def test_vectors_of_the_wrong_length(make, tmp_path):
    config, data = text_model(make, tmp_path)
    np.save(tmp_path / "v.npy", np.ones((data.num_items + 1, 4)))
    with pytest.raises(UserError, match=r"v\.npy has 12 rows for 11 items"):
        vectors.item_vectors(config, data)
    (tmp_path / "v.ids.txt").write_text("i0\ni1\n")
    with pytest.raises(UserError, match=r"v\.ids\.txt has 2 ids for the 12 rows"):
        vectors.item_vectors(config, data)
    path = tmp_path / "v.parquet"
    pl.DataFrame({"item_id": ["i0", "i1"], "v": [[1.0, 2.0], [1.0]]}).write_parquet(path)
    config, data = text_model(make, tmp_path, vectors=str(path))
    with pytest.raises(UserError, match=r"v\.parquet, row 2: 1 numbers where the first has 2"):
        vectors.item_vectors(config, data)


def test_item_text_of_other_items(make, tmp_path):
    """Items without a text are no mistake, a table without a single item is."""
    text = tmp_path / "titles.tsv"
    text.write_text("item_id\ttitle\ni3\tred scarf\nx9\toak table\n")
    config = make("sequences.txt", SEQUENCES.encode(), data={"item_text": str(text)})
    assert prepare.prepare(config.data).item_text.drop_nulls().to_list() == ["red scarf"]
    text.write_text("item_id\ttitle\nx9\toak table\n")
    assert "titles.tsv has text for none of the 11 items" in refused(config)
    text.write_text("item_id\ttitle\ni3\tred\tscarf\n")
    assert "titles.tsv, line 2: 3 fields where the header has 2" in refused(config)


@pytest.mark.parametrize("wrong", [-1, 11, 2**31 - 1])
def test_item_id_out_of_range(make, wrong, caplog):
    """In prepared arrays, where an index too large would silently become the largest."""
    config = make("sequences.txt", SEQUENCES.encode())
    data = prepare.prepare(config.data)
    (kept,) = prepare.cache_directory(config.data).glob("*/items.npy")
    items = np.array(data.items)
    items[7] = wrong
    kept.unlink()  # not in its place: `data` maps it
    np.save(kept, items)
    with pytest.raises(UserError, match="an item id is not below the number of items, 11"):
        Interactions.load(kept.parent)
    again = prepare.prepare(config.data)
    assert "preparing the data again" in caplog.text
    np.testing.assert_array_equal(again.items, data.items)


def test_prepared_arrays_cut_in_the_middle(make, caplog):
    config = make("sequences.txt", SEQUENCES.encode())
    data = prepare.prepare(config.data)
    digest = data.digests()
    for path in prepare.cache_directory(config.data).glob("*/*"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        caplog.clear()
        assert prepare.prepare(config.data).digests() == digest
        assert "preparing the data again" in caplog.text


def test_data_file_changed_since_it_was_prepared(make, tmp_path):
    """Same name, same size, same time: what counts is what is in it."""
    config = make("sequences.txt", SEQUENCES.encode())
    before = prepare.prepare(config.data)
    path = tmp_path / "sequences.txt"
    times = path.stat()
    path.write_text(SEQUENCES.replace("u3 i9 i10", "u3 i10 i9"))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    after = prepare.prepare(config.data)
    assert len(after.items) == len(before.items)
    assert (after.items != before.items).sum() == 2


def test_data_file_changed_since_the_run_began(tmp_path):
    path = tmp_path / "data.txt"
    path.write_text(SEQUENCES)
    options = {"data__source": "sequences", "data__path": str(path)}
    config = tiny(**options, data__cache_dir=str(tmp_path / "kept"), train__epochs=1)
    run(tmp_path / "run", config)
    path.write_text(SEQUENCES.replace("u3 i9 i10", "u3 i10 i9"))
    with pytest.raises(
        UserError, match=r"no longer those that .*run was trained on; bring the old"
    ):
        run(tmp_path / "run", config)
    path.write_text(SEQUENCES)
    run(tmp_path / "run", config)


def test_empty_validation_split(make):
    config = make(
        "a.csv",
        TABLE.encode(),
        data={"split": "time", "valid_from": "2030-01-01", "test_from": "2031-01-01"},
    )
    said = refused(config)
    assert "no target is left for validation" in said
    assert "the data run from 2001-09-09 to 2001-09-09, so change data.valid_from" in said


def test_ties_without_times(make):
    for ties in ("untied", "expected"):
        said = refused(make("a.csv", TABLE.encode(), data={"ties": ties, "timestamp_column": ""}))
        assert f"data.ties={ties} needs times" in said and "data.timestamp_column" in said
    same = "".join(f"{line.rsplit(',', 1)[0]},7\n" for line in TABLE.splitlines()[1:])
    table = TABLE.splitlines()[0] + "\n" + same
    said = refused(make("b.csv", table.encode(), data={"ties": "untied"}))
    assert "data.ties=untied leaves no target for validation" in said


def test_times_that_do_not_fit_the_items(make, tmp_path):
    times = tmp_path / "times.txt"
    times.write_text("1 10 20\n")
    options = {"source": "sequences", "times_path": str(times)}
    said = refused(make("items.txt", b"1 4 5 6\n", data=options))
    assert "times.txt, line 1: user 1 has 2 times, where line 1 of" in said
    assert "items.txt has 3 items of user 1" in said


def test_user_with_one_item(make, caplog):
    content = (TABLE + "lonely,rare,1000000000\nu0,scarce,1000000009\n").encode()
    data = prepare.prepare(make("a.csv", content).data)
    assert data.num_users == 40 and "1 users with one interaction are left out" in caplog.text
    assert "scarce" in list(data.item_ids) and "rare" not in list(data.item_ids)
    data = prepare.prepare(make("a.csv", content, data={"single_users": "keep"}).data)
    assert data.num_users == 41 and {"rare", "scarce"} <= set(data.item_ids)
    alone = b"user_id,item_id,timestamp\na,x,1\nb,x,1\n"
    assert "all 2 users have one interaction only" in refused(make("b.csv", alone))


@pytest.mark.parametrize("kind", [pl.Datetime("ns"), pl.Decimal(38, 9), pl.Float32])
def test_times_that_differ_by_nanoseconds(make, caplog, kind):
    path = make("a.parquet", b"").data.path
    nanoseconds = pl.Series([1_600_000_000 * 10**9 + n for n in (3, 0, 2, 1)])
    times = nanoseconds.cast(kind) if kind == pl.Datetime("ns") else None
    if kind == pl.Decimal(38, 9):
        times = pl.Series([decimal.Decimal(n).scaleb(-9) for n in nanoseconds], dtype=kind)
    elif times is None:
        times = (nanoseconds // 10**9 + nanoseconds % 10).cast(kind)
    frame = pl.DataFrame({"user_id": ["u"] * 4, "item_id": list("dacb"), "timestamp": times})
    frame.write_parquet(path)
    data = prepare.build(make("b.csv", b"", data={"path": path}).data)
    found = data.item_ids.gather(data.items).to_list()
    assert found == list("dacb" if kind == pl.Float32 else "abcd")
    assert ("4 of 4 interactions have the time of another" in caplog.text) == (kind == pl.Float32)


GIVEN = "user_id,item_id,timestamp,split\nu,d,9,test\nu,c,9,valid\nu,a,9,train\nu,b,9,train\n"


def test_given_splits_at_the_same_time(make):
    data = prepare.build(make("a.csv", GIVEN.encode(), data={"split": "given"}).data)
    assert data.item_ids.gather(data.items).to_list() == list("abcd")
    assert data.split.tolist() == [CONTEXT, TRAIN, VALIDATION, TEST]


def given_split(place, held_out):
    """The options of a file whose users end with an interaction of this split, after training."""
    rows = [
        f"u{user},i{(3 * user + n) % 11},{n},{held_out if n == 5 else 'train'}\n"
        for user in range(20)
        for n in range(6)
    ]
    (place / "a.csv").write_text("user_id,item_id,timestamp,split\n" + "".join(rows))
    options = {"data__source": "table", "data__path": str(place / "a.csv")}
    return options | {"data__split": "given", "data__cache_dir": str(place / "kept")}


def test_given_splits_without_validation(tmp_path, caplog):
    config = tiny(**given_split(tmp_path, "test"), train__epochs=3, train__patience=1)
    summary = run(tmp_path / "run", config)
    assert (summary["train"]["epochs"], summary["best_epoch"]) == (3, 3)
    assert "valid" not in summary and summary["test"]["ndcg@10"] > 0
    assert "no validation: the last epoch's parameters" in summary["notes"]
    assert "no validation target" in caplog.text
    events = read_events(Workdir(tmp_path / "run"))
    assert [event["epoch"] for event in events if event["kind"] == "validation"] == [1, 2, 3]
    assert run(tmp_path / "run", config)["test"] == summary["test"]


def test_given_splits_without_a_test(tmp_path):
    config = tiny(**given_split(tmp_path, "valid"), train__epochs=1)
    summary = run(tmp_path / "run", config)
    assert "test" not in summary and summary["valid"]["ndcg@10"] > 0
    assert "no test: the results are those of the validation" in summary["notes"]
    with pytest.raises(UserError, match="data have no test split"):
        comparable_runs.read([str(tmp_path / "run")])
    assert not (tmp_path / "run" / "ranks.parquet").exists()


COLUMNS = user_rows.Columns("user_id", "items", "item_id", "timestamp")


def test_line_end_in_a_quoted_field(make, tmp_path):
    """Training and recommending see the same interactions."""
    header, *rows = TABLE.splitlines()
    content = f"{header},note\n" + "".join(f'{row},"one\n""two"", three"\n' for row in rows)
    data = prepare.build(make("a.csv", content.encode()).data)
    assert (data.num_users, data.num_interactions) == (40, 240)
    source = user_rows.open_input(str(tmp_path / "a.csv"), COLUMNS)
    pieces = list(by_user.users(source, tmp_path / "users", lambda read: None))
    assert not [wrong for piece in pieces for wrong in piece.wrong]
    found = {user: items for one in pieces for user, items in zip(one.users, one.values)}  # noqa: B905
    bounds = itertools.pairwise(data.offsets)
    assert found == {
        user: data.item_ids.gather(data.items[start:end]).to_list()
        for user, (start, end) in zip(data.user_ids, bounds, strict=True)
    }


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("user_id,items\n,i1\n,i2\n", "2 of 2 rows are wrong"),
        ("user_id,items\nu,i1\n,i2\n", "1 of 2 rows are wrong.*--wrong_share=0.1"),
        ("user_id,items\nu,x;y\nv,z|x\n", "none of the 2 ids"),
    ],
)
def test_input_of_which_nothing_is_left(tmp_path, content, words):
    (tmp_path / "in.csv").write_text(content)
    request = Request(str(tmp_path / "in.csv"), str(tmp_path / "out.csv"), COLUMNS)
    with pytest.raises(UserError, match=words):
        recommend_file(recommender()[0], request, "model", Console(file=io.StringIO()))
    assert not (tmp_path / "out.csv").exists()


def test_url_as_a_path(make):
    url = "https://example.org/a.csv"
    assert f"{url} (option data.path) is a URL" in refused(make("a.csv", b"", data={"path": url}))


def test_yelp_files_that_are_not_there(tmp_path):
    config = config_lib.resolve(
        {
            "data": {
                "source": "tfds",
                "builder": "yelp",
                "path": str(tmp_path),
                "tfds_dir": str(tmp_path),
            }
        }
    )
    assert "get yelp_academic_dataset_business.json and" in refused(config)
