"""Two and three real processes on this machine are one run."""

from collections.abc import Callable
import json
from pathlib import Path
import signal
import subprocess
import time
from typing import Any

import pytest

from rearec_jax.devices import hosts
from rearec_jax.errors import UserError
from tests.processes import ROOT, SECONDS, finish, free_port, programs
from tests.processes import start as start_python

TINY = [
    f"--config={ROOT / 'configs/demo.py'}",
    "--config.data.demo_users=60",
    "--config.data.demo_items=61",
    "--config.model.width=8",
    "--config.model.hidden=8",
    "--config.model.layers=1",
    "--config.model.max_length=10",
    "--config.method.name=rpe",
    "--config.method.steps=1",
    "--config.train.batch_size=100",
    "--config.train.epochs=2",
    "--config.train.log_every_steps=1",
]


def start(count: int, devices: int, *arguments: str) -> list[subprocess.Popen[str]]:
    port = free_port()
    several = [f"--coordinator=127.0.0.1:{port}", f"--processes={count}"] if count > 1 else []
    return [
        start_python(
            *("-m", "rearec_jax.main", *TINY, *arguments, *several),
            *([f"--process={number}"] if several else []),
            cwd=ROOT,
            devices=devices,
        )
        for number in range(count)
    ]


def summary(path: Path) -> dict[str, Any]:
    return json.loads((path / "summary.json").read_text())


def losses(path: Path) -> list[float]:
    events = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [event["parts"]["loss"] for event in events if event["kind"] == "training"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("alone") / "run"
    [(code, _, errors)] = finish(start(1, 1, f"--workdir={path}"))
    assert code == 0, errors
    return path


@pytest.mark.parametrize(("count", "devices", "model"), [(2, 2, 2), (3, 1, 1)])
def test_several_processes_are_one_run(tmp_path, alone, count, devices, model):
    path = tmp_path / "run"
    results = finish(start(count, devices, f"--workdir={path}", f"--config.mesh.model={model}"))
    assert [code for code, _, _ in results] == [0] * count, results
    assert "written" in results[0][1]
    for _, out, _ in results[1:]:  # where only the collectives' library speaks, by several threads
        assert not any(word in out for word in ("epoch", "loss", "NDCG", "written")), out
    assert losses(path) == pytest.approx(losses(alone), rel=1e-4)
    got, want = summary(path), summary(alone)
    assert got["best_epoch"] == want["best_epoch"]
    assert got["test"] == pytest.approx(want["test"], abs=0.02)


def wait_for(condition: Callable[[], bool], processes: list[subprocess.Popen[str]]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert all(p.poll() is None for p in processes), finish(processes)
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_signal_to_one_stops_all_and_the_same_command_continues(tmp_path):
    path, steps = tmp_path / "run", 150
    arguments = [
        f"--workdir={path}",
        "--config.train.epochs=300",
        "--config.train.patience=0",
        f"--config.train.max_steps={steps}",
    ]
    processes = start(2, 1, *arguments)
    events = path / "metrics.jsonl"
    wait_for(lambda: events.exists() and events.read_text().count("\n") > 3, processes)
    processes[1].send_signal(signal.SIGTERM)
    results = finish(processes)
    assert [code for code, _, _ in results] == [130, 130], results
    assert 0 < len(losses(path)) < steps
    results = finish(start(2, 1, *arguments))
    assert [code for code, _, _ in results] == [0, 0], results
    assert len(losses(path)) == steps


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((None, 2, 0), r"need --coordinator"),
        (("here", 2, 0), r"--coordinator=here is not HOST:PORT"),
        (("here:x", 2, 0), r"is not HOST:PORT"),
        (("here:1", None, 0), r"alone is not enough"),
        (("here:1", 2, 2), r"--process=2 must lie between 0 and"),
        (("here:1", 2, -1), r"--process=-1 must lie between 0 and"),
    ],
)
def test_flags_that_make_no_sense(arguments, said):
    with pytest.raises(UserError, match=said):
        hosts.start(*arguments)


def test_a_mistake_is_said_by_every_process(tmp_path):
    results = finish(start(2, 1, f"--workdir={tmp_path / 'run'}", "--config.mesh.model=3"))
    for code, _, errors in results:
        assert code == 2, results
        assert "mesh.model=3 does not divide the 2 devices" in errors, results


def test_what_fails_in_one_process_ends_all():
    program = """
import sys
from rearec_jax.devices import hosts
from rearec_jax.errors import UserError

def work():
    if NUMBER == 1:
        raise UserError("no file here")
    return "done"

hosts.start(f"127.0.0.1:{PORT}", 2, NUMBER)
try:
    hosts.first_then_others(work)
except UserError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
"""
    (code, _, said), (code1, _, said1) = programs(2, program)
    assert (code, code1) == (2, 2), (said, said1)
    assert "another process stopped" in said and "no file here" in said1


def test_signals_are_heard_once_the_processes_know_each_other():
    program = """
import os, signal, time
from rearec_jax.devices import hosts

signal.signal(signal.SIGTERM, signal.default_int_handler)
hosts.start(f"127.0.0.1:{PORT}", 1, NUMBER)
try:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(20)
except KeyboardInterrupt:
    print("heard")
"""
    [(code, out, errors)] = programs(1, program)
    assert code == 0 and "heard" in out, errors


class TestAlone:
    def test_flags_are_ones_own(self):
        assert hosts.any_host([True, False]) == [True, False]
        assert hosts.any_text("why") == "why"
        assert hosts.Ballot().ask([False, True]) == [False, True]

    def test_work_is_done_once(self):
        done = []
        assert hosts.first_then_others(lambda: done.append(1) or "made") == "made"
        assert done == [1] and hosts.is_first()
