"""Training speed of SASRec beside other libraries, in one run, as JSON.

    python -m venv /tmp/peers && /tmp/peers/bin/pip install "rectools[torch]"    # or recbole
    python -m benchmarks.peers Beauty.txt --peers=rectools --python=/tmp/peers/bin/python
    python -m benchmarks.peers Beauty.txt --peers=rectools,recbole --python=... --until=0.03

Same file (user item item ... a line, leave-one-out), D, L, H, T, full softmax, Adam at 1e-3, about
the same number of targets an update, and huge pages that are kept where there are any; all else
(dropout, initial values, where LayerNorm stands) as each library has it. Every side is a process of
its own; they take turns of --batches updates, so that all meet the same neighbours, and the first
turn of each does not count. The ratio is the median over the rounds of a side's targets a second
over the first peer's in the same round.
A target is an item that a loss looks at: RecTools and rearec_jax read all prefixes of a user in one
row (RecTools only the last T of a user), RecBole encodes each on its own.

--until: epochs in turns until each side has reached that validation NDCG@10 (all items ranked);
seconds are of training alone, from fresh parameters.

Measure on an otherwise idle machine: OpenMP's threads wait for each other, so on busy cores PyTorch
can lose far more than its share (--peer_threads=1 helps there), and large batches of padded rows
cost it memory (--peer_targets=750 is RecTools' default of 128 users on Beauty). Report the best.
"""

import argparse
from collections.abc import Mapping, Sequence
import json
import os
from pathlib import Path
import platform
import statistics
import subprocess
import sys
import tempfile
from typing import Any

from rearec_jax.ops.huge_pages import restart_with_huge_pages

OURS = {"rearec_jax base": ("base", 0), "rearec_jax prl K=2": ("prl", 2)}


class Side:
    """One library in its own process. Raises RuntimeError where that process ends."""

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str] = os.environ
    ):
        self.name = name
        self.targets = 0  # trained on so far
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.about = self._answer()

    def turn(self, **request: Any) -> dict[str, Any]:
        """What the worker answers to a request."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        self.targets += answer["targets"]
        return answer

    def close(self) -> None:
        """Ends the process, and closes the pipes to it."""
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            self.close()
            raise RuntimeError(f"{self.name} ended with code {code}")
        return json.loads(line)


def main() -> None:
    """Starts all sides, lets them take turns, prints one JSON object."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as scratch:
        sides, missing = _start(arguments, scratch)
        try:
            speeds = rounds(sides, arguments.batches, arguments.rounds)
            reached = race(sides, speeds, arguments) if arguments.until else {}
        finally:
            for side in sides:
                side.close()
    result = {
        "benchmark": "peers",
        "file": arguments.file.name,
        "machine": {"processor": platform.machine(), "cores": os.cpu_count()},
        "width": arguments.width,
        "layers": arguments.layers,
        "heads": arguments.heads,
        "max_length": arguments.max_length,
        "targets_per_update": arguments.targets,
        "peer_targets_per_update": arguments.peer_targets or arguments.targets,
        "peer_threads": arguments.peer_threads or "default",
        "until_ndcg@10": arguments.until or None,
        "missing": missing,
        "results": [
            {"name": side.name, **side.about}
            | summary(side, speeds, sides[0].name)
            | reached.get(side.name, {})
            for side in sides
        ],
    }
    print(json.dumps(result, indent=2))


def rounds(sides: Sequence[Side], batches: int, count: int) -> dict[str, list[float]]:
    """Targets a second of each side in each round; one turn of each comes before and is lost."""
    speeds: dict[str, list[float]] = {side.name: [] for side in sides}
    for number in range(count + 1):
        for side in sides:
            answer = side.turn(batches=batches)
            speed = answer["targets"] / answer["seconds"]
            print(f"{side.name}: {speed:,.0f} targets a second", file=sys.stderr)
            if number:
                speeds[side.name].append(speed)
    return speeds


