"""Signals, kills and second processes: real runs of the command line."""

from collections.abc import Callable
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import time

import pytest

from benchmarks.chaos_signals import hears
from rearec_jax.errors import UserError
from rearec_jax.run import front_door, lock
from rearec_jax.run.workdir import opened
from tests.faults.tiny_run import COMMAND_LINE, assert_same_end, tiny
from tests.processes import ROOT, environment, programs, start

OPTIONS = [*COMMAND_LINE, "--config.train.checkpoint_minutes=1e-9", "--config.train.epochs=4"]


def command_line(path: Path, *more: str) -> list[str]:
    config = f"--config={ROOT / 'configs/demo.py'}"
    return ["-m", "rearec_jax.main", config, f"--workdir={path}", *OPTIONS, *more]


def train(path: Path, *more: str) -> subprocess.Popen[str]:
    return start(*command_line(path, *more), cwd=path.parent)


def until(moment: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    while not moment():
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)


def events(path: Path) -> int:
    file = path / "metrics.jsonl"
    return file.read_bytes().count(b"\n") if file.exists() else 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "run"
    process = train(path)
    errors = process.communicate()[1]
    assert process.returncode == 0, errors
    return path


def test_killed_while_saving_and_between_best_and_last(whole, tmp_path):
    """Some fifty such kills are a benchmark: python -m benchmarks.chaos."""
    path = tmp_path / "run"
    saves = path / "checkpoints"
    for moment in (
        lambda: any(saves.glob("best/*tmp*")),
        lambda: any(saves.glob("last/*tmp*")) and events(path) > 3,
    ):
        process = train(path)
        until(moment, process)
        process.kill()
        process.communicate()
    process = train(path)
    errors = process.communicate()[1]
    assert process.returncode == 0, errors
    assert_same_end(whole, path)


def test_a_damaged_shard_of_one_process_moves_all_to_the_checkpoint_before(tmp_path):
    program = f"""
import logging, pathlib
import jax, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from rearec_jax.devices import hosts
from rearec_jax.run.checkpoint import Checkpoints

hosts.start(f"127.0.0.1:{{PORT}}", 2, NUMBER)
directory = pathlib.Path({str(tmp_path)!r})
rows = NamedSharding(Mesh(np.array(jax.devices()), ("model",)), PartitionSpec("model"))
values = np.random.default_rng(0).normal(size=(512, 64)).astype(np.float32)
abstract = {{"table": jax.ShapeDtypeStruct(values.shape, values.dtype, sharding=rows)}}

def cut():
    shards = directory.glob("last/2/state/ocdbt.process_1/d/*")
    largest = max(shards, key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-1000])

with Checkpoints(directory) as checkpoints:
    for number in (1, 2):
        table = jax.make_array_from_callback(values.shape, rows, lambda i: number * values[i])
        checkpoints.save_last(number, {{"table": table}}, {{"number": number}})
hosts.first_then_others(lambda: cut() if hosts.is_first() else None)
with Checkpoints(directory) as checkpoints:
    state, progress = checkpoints.restore_last(abstract)
    own = state["table"].addressable_shards[0]
    assert (np.asarray(own.data) == values[own.index]).all()
    assert progress == {{"number": 1}}
    checkpoints.save_last(3, state, progress)
with Checkpoints(directory) as checkpoints:
    assert checkpoints.restore_last(abstract)[1] == {{"number": 1}}
"""
    (code, _, said), (code1, _, said1) = programs(2, program)
    assert (code, code1) == (0, 0), (said, said1)
    assert "using checkpoint 1, not 2: it cannot be read" in said


def test_preempted(whole, tmp_path):
    """SIGTERM: saved, a documented exit code within 20 seconds, and the same command goes on."""
    path = tmp_path / "run"
    process = train(path)
    until(lambda: events(path) > 2, process)
    process.terminate()
    started = time.monotonic()
    errors = process.communicate()[1]
    assert time.monotonic() - started < 20
    assert process.returncode == front_door.INTERRUPTED
    assert "run the same command again to continue" in errors
    assert "Traceback" not in errors
    assert any((path / "checkpoints/last").iterdir())
    assert not (path / lock.FILE).exists()
    process = train(path)
    errors = process.communicate()[1]
    assert process.returncode == 0, errors
    assert_same_end(whole, path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_between_the_last_update_and_the_end(number, tmp_path, monkeypatch):
    """With nothing compiled before. Fifty at random moments: python -m benchmarks.chaos."""
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "compiled"))
    path = tmp_path / "run"
    process = train(path, "--config.train.epochs=1", "--config.train.log_every_steps=1000")
    until(lambda: events(path) == 2, process)  # the end of the epoch, and its validation
    process.send_signal(number)
    errors = process.communicate()[1]
    assert process.returncode == front_door.INTERRUPTED, errors
    assert errors.endswith(front_door.SENTENCE + "\n") and "Traceback" not in errors
    assert not (path / lock.FILE).exists() and not (path / "summary.json").exists()


