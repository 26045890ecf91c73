"""An exported model: the same numbers without Flax, Orbax or the training code."""

import dataclasses
import datetime
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

import jax
from jax import export as jax_export
import jax.numpy as jnp
import numpy as np
import pytest

import rearec_jax
from rearec_jax.errors import UserError
from rearec_jax.recommend import export, trained
from rearec_jax.recommend.recommender import Recommender
from tests import tiny
from tests.processes import ROOT
from tests.recommend.test_recommender import ITEMS, catalogue

BLOCKED = ["flax", "orbax", "optax", "ml_collections", "absl", "tensorflow_datasets"]
BLOCKED += [
    f"rearec_jax.{name}" for name in ("models", "training", "methods", "config", "run.checkpoint")
]
# Row and query counts of their own: the programs are compiled for none in particular.
MORE = [[f"i{n % ITEMS}" for n in range(length)] for length in (1, 3, 6, 2, 4, 9, 5)]


def written(path, method="rpe", **changes):
    config = tiny.config(method, **changes)
    _, variables = tiny.build(config, ITEMS)
    text = tiny.text_of(config, ITEMS)
    engine = trained.engine_of_model(
        config, variables, ITEMS, None if text is None else np.asarray(text)
    )
    recommender = Recommender(engine, catalogue())
    export.write(path, config, variables, recommender)
    return recommender


def same_lists(model, loaded):
    for histories, steps in ((MORE, model.engine.steps), ([["i1"]], 0)):
        ours = model.recommend(histories, k=8, steps=steps)
        theirs = loaded.recommend(histories, k=8, steps=steps)
        assert ours.ids == theirs.ids
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one.scores, other.scores, rtol=1e-5, atol=1e-5)


def forged(path, change=lambda manifest: None):
    """Changes the manifest, which vouches for the files as they are."""
    file = path / "manifest.json"
    manifest = json.loads(file.read_text())
    for name in manifest["files"]:
        if (path / name).is_file():
            manifest["files"][name] = hashlib.sha256((path / name).read_bytes()).hexdigest()
    change(manifest)
    file.write_text(json.dumps(manifest))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "model"
    written(path)
    return path


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("erl", {}),
        ("prl", {"model__backbone": "bert4rec", "train__objective": "cloze"}),
        ("rpe", {"model__backbone": "unisrec", "model__item_ids": True}),
        ("base", {"model__backbone": "morec"}),
        ("prl", {"model__layer": "filtered", "model__relative_positions": True}),
        ("erl", {"model__layer": "ligr"}),
        ("rpe", {"model__layer": "hstu", "model__relative_positions": True}),
    ],
)
def test_same_numbers_as_the_model(tmp_path, method, changes):
    model = written(tmp_path / "model", method, **changes)
    loaded = rearec_jax.load(tmp_path / "model")
    same_lists(model, loaded)
    if model.engine.text_width:
        vectors = np.random.default_rng(1).normal(size=(3, model.engine.text_width))
        ours = model.add_items(["a", "b", "c"], vectors=vectors)
        theirs = loaded.add_items(["a", "b", "c"], vectors=vectors)
        with pytest.raises(UserError, match=r"give vectors="):
            loaded.add_items(["new"], ["red"])
        np.testing.assert_allclose(ours.engine.table, theirs.engine.table, rtol=1e-5, atol=1e-6)


def test_a_table_of_bfloat16_is_read_as_such(tmp_path):
    config = tiny.config("rpe", model__layers=1, model__dtype="bfloat16")
    with jax.numpy_dtype_promotion("standard"):  # LayerNorm asks for it
        _, variables = tiny.build(config, ITEMS)
        engine = trained.engine_of_model(config, variables, ITEMS)
        half = {name: getattr(engine, name).astype(jnp.bfloat16) for name in ("table", "ranked")}
        model = Recommender(dataclasses.replace(engine, **half), catalogue())
        export.write(tmp_path / "model", config, variables, model)
        loaded = rearec_jax.load(tmp_path / "model")
        assert loaded.engine.table.dtype == jnp.bfloat16
        np.testing.assert_array_equal(loaded.engine.table, model.engine.table)
        assert loaded.recommend(MORE, k=3).ids == model.recommend(MORE, k=3).ids


