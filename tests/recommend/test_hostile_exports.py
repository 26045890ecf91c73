"""Exports and work directories that were changed by a stranger: a sentence, or the same lists."""

import contextlib
import dataclasses
import io
import json
import os
import shutil
import zipfile

from hypothesis import given, settings
from hypothesis import strategies as st
import jax
from jax import export as jax_export
import numpy as np
import polars as pl
import pytest

import rearec_jax
from rearec_jax import config as config_lib
from rearec_jax.errors import UserError
from rearec_jax.recommend.samples import USERS
from rearec_jax.run.files import JSON_BYTES
from rearec_jax.run.workdir import load_config
from tests.data.test_fuzz import damaged
from tests.processes import ROOT
from tests.recommend.test_export import MORE, forged, written
from tests.recommend.test_recommender import ITEMS

BIAS = "weights/params.encoder.input_norm.bias.npy"
SCALE = "weights/params.encoder.input_norm.scale.npy"
HISTORIES = [["1", "2"], ["5"]]
POSITION = "weights/params.encoder.position.npy"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "model"
    written(path)
    return path


@pytest.fixture
def copy(tmp_path, whole):
    return shutil.copytree(whole, tmp_path / "model")


def lists(path):
    return rearec_jax.load(path).recommend(MORE, k=8).ids


def refused(path, *said):
    with pytest.raises(UserError) as caught:
        rearec_jax.load(path)
    message = str(caught.value)
    for words in (str(path.resolve()), *said):
        assert words in message
    assert "\n" not in message


def npy(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def header(shape, dtype="<f4"):
    file = io.BytesIO()
    about = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, about)
    return file.getvalue()


def archive():
    file = io.BytesIO()
    np.savez(file, np.zeros((ITEMS, 8), np.float32))
    return file.getvalue()


class TestArrays:
    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"", "cannot be read"),
            (b"something else", "cannot be read"),
            (b"\x93NUMPY\x01\x00\xff\xff", "cannot be read"),
            (b"\x93NUMPY\x03\x00\xff\xff\xff\xff" + b"(" * 5000, "cannot be read"),
            (npy(np.array([{}], object), allow_pickle=True), "cannot be read"),
            (header((ITEMS, 8)), "cannot be read"),
            (header((2**40, 2**20)) + bytes(64), "cannot be read"),
            (header((2**70, 8)) + bytes(64), "cannot be read"),
            (header((-1, 8)) + bytes(64), "cannot be read"),
            (header((ITEMS, 8), "|O") + bytes(ITEMS * 8 * 8), "cannot be read"),
            (archive(), "cannot be read"),
            (npy(np.float32(1)), "it holds float32 of shape ()"),
            (npy(np.zeros((ITEMS, 7), np.float32)), f"it holds float32 of shape ({ITEMS}, 7)"),
            (npy(np.zeros((ITEMS, 8), np.int32)), "it holds int32"),
            (npy(np.zeros((ITEMS, 8))), "it holds float64"),
            (npy(np.full((ITEMS, 8), np.nan, np.float32)), "not a finite number"),
            (npy(np.full((ITEMS, 8), -np.inf, np.float32)), "not a finite number"),
        ],
    )
    @pytest.mark.filterwarnings("ignore:Reading `.npy` or `.npz` file required additional")
    def test_a_table_that_is_none(self, copy, content, said):
        (copy / "table.npy").write_bytes(content)
        forged(copy)
        refused(copy, "table.npy", said, "export the model again")

    def test_one_value_of_a_weight(self, copy):
        array = np.load(copy / SCALE)
        array[3] = np.nan
        np.save(copy / SCALE, array)
        forged(copy)
        refused(copy, SCALE, "not a finite number")

    def test_a_shape_that_the_program_does_not_take(self, copy):
        np.save(copy / SCALE, np.ones(7, np.float32))
        forged(copy, lambda manifest: manifest["shapes"].update({SCALE: [7, "float32"]}))
        refused(copy, "encode.stablehlo", "does not fit the weights and the manifest")

    def test_a_shape_in_the_manifest_alone(self, copy):
        forged(copy, lambda manifest: manifest["shapes"].update({SCALE: [7, "float32"]}))
        refused(copy, SCALE, "it holds float32 of shape (8,)")


