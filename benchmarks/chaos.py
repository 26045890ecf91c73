"""Kills a training again and again, resumes it, and compares the end with an undisturbed run.

    python -m benchmarks.chaos --kills=50 > chaos.json
    python -m benchmarks.chaos --signals=50 > signals.json      (see chaos_signals.py)

Each kill is a SIGKILL in the middle of `python -m rearec_jax.main`, at a moment drawn from --seed:

    start    after the process began: imports, data, compilation
    any      after it began to train or to resume
    save     while a checkpoint is being written
    between  the best checkpoint is whole, the last one of the same epoch is not

What a kill aims at takes milliseconds, so the directory is watched; a run that ends before its kill
counts as finished, and the next one starts from nothing. Every finished run must equal the
undisturbed one to the last bit: parameters, moments, best epoch, events, metrics, users' ranks.
Exit code 1 where one does not, or where a checkpoint that was whole is gone for an older one.
"""

import argparse
from collections.abc import Callable, Iterator
import contextlib
import dataclasses
import json
import os
from pathlib import Path
import random
import subprocess
import sys
import tempfile
import time
from typing import Any

from benchmarks.chaos_signals import stop_programs
from benchmarks.final_state import differences

AIMS = ("start", "any", "save", "between")
PATIENCE = 120.0  # seconds that a child may take to reach the moment of its kill
TINY = [
    "--config.data.demo_users=300",
    "--config.data.demo_items=120",
    "--config.model.width=32",
    "--config.model.hidden=32",
    "--config.model.max_length=20",
    "--config.method.name=prl",
    "--config.train.batch_size=256",
    "--config.train.epochs=40",
    "--config.train.learning_rate=3e-4",  # the best epoch changes often: it is saved often
    "--config.train.patience=0",
    "--config.train.log_every_steps=1",
    "--config.train.checkpoint_minutes=0.002",
]


@dataclasses.dataclass
class Kill:
    """One child: what its kill aimed at, and what came of it."""

    run: int
    aim: str
    seconds: float  # that the child lived
    newest: int  # whole checkpoint afterwards; -1 = none
    lost: bool  # an older one than before
    messages: list[str]  # of the child: which checkpoints it could not use