def test_exports_with_the_same_program_share_what_is_compiled(tmp_path):
    for name, method in (("one", "prl"), ("again", "prl"), ("other", "erl")):
        written(tmp_path / name, method)
    one, again, other = (rearec_jax.load(tmp_path / name) for name in ("one", "again", "other"))
    for name in ("encode", "attend"):
        own = getattr(one.engine, name)
        assert own == getattr(again.engine, name) != getattr(other.engine, name)
        assert hash(own) == hash(getattr(again.engine, name))


def test_loads_where_nothing_else_is(place):
    code = f"""import sys
for name in {BLOCKED!r}: sys.modules[name] = None
import rearec_jax
(one,) = rearec_jax.load({str(place)!r}).recommend([["i3", "i4"]], k=3, explain=True)
print(*one.ids, len(one.steps))"""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("XLA", "JAX_NUMPY"))}
    said = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    ).stdout
    (here,) = rearec_jax.load(place).recommend([["i3", "i4"]], k=3)
    assert said.split() == [*here.ids, "3"]


def test_platforms_and_manifest(place):
    program = jax_export.deserialize(bytearray((place / "encode.stablehlo").read_bytes()))
    assert program.platforms == ("cpu", "cuda", "tpu")
    assert str(ROOT).encode() not in (place / "encode.stablehlo").read_bytes()
    manifest = json.loads((place / "manifest.json").read_text())
    assert manifest["versions"]["jax"] == jax.__version__
    assert manifest["shapes"]["table.npy"] == [ITEMS, 8, "float32"]
    there = {p.relative_to(place).as_posix() for p in place.rglob("*") if p.is_file()}
    assert there - {"manifest.json"} == set(manifest["files"])
    assert not [name for name in there if name.endswith((".pkl", ".pickle", ".msgpack"))]