class TestLinks:
    @pytest.mark.parametrize("name", ["table.npy", "manifest.json", "items.parquet", "weights"])
    def test_out_of_the_directory(self, copy, tmp_path, name):
        (copy / name).rename(tmp_path / "elsewhere")
        (copy / name).symlink_to(tmp_path / "elsewhere")
        refused(copy, name, "it leads out of its directory")

    def test_within_it(self, copy, whole):
        (copy / "table.npy").rename(copy / "elsewhere")
        (copy / "table.npy").symlink_to("elsewhere")
        link = copy.parent / "link"
        link.symlink_to(copy)
        assert lists(link) == lists(whole)

    @pytest.mark.parametrize("name", ["table.npy", "encode.stablehlo", "items.parquet"])
    @pytest.mark.parametrize("kind", ["dangling", "loop", "pipe", "directory"])
    def test_what_is_no_file(self, copy, name, kind):
        (copy / name).unlink()
        if kind == "pipe":
            os.mkfifo(copy / name)
        elif kind == "directory":
            (copy / name).mkdir()
        else:
            (copy / name).symlink_to(name if kind == "loop" else "nowhere")
        refused(copy, name, "cannot be read")


def at(*path_and_value):
    """A change of the manifest: at("model", "steps", 3) sets one of its values."""
    *path, last, value = path_and_value

    def change(manifest):
        for name in path:
            manifest = manifest[name]
        manifest[last] = value

    return change


def swapped(manifest):
    names = manifest["weights"]
    one, other = names.index(BIAS), names.index(SCALE)
    names[one], names[other] = names[other], names[one]