@pytest.mark.parametrize(
    ("program", "number"),
    [
        ("main", signal.SIGINT),
        ("main", signal.SIGTERM),
        ("studies.grid", signal.SIGINT),
        ("studies.capacity", signal.SIGINT),
    ],
)
def test_stopped_while_it_starts(program, number, tmp_path):
    """Its imports take seconds; a signal before Python hears of the program is Python's own."""
    process = start("-m", f"rearec_jax.{program}", cwd=tmp_path)
    until(lambda: hears(process.pid), process)
    time.sleep(0.3)
    process.send_signal(number)
    errors = process.communicate()[1]
    assert (process.returncode, errors) == (front_door.INTERRUPTED, front_door.SENTENCE + "\n")
    assert not any(tmp_path.iterdir())


def test_closed_terminal(tmp_path):
    """SIGHUP, and output that fails from then on: saved all the same."""
    path = tmp_path / "run"
    master, slave = os.openpty()
    command = [sys.executable, *command_line(path)]
    terminal = dict.fromkeys(("stdin", "stdout", "stderr"), slave)
    process = subprocess.Popen(command, **terminal, env=environment(), cwd=tmp_path)
    os.close(slave)
    until(lambda: events(path) > 2, process)
    os.close(master)
    process.send_signal(signal.SIGHUP)
    assert process.wait(20) == front_door.INTERRUPTED
    assert any((path / "checkpoints/last").iterdir())


def test_output_that_nobody_reads(whole):
    """As `| head` does with it: the work goes on to its end."""
    before = (whole / "summary.json").stat().st_mtime_ns
    evaluate = ("-m", "rearec_jax.main", f"--workdir={whole}", "--mode=evaluate")
    with start(*evaluate, cwd=whole) as process:
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == ("", 0)
    assert (whole / "summary.json").stat().st_mtime_ns > before


def test_preempted_while_compiling(tmp_path):
    """Compiled code does not return to Python's signal handlers; the process ends all the same."""
    program = (
        "import hashlib, sys\n"
        "from rearec_jax.run import interruption\n"
        "with interruption.deadline(0.5, 130), interruption.Interruption():\n"
        "    print('compiling', flush=True)\n"
        "    hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)\n"
    )
    process = start("-c", program, cwd=tmp_path)
    assert process.stdout.readline() == "compiling\n"
    process.terminate()
    started = time.monotonic()
    errors = process.communicate()[1]
    assert 0.4 < time.monotonic() - started < 5
    assert process.returncode == 130
    assert "run the same command again to continue" in errors


def test_deadline_that_is_met(tmp_path):
    program = (
        "import signal, time\n"
        "from rearec_jax.run import interruption\n"
        "with interruption.deadline(0.2, 130), interruption.Interruption() as asked:\n"
        "    print('ready', flush=True)\n"
        "    while not asked.requested: time.sleep(0.01)\n"
        "assert signal.set_wakeup_fd(-1) == -1\n"
        "time.sleep(0.5)\n"
    )
    process = start("-c", program, cwd=tmp_path)
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    errors = process.communicate()[1]
    assert process.returncode == 0, errors


def test_second_run_in_the_same_directory(tmp_path):
    path = tmp_path / "run"
    with opened(path, tiny()):
        second = opened(path, tiny())
        with pytest.raises(UserError, match=r"run is in use by another run \(process \d+ on"):
            second.__enter__()
        assert (path / "config.json").exists()  # the second has taken nothing away
        process = train(path)
        errors = process.communicate()[1]
        assert process.returncode == front_door.MISTAKE
        assert f"process {os.getpid()} on" in errors
        assert errors.count("\n") == 1
    assert not (path / lock.FILE).exists()
    with opened(path, tiny()):
        pass


def test_lock_of_a_dead_process(tmp_path):
    program = (
        "import pathlib, time\n"
        "from rearec_jax.run import lock\n"
        "with lock.alone(pathlib.Path('.')):\n"
        "    print('mine', flush=True)\n"
        "    time.sleep(1000)\n"
    )
    process = start("-c", program, cwd=tmp_path)
    assert process.stdout.readline() == "mine\n"
    with pytest.raises(UserError, match=f"process {process.pid} on"), lock.alone(tmp_path):
        pass
    process.kill()
    process.communicate()
    assert (tmp_path / lock.FILE).exists()
    with lock.alone(tmp_path):
        assert str(os.getpid()) in (tmp_path / lock.FILE).read_text()


def test_evaluation_beside_a_run(whole):
    """It only reads checkpoints, so it needs no lock."""
    summary = json.loads((whole / "summary.json").read_text())
    with lock.alone(whole):
        process = start("-m", "rearec_jax.main", f"--workdir={whole}", "--mode=evaluate", cwd=whole)
        errors = process.communicate()[1]
    assert process.returncode == 0, errors
    assert json.loads((whole / "summary.json").read_text())["test"] == summary["test"]