class TestDamage:
    @pytest.fixture
    def copy(self, tmp_path, place):
        return shutil.copytree(place, tmp_path / "model")

    @pytest.mark.parametrize("name", ["table.npy", "encode.stablehlo", "items.parquet"])
    def test_a_changed_byte_is_named(self, copy, name):
        content = bytearray((copy / name).read_bytes())
        content[len(content) // 2] ^= 1
        (copy / name).write_bytes(content)
        with pytest.raises(UserError, match=rf"{name} is damaged"):
            rearec_jax.load(copy)

    def test_a_missing_file_is_named(self, copy):
        lost = next((copy / "weights").iterdir())
        lost.unlink()
        with pytest.raises(UserError, match=rf"{lost.name} cannot be read"):
            rearec_jax.load(copy)

    def test_a_manifest_that_is_none(self, copy):
        (copy / "manifest.json").write_text("[1]")
        with pytest.raises(UserError, match=r"manifest.json is damaged"):
            rearec_jax.load(copy)

    @pytest.mark.parametrize("name", ["encode.stablehlo", "table.npy", "items.parquet", "weights"])
    def test_a_file_that_is_not_vouched_for(self, copy, name):
        def forget(manifest):
            lost = manifest["weights"][-1] if name == "weights" else name
            del manifest["files"][lost]

        forged(copy, forget)
        with pytest.raises(UserError, match=rf"lacks the digest of {name}"):
            rearec_jax.load(copy)

    @pytest.mark.parametrize(
        ("part", "fact", "said"),
        [
            ("model", "steps", "lacks the model's steps;"),
            ("shapes", "table.npy", "lacks the type of table.npy;"),
            (None, "items", "lacks the number of items;"),
            (None, "shapes", "is damaged (no 'shapes')"),
        ],
    )
    def test_a_missing_fact_is_named(self, copy, part, fact, said):
        forged(copy, lambda manifest: (manifest[part] if part else manifest).pop(fact))
        with pytest.raises(UserError, match=re.escape(said)):
            rearec_jax.load(copy)

    @pytest.mark.parametrize("outside", ["../secret", "/etc/hostname"])
    def test_names_do_not_lead_out(self, copy, outside):
        (copy.parent / "secret").write_bytes(b"")
        digest = hashlib.sha256(b"").hexdigest()
        forged(copy, lambda manifest: manifest["files"].update({outside: digest}))
        with pytest.raises(UserError, match=rf"names '{outside}', which is not in its directory"):
            rearec_jax.load(copy)

    def test_numbers_of_items_that_differ(self, copy):
        forged(copy, lambda manifest: manifest.update(items=ITEMS + 1))
        with pytest.raises(UserError, match=rf"of {ITEMS + 1} items, but .* {ITEMS} and"):
            rearec_jax.load(copy)

    def test_a_newer_format(self, copy):
        forged(copy, lambda manifest: manifest.update(format=99))
        with pytest.raises(UserError, match=r"has format 99, this version reads 1"):
            rearec_jax.load(copy)


class TestProgramsThatThisJaxDoesNotRead:
    @pytest.fixture(params=["erl", "unisrec"])
    def old(self, tmp_path, request):
        """A recommender, and its export with a program that has an operation of another version."""
        changes = {"erl": ("erl", {}), "unisrec": ("rpe", {"model__backbone": "unisrec"})}
        method, options = changes[request.param]
        model = written(tmp_path / "model", method, **options)
        program = tmp_path / "model" / "encode.stablehlo"
        content = program.read_bytes()
        assert b"dot_general_v2" in content
        program.write_bytes(content.replace(b"dot_general_v2", b"dot_general_v9"))
        forged(tmp_path / "model")
        return model, tmp_path / "model"

    def test_it_is_made_from_its_arrays(self, old, caplog):
        model, path = old
        loaded = rearec_jax.load(path)
        assert re.search(r"promises to read until \d{4}-\d\d-\d\d.*does not read", caplog.text)
        assert f"--mode=export --workdir={path} --output={path}" in caplog.text
        same_lists(model, loaded)
        if model.engine.text_width:
            vectors = np.random.default_rng(1).normal(size=(2, model.engine.text_width))
            same_lists(*(each.add_items(["a", "b"], vectors=vectors) for each in (model, loaded)))

    def test_it_is_renewed_in_its_place(self, old, caplog):
        model, path = old
        export.export_run(str(path), str(path))
        same_lists(model, rearec_jax.load(path))
        assert not caplog.text
        assert [child.name for child in path.parent.iterdir()] == ["model"]

    def test_one_without_options_says_what_to_do(self, old):
        _, path = old
        forged(path, lambda manifest: manifest.pop("options"))
        with pytest.raises(UserError, match=r"does not read it.*export its run again"):
            rearec_jax.load(path)

    def test_where_flax_is_missing(self, old, monkeypatch):
        monkeypatch.delattr("rearec_jax.recommend.from_arrays")
        monkeypatch.setitem(sys.modules, "rearec_jax.recommend.from_arrays", None)
        with pytest.raises(UserError, match=r"renew it: .*requirements\.txt"):
            rearec_jax.load(old[1])


@pytest.mark.parametrize(("days", "said"), [(-1, "more than six months ago"), (1, None)])
def test_when_jax_may_refuse_it(tmp_path, place, caplog, days, said):
    path = shutil.copytree(place, tmp_path / "model")
    manifest = json.loads((path / "manifest.json").read_text())
    today = datetime.date.today()
    assert manifest["programs_until"] == str(today + datetime.timedelta(days=180))
    manifest["programs_until"] = str(today + datetime.timedelta(days=days))
    (path / "manifest.json").write_text(json.dumps(manifest))
    rearec_jax.load(path)
    assert said in caplog.text if said else not caplog.text


@pytest.mark.parametrize(("method", "changes"), [("naive", {}), ("rpe", {"model__heads": 1})])
def test_an_export_of_another_model_is_not_overwritten(tmp_path, place, method, changes):
    written(tmp_path / "other", method, **changes)
    with pytest.raises(UserError, match=r"holds an export of another model"):
        export.export_run(str(tmp_path / "other"), str(place))


def test_nor_is_one_of_another_seed(tmp_path, place):
    other = shutil.copytree(place, tmp_path / "other")
    forged(other, lambda manifest: manifest["options"].update(seed=1))
    with pytest.raises(UserError, match=r"holds an export of another model"):
        export.export_run(str(other), str(place))


def test_an_existing_directory_is_not_overwritten(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match=r"exists already"):
        export.export_run("nowhere", str(tmp_path))
