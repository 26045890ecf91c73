"""What is told of a training: by name, as a function, as a class; and the loggers of others."""

from pathlib import Path
import time

import pytest

from rearec_jax.errors import UserError
from rearec_jax.run.callbacks import Callback, Callbacks, EachEpoch, Start, Update, callback

OPTIONS = {f"model.option{number}": number for number in range(120)}  # MLflow takes 100 at once
EVENT = {"step": 4, "epoch": 1, "kind": "validation", "valid": {"ndcg@20": 0.25}}


class Noting(Callback):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def on_epoch(self, event) -> None:
        self.told.append(event)

    def close(self) -> None:
        self.told.append("closed")


def note(event: object) -> None:
    """A function that a configuration file may name."""


def test_a_file_a_module_a_class_an_object_and_a_function(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("told = []\n\n\ndef log(event):\n    told.append(event)\n")
    assert isinstance(callback(f"{file}:log"), EachEpoch)
    callback(f"{file}:log").on_epoch(EVENT)
    assert isinstance(callback(f"{__name__}:note" if "." in __name__ else note), EachEpoch)
    assert isinstance(callback(Noting), Noting)
    one = Noting()
    assert callback(one) is one
    found: list[object] = []
    callback(found.append).on_epoch(EVENT)
    assert found == [EVENT]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("wandbb", ["'wandbb'", "wandb, mlflow, FILE.py:NAME"]),
        ("no.py:log", ["'no.py:log' cannot be read"]),
        ("json:no_such_name", ["no_such_name"]),
        ("nowhere_at_all:log", ["nowhere_at_all"]),
        (3, ["3 is no callback"]),
        (int, ["is no callback"]),
    ],
)
def test_a_mistake_is_one_sentence(given, words):
    with pytest.raises(UserError) as caught:
        callback(given)
    assert all(word in str(caught.value) for word in words), caught.value


def test_all_are_closed_also_where_one_fails():
    class Failing(Callback):
        def close(self) -> None:
            raise OSError("full")

    one, other = Noting(), Noting()
    both = Callbacks([one, Failing(), other])
    both.on_epoch(EVENT)
    with pytest.raises(OSError, match="full"):
        both.close()
    assert one.told == other.told == [EVENT, "closed"]


def run(logger: Callback, directory: Path, ends: bool, step: int = 0) -> None:
    logger.on_start(Start(directory, OPTIONS, step, step // 4, 8, 4))
    logger.on_update(Update(step + 1, 1, {"loss": 9.0}, is_logged=False))
    logger.on_update(Update(step + 4, 1, {"loss": 2.5}))
    logger.on_epoch(EVENT | {"step": step + 4})
    if ends:
        logger.on_end({"method": "prl", "test": {"ndcg@10": 0.125}})
    logger.close()
    logger.close()  # it may come twice


@pytest.mark.filterwarnings("ignore")  # of the package
def test_mlflow_keeps_one_run_that_goes_on(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="the extra `mlflow` is not installed")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    directory = tmp_path / "run"
    directory.mkdir()
    run(callback("mlflow"), directory, ends=False)
    client = mlflow.MlflowClient((tmp_path / "mlruns").as_uri())
    (experiment,) = (e for e in client.search_experiments() if e.name == "rearec_jax")
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.status == "KILLED" and len(found.data.params) == len(OPTIONS)
    run(callback("mlflow"), directory, ends=True, step=4)
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.status == "FINISHED"
    assert found.data.metrics["test/ndcg_at_10"] == 0.125
    history = client.get_metric_history(found.info.run_id, "parts/loss")
    assert [(each.step, each.value) for each in history] == [(4, 2.5), (8, 2.5)]


@pytest.mark.filterwarnings("ignore")
def test_wandb_writes_a_run_without_the_network(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="the extra `wandb` is not installed")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("WANDB_SILENT", "true")
    run(callback("wandb"), tmp_path, ends=True)
    (file,) = tmp_path.rglob("*.wandb")
    end = time.monotonic() + 20  # a process of the package writes it, perhaps a moment later
    wanted = {b"parts/loss", b"valid/ndcg_at_20", b"test/ndcg_at_10"}
    while (missing := {name for name in wanted if name not in file.read_bytes()}) and (
        time.monotonic() < end
    ):
        time.sleep(0.1)
    assert not missing