def summary(side: Side, speeds: Mapping[str, list[float]], first: str) -> dict[str, Any]:
    """Median speed, seconds an epoch at that speed, and the median ratio to ``first``."""
    own = speeds[side.name]
    speed = statistics.median(own)
    ratio = statistics.median(a / b for a, b in zip(own, speeds[first], strict=True))
    return {
        "targets_per_second": round(speed, 1),
        "seconds_per_epoch": round(side.about["targets_per_epoch"] / speed, 2),
        f"over {first}": round(ratio, 2),
    }


def race(
    sides: Sequence[Side], speeds: Mapping[str, list[float]], arguments: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    """Epochs and seconds of training until validation NDCG@10 is reached; null where it is not.

    The rounds before have trained too; they count at their median speed, without compilation.
    """
    seconds = {side.name: side.targets / statistics.median(speeds[side.name]) for side in sides}
    results: dict[str, dict[str, Any]] = {}
    for epoch in range(1, arguments.max_epochs + 1):
        for side in (side for side in sides if side.name not in results):
            answer = side.turn(epoch=True)
            seconds[side.name] += answer["seconds"]
            score = answer["ndcg@10"]
            print(f"{side.name}: epoch {epoch}, validation NDCG@10 {score:.4f}", file=sys.stderr)
            if score >= arguments.until:
                epochs = round(side.targets / side.about["targets_per_epoch"], 1)
                found = {"epochs": epochs, "seconds_to_until": round(seconds[side.name], 1)}
                results[side.name] = found | {"ndcg@10": score}
    lost = {"epochs": arguments.max_epochs, "seconds_to_until": None}
    return {side.name: lost for side in sides} | results


def _start(arguments: argparse.Namespace, scratch: str) -> tuple[list[Side], dict[str, str]]:
    """The sides that work, peers first, and why the others do not."""
    targets = arguments.peer_targets or arguments.targets
    commands = {
        name: [arguments.python, *_worker(name, arguments), f"--targets={targets}"]
        for name in arguments.peers
    }
    for name, (method, steps) in OURS.items():
        options = [f"--method={method}", f"--steps={max(1, steps)}"]
        options += [f"--targets={arguments.targets}"]
        commands[name] = [sys.executable, *_worker("rearec_jax", arguments), *options]
    threads = {"OMP_NUM_THREADS": str(arguments.peer_threads)} if arguments.peer_threads else {}
    sides, missing = [], {}
    for name, command in commands.items():
        environment = os.environ | (threads if name in arguments.peers else {})
        try:
            sides.append(Side(name, [*command, f"--scratch={scratch}"], environment))
        except (RuntimeError, OSError) as error:  # its own message is on stderr
            print(f"{error}; left out", file=sys.stderr)
            missing[name] = str(error)
    return sides, missing


def _worker(library: str, arguments: argparse.Namespace) -> list[str]:
    options = [
        f"--{name}={getattr(arguments, name)}"
        for name in ("width", "layers", "heads", "max_length")
    ]
    validate = ["--validate"] if arguments.until else []
    return ["-m", "benchmarks.peer_worker", library, str(arguments.file), *options, *validate]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--peers", type=lambda text: text.split(","), default=["rectools"])
    parser.add_argument("--python", default=sys.executable, help="interpreter that has the peers")
    parser.add_argument("--peer_threads", type=int, default=0, help="of OpenMP; 0 = its default")
    parser.add_argument("--peer_targets", type=int, default=0, help="0 = as --targets")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--heads", type=int, default=2)
    parser.add_argument("--max_length", type=int, default=50)
    parser.add_argument("--targets", type=int, default=2048, help="an update, about")
    parser.add_argument("--batches", type=int, default=4, help="updates a turn")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side that count")
    parser.add_argument("--until", type=float, default=0.0, help="validation NDCG@10 to reach")
    parser.add_argument("--max_epochs", type=int, default=30)
    arguments = parser.parse_args()
    arguments.file = arguments.file.resolve()
    if not arguments.file.is_file():
        parser.error(f"{arguments.file} does not exist")
    return arguments


if __name__ == "__main__":
    restart_with_huge_pages()  # as rearec_jax.main does
    main()
