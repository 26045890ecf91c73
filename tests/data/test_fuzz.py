"""Any bytes in any file give data or a UserError: random ones, and files that are damaged."""

from collections.abc import Callable
import gzip
import io
import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import polars as pl
import pytest

from rearec_jax import config as config_lib
from rearec_jax.config import Config, DataConfig
from rearec_jax.data import prepare
from rearec_jax.data.interactions import Interactions
from rearec_jax.data.item_vectors import vector_files
from rearec_jax.data.own_files import user_rows
from rearec_jax.data.own_files.text import read_item_text
from rearec_jax.data.published import json_lines
from rearec_jax.data.published.line_blocks import Malformed
from rearec_jax.errors import UserError
from rearec_jax.run.events import EventLog, read_events
from rearec_jax.run.workdir import Workdir, load_config

ROWS = [(f"u{user}", f"i{(user + n) % 5}", 1_000 + n, 3.5) for user in range(6) for n in range(4)]
COLUMNS = ("user_id", "item_id", "timestamp", "rating")
LINES = "".join(f"u{user} i1 i2 i{user % 5} i0\n" for user in range(6))
IDS = pl.Series([f"i{n}" for n in range(5)])


def table(separator: str) -> bytes:
    rows = [COLUMNS, *ROWS]
    return "".join(separator.join(map(str, row)) + "\n" for row in rows).encode()


def parquet(frame: pl.DataFrame) -> bytes:
    file = io.BytesIO()
    frame.write_parquet(file)
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


VECTORS = np.arange(20, dtype=np.float32).reshape(5, 4)
JSON_LINES = b"".join(
    json.dumps({"user_id": row[0], "stars": row[3], "date": "2018-07-07 22:09:11"}).encode() + b"\n"
    for row in ROWS
)
FILES = {
    "a.csv": table(","),
    "a.tsv": table("\t"),
    "a.txt": table("\t"),
    "a.csv.gz": gzip.compress(table(","), mtime=0),
    "a.parquet": parquet(pl.DataFrame(ROWS, schema=COLUMNS, orient="row")),
    "a.parquet.gz": gzip.compress(
        parquet(pl.DataFrame(ROWS, schema=COLUMNS, orient="row")), mtime=0
    ),
    "a.inter": table("\t").replace(b"\t", b":token\t", 3).replace(b"rating", b"rating:float"),
    "sequences.txt": LINES.encode(),
    "sequences.txt.gz": gzip.compress(LINES.encode(), mtime=0),
    "input.csv": b"user_id,items\n" + b"".join(b'u%d,"i1 ""i2"" i3"\n' % n for n in range(6)),
    "input.csv.gz": gzip.compress(table(","), mtime=0),
    "input.parquet": parquet(
        pl.DataFrame({"user_id": ["u", "v"], "items": [["i1", "i2"], ["i\u00e9"]]})
    ),
    "titles.csv": b"item_id,title\n" + b"".join(b"i%d,red scarf\n" % n for n in range(5)),
    "titles.item": b"item_id:token\ttitle:token_seq\n"
    + b"".join(b"i%d\tred\n" % n for n in range(5)),
    "v.npy": npy(VECTORS),
    "v.parquet": parquet(pl.DataFrame({"item_id": IDS, "vector": VECTORS})),
    "lines.json": JSON_LINES,
    "lines.json.gz": gzip.compress(JSON_LINES, mtime=0),
    "metrics.jsonl": b'{"step": 1, "loss": 0.5}\n{"step": 2, "valid": {"mrr": 0.25}}\n',
    "config.json": json.dumps(config_lib.to_dict(config_lib.resolve({}))).encode(),
}


# NumPy's warning about a header with damaged spaces: it takes the file for one of Python 2.
pytestmark = pytest.mark.filterwarnings("ignore:Reading `.npy` or `.npz` file required additional")


