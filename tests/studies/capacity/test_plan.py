"""launch/plan.py: the whole of it, for a small model on a slice of four chips."""

import json
import os
import subprocess
import sys

import jax
import polars as pl
import pytest

from rearec_jax.config import Config
from rearec_jax.errors import UserError
from rearec_jax.studies.capacity import compiled, options, topology, workload
from tests.processes import ROOT

SMALL = ["--config=configs/demo.py", "--config.model.width=16", "--config.model.heads=1"]
SMALL += ["--config.model.layers=1", "--config.model.hidden=16", "--config.method.steps=1"]
SMALL += ["--config.train.batch_size=64", "--config.eval.batch_size=32"]
pytestmark = pytest.mark.filterwarnings("ignore:the load_module")
needs_libtpu = pytest.mark.skipif(
    topology.libtpu_path() is None, reason="needs libtpu: see docs/plan.md"
)


def plan(*arguments: str, **variables: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "launch/plan.py", *SMALL, *arguments],
        env=os.environ | variables,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    return done.returncode, done.stdout, done.stderr


@needs_libtpu
def test_what_a_small_model_needs_on_four_chips():
    arguments = "--items=4096", "--topology=v5e:2x2", "--config.mesh.model=2", "--targets=1000"
    code, out, err = plan(*arguments, "--json")
    assert code == 0, err
    found = json.loads(out)
    update = found["programs"]["update"]
    assert (found["chips"], found["catalogue_shards"], found["fits"]) == (4, 2, True)
    # Half the items' vectors and moments: a shard of the state is on each chip (16 columns may be
    # padded to 128 there).
    table = 3 * 4 * 4096 * 16 / 2
    assert table < update["arguments"] < 10 * table
    assert update["aliased"] > 0.9 * update["outputs"]  # the state is donated
    assert update["products"] > 0
    assert update["sent"]["all-reduce"] > 0
    assert update["unknown_loops"] == 0
    assert update["seconds"]["schedule"] > 0
    assert found["epoch"]["updates"] == -(-1000 // found["targets_per_update"])


@needs_libtpu
def test_what_does_not_fit_ends_with_what_to_change():
    code, out, err = plan("--items=100000000", "--topology=v5e:1x1")
    assert code == 1, err
    assert "It does not fit: update;" in out
    assert "more shards of the catalogue: mesh.model=" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--items=100"], "--topology"),
        (["--items=100", "--topology=v5e:2"], "2 dimensions"),
        (["--items=-1", "--topology=v5e:2x2"], "--items=-1"),
        (["--price=nan", "--topology=v5e:2x2"], "--price=nan"),
        (["--itmes=1", "--topology=v5e:2x2"], "unexpected argument '--itmes=1'"),
        (["--history=1", "--topology=v5e:2x2"], "at least 2"),
        (["--items=9", "--topology=v5e:2x2", "--config.model.widht=1"], "model.width"),
        (["--features=6", "--topology=v5e:2x2"], "--features=6 must be VALUESxMOST"),
        (
            ["--items=9", "--topology=v5e:2x2", "--config.data.item_features=f.csv"],
            "--features=600x6",
        ),
    ],
)
def test_mistakes(arguments, said, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError) as caught:
        parsed = options.parse(["--config=configs/demo.py", *arguments])
        topology.devices_of(parsed.topology)
    assert said in str(caught.value)


def test_the_script_starts_without_libtpu():
    code, _, err = plan("--topology=v5e:2x2", TPU_LIBRARY_PATH="/nowhere/libtpu.so")
    assert code == 2, err
    assert "docs/plan.md" in err
    assert "Traceback" not in err


def test_without_libtpu_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setenv("TPU_LIBRARY_PATH", "/nowhere/libtpu.so")
    with pytest.raises(UserError, match=r"docs/plan\.md"):
        topology.devices_of("v5e:2x2")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("HLO temporaries (166.92G) exceeds available HBM (15.75G)", 166.92 * 2**30),
        ("Used 512.5M of 16M", 512.5 * 2**20),
        ("no number at all", 0),
    ],
)
def test_how_much_the_compiler_asks_for(said, expected):
    assert compiled.required(said) == pytest.approx(expected)


def test_generated_users_fill_the_rows():
    config = Config()
    data = workload.generated(config, items=10**9, history=config.model.max_length // 2 + 1)
    assert data.num_items == 10**9  # and no array of that size
    assert data.num_interactions < 10**6
    assert set(data.lengths) == {config.model.max_length // 2 + 3}


def test_features_of_items_count(tmp_path, monkeypatch):
    """With --items they are told; else they are those of the file."""
    monkeypatch.chdir(ROOT)
    rows = pl.DataFrame({"item_id": range(401), "brand": range(401)})
    rows.with_columns(kind=pl.lit("a|b|c")).write_csv(tmp_path / "f.csv")
    cache = f"--config.data.cache_dir={tmp_path}"
    file = f"--config.data.item_features={tmp_path / 'f.csv'}"
    for given, items in ((["--items=4096", "--features=405x4"], 4096), ([file, cache], 400)):
        asked = options.parse([*SMALL, *given, "--topology=v5e:2x2"])
        found = workload.workload(asked, jax.devices()[:1])
        assert found.catalogue.text.codes.shape == (items, 4)
        vectors = found.state.variables["params"]["items"]["features"]
        assert vectors.shape == (405, 16)  # 400 brands, three kinds, each column's unknown value
