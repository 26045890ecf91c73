"""From a data frame to a trained run: as the command line, to the last bit, and safe to stop."""

import _thread
import json
import signal
import subprocess
import sys
import threading

import pytest

from benchmarks.final_state import differences
import rearec_jax
from rearec_jax.config import command_line, resolve
from rearec_jax.config.compare import flattened
from rearec_jax.errors import UserError
from rearec_jax.fitting import options, table
from rearec_jax.run import interruption
from rearec_jax.run.workdir import load_config
from rearec_jax.training import loop
from tests.fitting.frames import QUICK, interactions
from tests.processes import ROOT, environment
from tests.test_main import finish, start
from tests.training.test_runs import at_step

# ml_collections loads config files in a way that Python 3.15 will not know.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module")


@pytest.fixture(scope="module")
def frame():
    return interactions()


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def whole(frame, cache, tmp_path_factory):
    """A finished run."""
    path = tmp_path_factory.mktemp("whole") / "run"
    return rearec_jax.fit(frame, workdir=path, **QUICK, **{"data.cache_dir": str(cache)})


@pytest.fixture
def quick(cache, tmp_path, monkeypatch):
    """Options of a quick training, whose default directories are below ``tmp_path``."""
    monkeypatch.chdir(tmp_path)
    return QUICK | {"data.cache_dir": str(cache)}


def test_the_command_line_on_the_same_data_gives_the_same_bits(whole, frame, quick, tmp_path):
    frame.write_csv("ratings.csv")
    names = {"user_column": "userId", "item_column": "movieId", "timestamp_column": "ts"}
    given = quick | {f"data.{name}": value for name, value in names.items()}
    flags = [f"--config.{name}={value}" for name, value in given.items()]
    flags += ["--config.data.path=ratings.csv", "--workdir=commanded"]
    done = finish(start(f"--config={ROOT / 'configs/own_data.py'}", *flags, cwd=tmp_path))
    assert done.returncode == 0, done.stderr
    assert differences(whole.path, tmp_path / "commanded") == []
    summary = json.loads((tmp_path / "commanded/summary.json").read_text())
    assert whole.metrics == {name: summary[name] for name in whole.metrics}
    assert {"test", "valid", "test_by_step", "valid_by_step"} == set(whole.metrics)


def test_a_path_and_a_frame_are_the_same_data(whole, frame, quick, tmp_path):
    frame.write_parquet("ratings.parquet")
    one = rearec_jax.fit("ratings.parquet", **quick)
    assert str(one.path).startswith("runs/own_data-sasrec-rpe-")
    assert differences(whole.path, tmp_path / one.path) == []


def test_the_default_directory_depends_on_the_rows(frame, quick, monkeypatch):
    found = []
    monkeypatch.setattr("rearec_jax.fitting.fit.train_run", lambda path, *_: found.append(path))
    for rows in (frame, frame.head(-1), frame.drop("note")):
        rearec_jax.fit(rows, **quick)
    assert found[0] == found[2] != found[1]


def test_another_frame_is_refused_and_the_first_one_stays(whole, frame, quick):
    kept = whole.path / table.TABLE
    before = kept.read_bytes()
    with pytest.raises(UserError, match=r"run holds a run with other data.*another workdir"):
        rearec_jax.fit(frame.head(-1), workdir=whole.path, **quick)
    assert kept.read_bytes() == before
    assert rearec_jax.fit(frame, workdir=whole.path, **quick).metrics == whole.metrics


def test_a_mistake_leaves_nothing(frame, quick, tmp_path):
    with pytest.raises(UserError, match="100-core is empty"):
        rearec_jax.fit(frame, workdir="run", **quick | {"data.core": 100})
    assert not (tmp_path / "run").exists()


def test_ctrl_c_leaves_a_run_that_goes_on(whole, frame, quick, tmp_path, monkeypatch):
    numbers = signal.SIGINT, signal.SIGTERM
    before, during = list(map(signal.getsignal, numbers)), []

    def press(*result):
        assert threading.current_thread() is not threading.main_thread()
        during.extend(map(signal.getsignal, numbers))
        _thread.interrupt_main()
        stop = interruption._SHARED.get()
        assert stop is not None and stop.wait(10)  # the waiting thread has heard it
        return result

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        at_step(patch, 2, press)
        rearec_jax.fit(frame, workdir="run", **quick)
    assert before == during == list(map(signal.getsignal, numbers))
    assert not (tmp_path / "run/summary.json").exists()
    with monkeypatch.context() as patch:
        updates = at_step(patch, 0, None)
        rearec_jax.fit(frame, workdir="run", **quick)
    assert updates[0] == 3  # the first two were not lost
    assert differences(whole.path, tmp_path / "run") == []


def test_an_exception_goes_through(frame, quick, monkeypatch):
    monkeypatch.setattr(loop, "trained", None)
    with pytest.raises(TypeError):
        rearec_jax.fit(frame, **quick)


def test_import_is_light_and_fit_defines_no_flags(tmp_path):
    code = (
        "import sys, rearec_jax\n"
        "heavy = {'jax', 'polars', 'numpy', 'absl'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert {'fit', 'load', 'tune'} <= set(dir(rearec_jax))\n"
        "rearec_jax.fit, rearec_jax.tune, rearec_jax.compare\n"
        "from absl import flags\n"
        "assert not {'config', 'workdir', 'mode'} & set(flags.FLAGS)\n"
    )
    subprocess.run([sys.executable, "-c", code], env=environment(), check=True, cwd=tmp_path)


class TestOptions:
    def test_they_start_as_those_of_own_data(self):
        own = command_line.load([f"--config={ROOT / 'configs/own_data.py'}"]).to_dict()
        own["data"]["hint"], own["data"]["source"] = "", "demo"
        assert options.read(None, {}) == flattened(own)

    def test_a_file_and_its_options_are_the_same(self):
        path = ROOT / "configs/beauty.py"
        whole = command_line.load([f"--config={path}"])
        for config in (path, whole, whole.to_dict(), resolve(whole)):
            found = options.read(config, {"epochs": 7, "data.core": 3})
            assert (found["train.epochs"], found["data.core"]) == (7, 3)
            assert found["data.name"] == whole.data.name

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({"widht": 8}, ["unknown option widht", "width?"]),
            ({"train.epoch": 8}, ["unknown option train.epoch", "train.epochs?"]),
            ({"train": {"epochs": 8}}, ["unknown option train;"]),
            ({"width": "wide"}, ["config.model.width must be int"]),
            ({"method": "pry"}, ["method.name='pry'", "prl?"]),
        ],
    )
    def test_a_mistake_is_one_sentence(self, frame, quick, given, words):
        with pytest.raises(UserError) as caught:
            rearec_jax.fit(frame, **quick | given)
        assert all(word in str(caught.value) for word in words), caught.value


def test_a_search_and_a_comparison_in_one_line_each(whole, frame, quick):
    space = {"train.learning_rate": [0.01]}
    best = rearec_jax.tune(frame, workdir="tuned", minutes=5, space=space, **quick)
    assert best == "tuned/best.py"
    model = rearec_jax.fit(frame, config=best, workdir="tuned/trials/0001")
    assert load_config("tuned/trials/0001").train.learning_rate == 0.01
    compared = rearec_jax.compare([whole, model], workdir="comparison")
    assert len(compared.groups) == 2