class TestManifest:
    @pytest.mark.parametrize(
        "content",
        [
            *(b"", b"[]", b"{", b"null", b"\xff", b'{"format": ' + b"9" * 5000 + b"}"),
            *(b'{"format":' + b"[" * 100_000, b'{"a":' * 100_000, b" " * (JSON_BYTES + 1)),
        ],
        ids=range(9),
    )
    def test_text_that_is_none(self, copy, content):
        (copy / "manifest.json").write_bytes(content)
        refused(copy, "manifest.json is damaged", "export the model again")

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (at("format", True), "format is True, no int"),
            (at("model", "steps", "two"), "the model's steps is 'two', no int"),
            (at("model", "steps", True), "steps is True, no int"),
            (at("model", "steps", 2.0), "steps is 2.0, no int"),
            (at("model", "steps", -1), "steps must lie between 0 and"),
            (at("model", "steps", 10**30), "steps must lie between 0 and"),
            (at("model", "steps", 1), "the reasoning_position has the shape"),
            (at("model", "max_length", 0), "max_length must lie between 1 and"),
            (at("model", "max_length", None), "max_length is None, no int"),
            (at("model", "max_length", 7), "the position has the shape"),
            (at("model", "cloze", 0), "cloze is 0, no bool"),
            (at("model", "cloze", True), "cloze and its weights contradict each other"),
            (at("model", "similarity", "euclidean"), "similarity 'euclidean' is none of"),
            (at("model", "similarity", ["dot"]), "similarity is ['dot'], no str"),
            (at("model", "similarity", "cosine"), "similarity is cosine, and its options say dot"),
            (at("model", "text_width", 5), "lacks the digest of rows.stablehlo"),
            (at("model", "text_width", -5), "text_width must lie between 0 and"),
            (at("model", "text_scale", "1"), "text_scale is '1', no int or float"),
            (at("model", "text_scale", 0), "text_scale must be a positive number"),
            (at("model", "temperature", float("nan")), "temperature must be a positive number"),
            (at("model", "temperature", float("inf")), "temperature must be a positive number"),
            (at("model", "temperature", 10**400), "temperature must be a positive number"),
            (at("model", "temperature", 0.5), "temperature is 0.5, and its options say 1.0"),
            (at("model", "name", 3), "the model's name is 3, no str"),
            (at("model", "name", "sasrec, \ud800"), "surrogates not allowed"),
            (at("versions", "jax\udfff", "0.1"), "surrogates not allowed"),
            (at("model", []), "model is [], no dict"),
            (at("items", 0), "items must lie between 1 and"),
            (at("items", "30"), "items is '30', no int"),
            (at("options", []), "options is [], no dict"),
            (at("options", "model", None), "its options are none"),
            (at("options", "train", "objective", "cloze"), "cloze is False, and its options say"),
            (at("options", "method", "name", "erl"), "name is sasrec, rpe, and its options say"),
            (at("options", "method", "steps", 3), "steps is 2, and its options say 3"),
            (at("options", "model", "max_length", 50), "max_length is 6, and its options say 50"),
            (at("weights", BIAS), "weights is '"),
            (at("weights", [3]), "weights are not all text"),
            (lambda manifest: manifest["weights"].append(BIAS), "not in the order of the program"),
            (swapped, "not in the order of the program"),
            (lambda manifest: manifest["weights"].pop(), "does not fit the weights"),
            (at("shapes", []), "shapes is [], no dict"),
            (at("shapes", "table.npy", [ITEMS, 8, "object"]), "the type of table.npy is"),
            (at("shapes", "table.npy", [ITEMS, "8", "float32"]), "the type of table.npy is"),
            (at("shapes", "table.npy", [2**80, 8, "float32"]), "the type of table.npy is"),
            (at("shapes", "table.npy", ["float32"]), "the shape of table.npy is ()"),
            (at("shapes", "table.npy", None), "the type of table.npy is None"),
            (at("shapes", POSITION, [7, 8, "float32"]), "the position has the shape (7, 8)"),
            (at("files", "table.npy", 3), "files are not all text"),
            (at("files", "a\0b", "0"), "cannot be read"),
            (at("files", "a" * 5000, "0"), "cannot be read"),
            (at("programs_until", "soon"), "Invalid isoformat string: 'soon'"),
            (at("programs_until", 3), "Invalid isoformat string"),
            (at("versions", "0.1"), "versions is '0.1', no dict"),
            (at("platforms", 3), "platforms is 3, no list"),
        ],
    )
    def test_a_value_that_is_wrong(self, copy, change, said):
        forged(copy, change)
        refused(copy, said, "export the model again")

    def test_without_options_the_program_still_says_its_steps(self, copy):
        def change(manifest):
            del manifest["options"]
            manifest["model"]["steps"] = 1
            manifest["weights"].remove("weights/params.encoder.reasoning_position.npy")

        forged(copy, change)
        refused(copy, "encode.stablehlo", "does not fit the weights and the manifest")


class TestItems:
    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda frame: frame.with_columns(id=pl.lit("i1")), "two items have the id 'i1'"),
            (lambda frame: frame.with_columns(count=pl.col("count") - 9), "no count of 0 or more"),
            (lambda frame: frame.with_columns(id=pl.lit(None, pl.String)), "an item has no id"),
            (lambda frame: frame.with_columns(id=pl.int_range(ITEMS)), "its columns are not id"),
            (lambda frame: frame.drop("title"), "title"),
            (lambda frame: frame.head(9), f"is of {ITEMS} items, but items.parquet has 9"),
        ],
    )
    def test_a_catalogue_that_is_none(self, copy, change, said):
        change(pl.read_parquet(copy / "items.parquet")).write_parquet(copy / "items.parquet")
        forged(copy)
        refused(copy, "items.parquet", said)

    def test_samples(self, copy):
        schema = {"history": pl.List(pl.String), "target": pl.String}
        rows = [(["i1"], "i2")] * (USERS + 1)
        for count, said in ((USERS + 1, "51 rows where at most 50"), (1, "lacks the digest of")):
            frame = pl.DataFrame(rows[:count], schema, orient="row")
            frame.write_parquet(copy / "samples.parquet")
            refused(copy, "samples.parquet", said, "delete")