def main() -> None:
    """Prints one JSON object."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as scratch:
        if arguments.signals:
            draw = random.Random(arguments.seed)
            result = stop_programs(arguments.signals, draw, Path(scratch), arguments.config)
        else:
            result = chaos(arguments, Path(scratch))
    print(json.dumps(result, indent=2))
    if any(result.get(fault) for fault in ("different", "checkpoints_lost", "wrong")):
        sys.exit(1)


def chaos(arguments: argparse.Namespace, root: Path) -> dict[str, Any]:
    """All runs; what is in the JSON."""
    started = time.perf_counter()
    draw = random.Random(arguments.seed)
    whole, alone = root / "whole", time.perf_counter()
    _finish(_start(whole, root, arguments))
    alone = time.perf_counter() - alone
    kills: list[Kill] = []
    different: list[str] = []
    runs = 0
    while len(kills) < arguments.kills:
        workdir = root / f"run{runs}"
        for kill in _until_finished(workdir, runs, root, draw, arguments, len(kills)):
            kills.append(kill)
            _say(f"kill {len(kills)} of {arguments.kills}: {kill.aim}, step {kill.newest}")
        different += differences(whole, workdir)
        runs += 1
    return {
        "benchmark": "chaos",
        "seed": arguments.seed,
        "kills": len(kills),
        "by_aim": {aim: sum(kill.aim == aim for kill in kills) for aim in AIMS},
        "runs_compared": runs,
        "different": different,
        "checkpoints_lost": sum(kill.lost for kill in kills),
        "fallbacks": [message for kill in kills for message in kill.messages],
        "seconds_undisturbed": round(alone, 1),
        "seconds": round(time.perf_counter() - started, 1),
        "options": [*TINY, *arguments.options],
        "each": [dataclasses.asdict(kill) for kill in kills],
    }


def _until_finished(
    workdir: Path,
    run: int,
    root: Path,
    draw: random.Random,
    arguments: argparse.Namespace,
    done: int,
) -> Iterator[Kill]:
    """Starts and kills until a child ends by itself, or no kill is left and one may."""
    newest = -1
    while done < arguments.kills:
        aim, wait = draw.choice(AIMS), draw.random()
        child = _start(workdir, root, arguments)
        born = time.perf_counter()
        moment = _moment(aim, workdir)
        if not _wait(child, moment, born):
            break
        time.sleep(wait * {"start": 4.0, "any": 2.0, "save": 0.05, "between": 0.0}[aim])
        if child.poll() is not None:
            break
        child.kill()
        said = _messages(child.communicate()[1])
        after = max(steps(workdir, "last"), default=-1)
        lived = round(time.perf_counter() - born, 2)
        yield Kill(run, aim, lived, after, after < newest, said)
        newest, done = max(newest, after), done + 1
    else:
        child = _start(workdir, root, arguments)
    _finish(child)


def _moment(aim: str, workdir: Path) -> Callable[[], bool]:
    """Has it come?"""
    events, size = workdir / "metrics.jsonl", [-1]
    left, best_before = _half_written(workdir), max(steps(workdir, "best"), default=-1)

    def trains() -> bool:
        """A resumed run first cuts the events that will come again, then adds to them."""
        now = events.stat().st_size if events.exists() else 0
        grown = 0 <= size[0] < now
        size[0] = now
        return grown

    def saves() -> bool:
        return not _half_written(workdir) <= left

    def between() -> bool:
        best, last = (max(steps(workdir, kind), default=-1) for kind in ("best", "last"))
        return best > max(last, best_before)

    return {"start": lambda: True, "any": trains, "save": saves, "between": between}[aim]


def _half_written(workdir: Path) -> set[tuple[str, int]]:
    """Checkpoints without their final name; the next process removes what a kill has left."""
    found = set()
    for path in (workdir / "checkpoints").glob("*/*.orbax-checkpoint-tmp*"):
        with contextlib.suppress(FileNotFoundError):
            found.add((path.name, path.stat().st_ctime_ns))
    return found


def steps(workdir: Path, kind: str) -> list[int]:
    """Of the checkpoints that are whole."""
    try:
        names = os.listdir(workdir / "checkpoints" / kind)
    except FileNotFoundError:
        return []
    return sorted(int(name) for name in names if name.isdigit())


def _wait(child: subprocess.Popen[str], moment: Callable[[], bool], born: float) -> bool:
    """True when the moment has come, False when the child has ended before."""
    while not moment():
        if child.poll() is not None:
            return False
        if time.perf_counter() - born > PATIENCE:
            child.kill()
            sys.exit(f"the moment of the kill did not come in {PATIENCE:.0f} seconds")
        time.sleep(0.001)
    return True


def _start(workdir: Path, root: Path, arguments: argparse.Namespace) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "rearec_jax.main", f"--config={arguments.config}"]
    command += [f"--workdir={workdir}", *TINY, *arguments.options]
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(root / "compiled")}
    return subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def _finish(child: subprocess.Popen[str]) -> None:
    errors = child.communicate()[1]
    if child.returncode:
        sys.exit(f"a run ended with exit code {child.returncode}:\n{errors}")


def _messages(errors: str) -> list[str]:
    return [line for line in errors.splitlines() if "using the checkpoint" in line]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--signals", type=int, default=0, help="so many, and no kills")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--config", default="configs/demo.py")
    parser.add_argument("--directory", help="for the runs; a temporary one by default")
    parser.add_argument("options", nargs="*", help="of main, after --")
    arguments = parser.parse_args()
    if arguments.kills < 1 or arguments.signals < 0:
        parser.error("--kills must be at least 1, and --signals at least 0")
    return arguments


if __name__ == "__main__":
    main()
