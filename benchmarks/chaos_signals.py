"""What `python -m benchmarks.chaos --signals=50` does: stops programs by signals.

Each signal, Ctrl-C, SIGTERM or SIGHUP, comes at a random moment of a program: between its first
line and the time that it takes alone, or, for `end`, between the last update of a training and the
exit of its process. Half of them find nothing compiled before.

Right are exit code 130, or 0 where the program was done, no traceback, and at most SECONDS.
"""

from collections import Counter
from collections.abc import Callable
import dataclasses
import os
from pathlib import Path
import random
import signal
import subprocess
import sys
import time
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
CODES = (0, 130)
SECONDS = 16.0  # from the signal to the end
SERVING = 6.0  # seconds that a server is left alone
MAIN = (sys.executable, "-m", "rearec_jax.main")
GRID = (sys.executable, "-m", "rearec_jax.studies.grid")
EPOCHS = 2  # each of so few updates that only its last is logged
SMALL = [
    "--config.data.demo_users=300",
    "--config.data.demo_items=120",
    "--config.model.width=32",
    "--config.model.hidden=32",
    "--config.model.max_length=20",
    "--config.train.batch_size=1024",
    f"--config.train.epochs={EPOCHS}",
]
ROWS = 1_000_000  # of the interactions that are prepared


@dataclasses.dataclass
class Stop:
    """A signal and what came of it."""

    program: str
    compiled: bool  # before, by an earlier program
    signal: str
    moment: float  # seconds after the first line of the program; for `end`, after the last update
    seconds: float  # from the signal to the end
    code: int
    wrong: str  # "" where all is right


def stop_programs(count: int, draw: random.Random, root: Path, config: str) -> dict[str, Any]:
    """Makes a run, measures how long each program takes alone, and stops it."""
    started = time.perf_counter()
    programs = _programs(root, config)
    alone: dict[str, float] = {}
    stops: list[Stop] = []
    while len(stops) < count:
        # The end of a training in every second place.
        name = "end" if len(stops) % 2 else list(programs)[len(stops) // 2 % len(programs)]
        if name not in alone:
            alone[name] = _alone(name, programs[name], root)
        stops.append(_stop(name, programs[name], alone[name], draw, root))
        print(f"signal {len(stops)} of {count}: {stops[-1]}", file=sys.stderr, flush=True)
    return {
        "benchmark": "chaos --signals",
        "signals": count,
        "by_program": dict(Counter(stop.program for stop in stops)),
        "by_signal": dict(Counter(stop.signal for stop in stops)),
        "codes": dict(Counter(stop.code for stop in stops)),
        "wrong": [stop.wrong for stop in stops if stop.wrong],
        "slowest_seconds": max(stop.seconds for stop in stops),
        "seconds_alone": alone,
        "seconds": round(time.perf_counter() - started, 1),
        "each": [dataclasses.asdict(stop) for stop in stops],
    }


def _programs(root: Path, config: str) -> dict[str, list[str]]:
    """Returns the command of each program; NEW is a path that does not exist yet."""
    run, users, rows = root / "run", root / "users.csv", root / "rows.csv"
    train = [*MAIN, f"--config={config}", *SMALL]
    subprocess.run([*train, f"--workdir={run}"], check=True, stdout=subprocess.DEVNULL)
    items = " ".join(map(str, range(1, 9)))
    users.write_text("user_id,items\n" + "".join(f"{user},{items}\n" for user in range(2000)))
    with rows.open("w") as file:
        file.write("user_id,item_id,timestamp\n")
        file.writelines(f"{i % 50_021},{i * 7 % 5_003},{i}\n" for i in range(ROWS))
    own = ["--config.data.source=table", f"--config.data.path={rows}"]
    own += ["--config.data.cache_dir=NEW.cache", "--config.train.max_steps=1"]
    return {
        "end": [*train, "--workdir=NEW"],
        "train": [*train, "--workdir=NEW"],
        "prepare": [*train, *own, "--workdir=NEW"],
        "evaluate": [*MAIN, "--mode=evaluate", f"--workdir={run}"],
        "analyse": [*MAIN, "--mode=analyse", f"--workdir={run}"],
        "report": [*MAIN, "--mode=report", f"--workdir={run}"],
        "recommend": [
            *(*MAIN, "--mode=recommend", f"--workdir={run}"),
            *(f"--input={users}", "--output=NEW.csv"),
        ],
        "export": [*MAIN, "--mode=export", f"--workdir={run}", "--output=NEW"],
        "serve": [*MAIN, "--mode=serve", f"--workdir={run}", "--port=0"],
        "tune": [*train, "--mode=tune", "--workdir=NEW", "--trials=2", "--minutes=5"],
        "grid": [*GRID, f"--configs={config}", "--methods=base,erl", "--root=NEW", *SMALL],
    }


def _alone(name: str, command: list[str], root: Path) -> float:
    """Returns the seconds of a program that nobody stops, with nothing compiled before."""
    if name == "serve":
        return SERVING
    child = _Child(command, root, compiled=False)
    child.wait_for(child.moment_of(name))
    began = time.perf_counter()
    errors = child.process.communicate()[1]
    if child.process.returncode:
        sys.exit(f"{name} ended with exit code {child.process.returncode}:\n{errors}")
    return round(time.perf_counter() - began, 2)


def _stop(name: str, command: list[str], alone: float, draw: random.Random, root: Path) -> Stop:
    compiled, number = draw.random() < 0.5, draw.choice(SIGNALS)
    moment = round(draw.random() * alone, 3)
    child = _Child(command, root, compiled)
    child.wait_for(child.moment_of(name))
    time.sleep(moment)
    sent = time.perf_counter()
    child.process.send_signal(number)
    try:
        errors = child.process.communicate(timeout=4 * SECONDS)[1]
    except subprocess.TimeoutExpired:
        child.process.kill()
        errors = child.process.communicate()[1]
    seconds, code = round(time.perf_counter() - sent, 2), child.process.returncode
    is_right = code in CODES and "Traceback" not in errors and seconds < SECONDS
    wrong = "" if is_right else f"{name}: exit code {code} after {seconds} s: {errors[-2000:]}"
    return Stop(name, compiled, number.name, moment, seconds, code, wrong)


def hears(process: int) -> bool:
    """Says whether a process handles SIGTERM, as the program does from its first line on."""
    status = Path(f"/proc/{process}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


class _Child:
    """A program that was started with paths of its own."""

    def __init__(self, command: list[str], root: Path, compiled: bool):
        self.new = root / f"new{time.monotonic_ns()}"
        cache = root / "compiled" if compiled else self.new.with_suffix(".compiled")
        self.process = subprocess.Popen(
            [argument.replace("NEW", str(self.new)) for argument in command],
            env=os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)},
            text=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def moment_of(self, name: str) -> Callable[[], bool]:
        """Returns what is to be true before the clock of a program starts."""
        return self._has_made_all_updates if name == "end" else lambda: hears(self.process.pid)

    def wait_for(self, moment: Callable[[], bool]) -> None:
        """Waits until it is true, or the program has ended."""
        while self.process.poll() is None and not moment():
            time.sleep(0.002)

    def _has_made_all_updates(self) -> bool:
        """Says whether the log has the last update of the last epoch."""
        log = self.new / "metrics.jsonl"
        return log.exists() and log.read_text().count('"kind": "training"') == EPOCHS
