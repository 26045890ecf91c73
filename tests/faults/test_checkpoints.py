"""Checkpoints that are damaged, foreign, of another model; places that cannot be written."""

import gc
import json
import logging
from pathlib import Path
import shutil
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rearec_jax.errors import UserError
from rearec_jax.run.checkpoint import Checkpoints
from rearec_jax.run.workdir import Workdir, load_config, opened
from tests.faults.tiny_run import assert_same_end, full_disk, run, tiny, without_root

# What Orbax's background threads leave behind when a read or a save fails.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]


@pytest.fixture(autouse=True)
def tidy():
    """Not in the middle of the next test."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A run that nothing disturbed: two epochs."""
    path = tmp_path_factory.mktemp("whole") / "run"
    run(path)
    return path


WIDE = {"model__width": 64, "data__demo_items": 120}


@pytest.fixture(scope="module")
def wide(tmp_path_factory) -> Path:
    """As ``whole``, with arrays that are larger than the other files."""
    path = tmp_path_factory.mktemp("wide") / "run"
    run(path, tiny(**WIDE))
    return path


@pytest.fixture
def half(whole, tmp_path) -> Path:
    """The same run with both checkpoints and without results: it may be resumed from either."""
    path = shutil.copytree(whole, tmp_path / "run")
    for name in ("summary.json", "ranks.parquet"):
        (path / name).unlink()
    return path


def newest(path: Path) -> Path:
    steps = (step for step in (path / "checkpoints/last").iterdir() if step.name.isdigit())
    return max(steps, key=lambda step: int(step.name))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def resumed(path: Path, caplog) -> str:
    """What is said when the run goes on."""
    with caplog.at_level(logging.WARNING):
        run(path)
    return caplog.text


def test_cut_checkpoint(whole, half, caplog):
    for file in newest(half).rglob("*"):
        if file.is_file():
            cut(file)
    said = resumed(half, caplog)
    assert "using checkpoint" in said
    assert f"not {newest(whole).name}: it cannot be read" in said
    assert_same_end(whole, half)


def test_changed_byte_in_a_checkpoint(whole, half, caplog):
    for path in (newest(half) / "state/d").iterdir():
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    said = resumed(half, caplog)
    assert f"not {newest(whole).name}: it" in said
    assert_same_end(whole, half)


def test_empty_directory_in_place_of_a_checkpoint(whole, half, caplog):
    (half / "checkpoints/last/999999").mkdir()
    assert "not 999999: it cannot be read" in resumed(half, caplog)
    assert_same_end(whole, half)


def test_half_written_checkpoint_of_a_killed_process(whole, half, caplog):
    step = newest(half)
    step.rename(step.with_name(f"{step.name}.orbax-checkpoint-tmp"))
    resumed(half, caplog)
    assert_same_end(whole, half)
    assert not list((half / "checkpoints/last").glob("*tmp*"))


def test_foreign_checkpoint(whole, half, caplog):
    """The newest was put there by another program, the one before it is ours."""
    import orbax.checkpoint as ocp

    shutil.rmtree(newest(half))
    with ocp.CheckpointManager((half / "checkpoints/last").absolute()) as manager:
        manager.save(10**6, args=ocp.args.StandardSave({"weights": jnp.ones(3)}))
    said = resumed(half, caplog)
    assert "not 1000000: it" in said
    assert_same_end(whole, half)


def test_checkpoint_of_another_architecture(whole, half, caplog, tmp_path):
    """Newer, but of another width: the one before is used; where there is none, an error."""
    state = {"x": jnp.ones((3, 4)), "y": jnp.ones(2)}
    with Checkpoints(tmp_path / "mixed") as checkpoints:
        checkpoints.save_last(1, state, {"epoch": 1})
        checkpoints.save_last(2, {"x": jnp.ones((3, 5)), "y": jnp.ones(2)}, {"epoch": 2})
    shapes = {name: jax.ShapeDtypeStruct(x.shape, x.dtype) for name, x in state.items()}
    with caplog.at_level(logging.WARNING), Checkpoints(tmp_path / "mixed") as checkpoints:
        restored = checkpoints.restore_last(shapes)
    assert restored is not None and restored[1] == {"epoch": 1}
    np.testing.assert_array_equal(restored[0]["x"], state["x"])
    said = "not 2: it is of another model: x is float32[3,5] there and float32[3,4]"
    assert said in caplog.text
    other = run_of_width_16(tmp_path / "other")
    for kind in ("last", "best"):
        shutil.rmtree(half / "checkpoints" / kind)
        shutil.copytree(other / "checkpoints" / kind, half / "checkpoints" / kind)
    with pytest.raises(UserError, match=r"another --workdir to train anew:\n  \d+: it is of"):
        run(half)