class TestPrograms:
    @pytest.mark.parametrize("name", ["encode.stablehlo", "attend.stablehlo"])
    def test_one_that_cannot_be_read_is_made_from_the_arrays(self, copy, whole, name, caplog):
        content = (copy / name).read_bytes()
        (copy / name).write_bytes(content[: len(content) // 2])
        forged(copy)
        assert lists(copy) == lists(whole)
        assert "does not read it; it was made from its arrays" in caplog.text

    def test_one_of_another_platform_is_made_from_the_arrays(self, copy, whole, monkeypatch):
        monkeypatch.setattr(jax_export, "default_export_platform", lambda: "rocm")
        assert lists(copy) == lists(whole)

    def test_the_one_is_not_the_other(self, copy):
        shutil.copy(copy / "attend.stablehlo", copy / "encode.stablehlo")
        forged(copy)
        refused(copy, "encode.stablehlo", "does not fit the weights and the manifest (it returns")

    def test_one_of_another_model(self, copy, tmp_path):
        written(tmp_path / "other", model__layers=1)
        shutil.copy(tmp_path / "other" / "encode.stablehlo", copy / "encode.stablehlo")
        forged(copy)
        refused(copy, "encode.stablehlo", "does not fit the weights and the manifest")

    def test_one_that_calls_the_host(self, copy):
        """What a program may do on the host is no program of an export."""
        weights = rearec_jax.load(copy).engine.weights

        def run(weights, table, tokens, positions, segments, queries):
            seen = jax.ffi.ffi_call("system", jax.ShapeDtypeStruct((), "int32"))()
            return table[queries + seen][:, :, None].repeat(3, axis=2)

        n, b, t, q = jax_export.symbolic_shape("n, b, t, q")
        types = [jax.ShapeDtypeStruct(shape, "int32") for shape in [(b, t)] * 3 + [(b, q)]]
        table = jax.ShapeDtypeStruct((n, 8), "float32")
        shapes = [jax.ShapeDtypeStruct(one.shape, one.dtype) for one in weights]
        unsafe = [jax_export.DisabledSafetyCheck.custom_call("system")]
        exporting = jax_export.export(jax.jit(run), disabled_checks=unsafe)
        (copy / "encode.stablehlo").write_bytes(exporting(shapes, table, *types).serialize())
        forged(copy)
        refused(copy, "encode.stablehlo calls system, as no export does")

    def test_one_that_does_not_compile(self, whole):
        def refine(*arguments):
            raise ValueError("Error refining shapes")

        loaded = rearec_jax.load(whole)
        engine = dataclasses.replace(loaded.engine, encode=refine)
        said = (
            r"encode.stablehlo cannot be compiled \(Error refining shapes\); export the model again"
        )
        with pytest.raises(UserError, match=said):
            dataclasses.replace(loaded, engine=engine).recommend(MORE)


def places(value, path=()):
    """Every place in nested JSON, as a tuple of names and indices."""
    pairs = list(enumerate(value)) if isinstance(value, list) else []
    for name, inner in value.items() if isinstance(value, dict) else pairs:
        yield (*path, name)
        yield from places(inner, (*path, name))


odd = st.one_of(
    *(st.none(), st.booleans(), st.integers(-2, 9), st.integers(), st.floats()),
    st.text(max_size=9),
    st.sampled_from([[], {}, [[]], 2**31, 2**63, 1e300, "dot", "cosine", "erl", "cloze"]),
)


@st.composite
def changed(draw, tree):
    """The same JSON with up to two values replaced, removed or exchanged for others of it."""
    tree = json.loads(json.dumps(tree))
    for _ in range(draw(st.integers(1, 2))):
        every = list(places(tree))
        if not every:
            break
        *parents, last = draw(st.sampled_from(every))
        owner, other = tree, tree
        for name in parents:
            owner = owner[name]
        for name in draw(st.sampled_from(every)):
            other = other[name]
        kind = draw(st.sampled_from(["odd", "other", "remove"]))
        if kind == "remove":
            del owner[last]
        else:
            owner[last] = draw(odd) if kind == "odd" else json.loads(json.dumps(other))
    return tree


few = settings(max_examples=max(20, settings.default.max_examples // 3))  # 1,000 of `search`
# NumPy's warning about a header with damaged spaces: it takes the file for one of Python 2.
quiet = pytest.mark.filterwarnings("ignore:Reading `.npy` or `.npz` file required additional")


@pytest.fixture(scope="module")
def known(whole, tmp_path_factory):
    """A copy to be changed, its manifest, and the lists of the export."""
    path = shutil.copytree(whole, tmp_path_factory.mktemp("changed") / "model")
    return path, json.loads((path / "manifest.json").read_text()), lists(path)


@few
@given(data=st.data())
def test_any_change_of_the_manifest(known, data):
    path, manifest, before = known
    (path / "manifest.json").write_text(json.dumps(data.draw(changed(manifest))))
    with contextlib.suppress(UserError):
        assert lists(path) == before


@few
@quiet
@given(data=st.data())
def test_any_change_of_an_array(known, data):
    path, manifest, before = known
    name = data.draw(st.sampled_from(["table.npy", SCALE, POSITION, "items.parquet"]))
    is_vouched_for = data.draw(st.booleans())
    (path / "manifest.json").write_text(json.dumps(manifest))
    content = (path / name).read_bytes()
    try:
        (path / name).write_bytes(data.draw(damaged(content)))
        if is_vouched_for:  # other numbers are another model
            forged(path)
        with contextlib.suppress(UserError):
            assert lists(path) == before or is_vouched_for
    finally:
        (path / name).write_bytes(content)


@pytest.fixture(scope="module")
def work_directory(tmp_path_factory):
    """A run, and its lists."""
    path = tmp_path_factory.mktemp("earlier")
    with zipfile.ZipFile(ROOT / "tests" / "fixtures" / "earlier.zip") as fixture:
        fixture.extractall(path)
    return path / "run", rearec_jax.load(path / "run").recommend(HISTORIES, k=8).ids


@few
@given(data=st.data())
def test_any_change_of_the_options_of_a_run(work_directory, data):
    """Other options are another model: what is not refused is loaded, and answers."""
    path, before = work_directory
    whole = (path / "config.json").read_text()
    options = json.loads(whole)
    try:
        (path / "config.json").write_text(json.dumps(data.draw(changed(options))))
        with contextlib.suppress(UserError):
            config = load_config(path)
            found = rearec_jax.load(path).recommend(HISTORIES, k=8)
            assert config != config_lib.resolve(options) or found.ids == before
    finally:
        (path / "config.json").write_text(whole)


class TestWorkDirectory:
    @pytest.fixture
    def run(self, work_directory, tmp_path):
        return shutil.copytree(work_directory[0], tmp_path / "run")

    @pytest.mark.parametrize("name", ["config.json", "items.parquet", "samples.parquet"])
    @pytest.mark.parametrize("kind", ["outside", "pipe"])
    def test_what_is_no_file_of_it(self, run, tmp_path, name, kind):
        (run / name).rename(tmp_path / "elsewhere")
        if kind == "pipe":
            os.mkfifo(run / name)
        else:
            (run / name).symlink_to(tmp_path / "elsewhere")
        refused(run, name, "cannot be read")

    @pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a":' * 100_000, b"[]", b"\xff"])
    def test_options_that_are_none(self, run, content):
        (run / "config.json").write_bytes(content)
        refused(run, "config.json cannot be read")