@st.composite
def damaged(draw, whole: bytes) -> bytes:
    """A few bytes changed, put in, taken out or doubled, or the end cut off."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(content)))
        length = draw(st.integers(1, 8))
        kind = draw(st.sampled_from(["change", "insert", "remove", "double", "cut"]))
        if kind == "change":
            content[place : place + length] = draw(st.binary(min_size=length, max_size=length))
        elif kind == "insert":
            odd = st.sampled_from(
                [b"\n", b"\r\n", b'"', b"\t", b",", b"\0", b"\xff", b"nan", b"-1e999"]
            )
            content[place:place] = draw(st.one_of(odd, st.binary(max_size=length)))
        elif kind == "remove":
            del content[place : place + length]
        elif kind == "double":
            content[place:place] = content[place : place + 40]
        else:
            del content[place:]
    return bytes(content)


def contents(name: str) -> st.SearchStrategy[bytes]:
    whole = FILES[name]
    compressed = st.binary(max_size=200).map(lambda x: gzip.compress(x, mtime=0))
    inside = compressed if name.endswith(".gz") else st.nothing()
    return st.one_of(st.binary(max_size=200), damaged(whole), inside)


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def data_or_error(function: Callable[[], object]) -> None:
    try:
        function()
    except UserError as error:
        assert str(error)


def read_interactions(path: Path) -> None:
    source = {".txt": "sequences", ".inter": "recbole"}.get(
        Path(path.name.removesuffix(".gz")).suffix
    )
    is_table = not path.name.startswith("sequences") and source != "recbole"
    config = DataConfig(
        source="table" if is_table else source or "table",
        path=str(path),
        rating_column="" if path.name.startswith("sequences") else "rating",
    )
    data = prepare.build(config)
    assert data.offsets[-1] == len(data.items) == len(data.split)
    assert 0 <= data.items.min() <= data.items.max() < data.num_items


def read_input(path: Path) -> None:
    columns = user_rows.Columns("user_id", "items", "item_id", "timestamp")
    source = user_rows.open_input(str(path), columns)
    if not source.is_by_user:
        for frame, _ in user_rows.interactions(source):
            assert not any(column.has_nulls() for column in frame)
        return
    for piece in user_rows.pieces(source):
        assert len(piece.lines) == len(piece.users) == len(piece.values)
        assert all(item.strip().encode() for items in piece.values for item in items)


def read_text(path: Path) -> None:
    assert len(read_item_text(DataConfig(item_text=str(path)), IDS)) == len(IDS)


def read_vectors(path: Path) -> None:
    config = config_lib.resolve({"text": {"vectors": str(path)}})
    vectors, found = vector_files.read_vectors(config, IDS)
    assert np.isfinite(vectors).all() and len(vectors) == len(found) == len(IDS)


def read_json_lines(path: Path) -> None:
    malformed = Malformed(path)
    schema = {"user_id": pl.String, "stars": pl.Float64, "date": pl.String}
    rows = sum(len(frame) for frame in json_lines.frames(path, schema, tuple(schema), malformed))
    assert rows + malformed.count == malformed.lines
    malformed.check(0.5)


def read_log(path: Path) -> None:
    workdir = Workdir(path.parent)
    assert all(isinstance(event["step"], int) for event in read_events(workdir))
    with EventLog(workdir) as log:
        log.append({"step": 3})
        log.truncate_after(2)


def read_config(path: Path) -> None:
    assert isinstance(load_config(path.parent), Config)


READ = {
    "a.": read_interactions,
    "sequences.": read_interactions,
    "input.": read_input,
    "titles.": read_text,
    "v.": read_vectors,
    "lines.": read_json_lines,
    "metrics.": read_log,
    "config.": read_config,
}


def reader(name: str) -> Callable[[Path], None]:
    return READ[name.partition(".")[0] + "."]


@pytest.mark.parametrize("name", FILES)
def test_what_is_not_damaged_is_read(directory, name):
    """Else the fuzz would test the refusal of everything."""
    path = directory / name
    path.write_bytes(FILES[name])
    reader(name)(path)


@pytest.mark.parametrize("name", FILES)
@given(data=st.data())
def test_damaged_file(directory, name, data):
    path = directory / name
    path.write_bytes(data.draw(contents(name)))
    data_or_error(lambda: reader(name)(path))


@pytest.mark.parametrize(
    "name", ["items.npy", "offsets.npy", "split.npy", "interactions.json", "items.parquet"]
)
@given(data=st.data())
def test_damaged_prepared_arrays(directory, name, data):
    kept = directory / "kept"
    path = directory / "sequences.txt"
    path.write_bytes(FILES["sequences.txt"])
    prepare.build(DataConfig(source="sequences", path=str(path))).save(kept)
    whole = (kept / name).read_bytes()
    (kept / name).write_bytes(data.draw(st.one_of(st.binary(max_size=200), damaged(whole))))

    def load():
        loaded = Interactions.load(kept)
        assert loaded.items.max() < loaded.num_items

    data_or_error(load)