def run_of_width_16(path: Path) -> Path:
    run(path, tiny(model__width=16))
    return path


def test_another_configuration_in_the_work_directory(whole):
    with pytest.raises(UserError, match=r"set them back:\n  model\.width: 8 -> 16"):
        run(whole, tiny(model__width=16))
    assert load_config(whole) == tiny()


def test_lost_best_checkpoint(whole, half, caplog):
    """The last two speak of a best that is gone: no result is made up."""
    shutil.rmtree(half / "checkpoints/best")
    with pytest.raises(UserError, match="lost its best epoch"), caplog.at_level(logging.WARNING):
        run(half)
    assert not (half / "summary.json").exists()


@pytest.mark.parametrize("byte", [100, 3_000])
def test_full_disk(tmp_path, byte, wide):
    """It stops at the configuration, the log or a checkpoint; with room again the run goes on."""
    config = tiny(**WIDE)
    with full_disk(byte), pytest.raises(UserError, match=r"cannot write .*make room"):
        run(tmp_path / "run", config)
    assert not (tmp_path / "run/summary.json").exists()
    run(tmp_path / "run", config)
    assert_same_end(wide, tmp_path / "run")


def test_disk_that_fills_up_between_two_checkpoints(tmp_path, monkeypatch, wide):
    config = tiny(**WIDE)
    save_last = Checkpoints.save_last
    calls = []

    def save(self, step, state, progress):
        calls.append(step)
        if len(calls) < 2:
            return save_last(self, step, state, progress)
        self.wait()
        with full_disk(20_000):
            save_last(self, step, state, progress)
            self.wait()

    monkeypatch.setattr(Checkpoints, "save_last", save)
    with pytest.raises(UserError, match=r"checkpoints/last: .*; make room"):
        run(tmp_path / "run", config)
    assert newest(tmp_path / "run").name == str(calls[0])
    monkeypatch.undo()
    run(tmp_path / "run", config)
    assert_same_end(wide, tmp_path / "run")


@pytest.fixture
def public_directory():
    """Outside the directory of pytest, which nobody but its owner may enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def refused(path: Path) -> None:
    opens = opened(path, tiny())
    with pytest.raises(UserError, match=r"cannot write .*Permission denied"):
        opens.__enter__()


def test_no_permission_to_write(public_directory):
    path = public_directory
    with without_root():
        refused(path / "run")
    (path / "run").mkdir()
    with without_root():
        refused(path / "run")
    assert list((path / "run").iterdir()) == []


def test_permission_lost_in_the_middle_of_a_run(public_directory):
    path = public_directory / "run"
    with opened(path, tiny()) as workdir:
        state = {"x": jnp.ones(3)}
        with Checkpoints(workdir.checkpoints) as checkpoints:
            checkpoints.save_last(1, state, {"epoch": 1})
            checkpoints.wait()
            for directory in (path, *path.rglob("*")):
                directory.chmod(0o755 if directory.is_dir() else 0o644)
            with without_root(), pytest.raises(UserError, match=r"last: Permission denied; make"):
                checkpoints.save_last(2, state, {"epoch": 2})
                checkpoints.wait()
        shapes = {"x": jax.ShapeDtypeStruct((3,), jnp.float32)}
        with Checkpoints(workdir.checkpoints) as checkpoints:
            assert checkpoints.restore_last(shapes)[1] == {"epoch": 1}


def test_damaged_files_of_a_work_directory(half):
    for name in ("config.json", "data.json"):
        kept = (half / name).read_bytes()
        cut(half / name)
        with pytest.raises(UserError, match=rf"{name} cannot be read .*restore it, or choose"):
            run(half)
        (half / name).write_bytes(kept)
    lines = (half / "metrics.jsonl").read_text().splitlines(keepends=True)
    (half / "metrics.jsonl").write_text("".join(["{broken\n", *lines]))
    with pytest.raises(UserError, match=r"metrics\.jsonl line 1 is damaged; delete that line"):
        run(half)


def test_log_cut_in_the_middle_of_a_line(whole, half, caplog):
    events = Workdir(half).events
    shutil.rmtree(newest(half))
    events.write_bytes(events.read_bytes()[:-7])
    resumed(half, caplog)
    assert_same_end(whole, half)
    assert all(json.loads(line) for line in events.read_text().splitlines())


def test_training_that_diverges(tmp_path):
    """It stops where it went wrong, and nothing that is not finite is ever saved."""
    config = tiny(train__learning_rate=1e30)
    with pytest.raises(UserError, match=r"at step \d+ \(epoch 1\); .* try a lower train\.learning"):
        run(tmp_path / "run", config)
    assert not (tmp_path / "run").exists()
