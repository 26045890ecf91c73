"""What checkpoints cost a training run, as JSON: seconds that it waits for them, and their share.

    python -m benchmarks.checkpoint_cost Beauty.txt --epochs=4 --width=64

A run of configs/beauty.py with a last checkpoint after every epoch, and a best one where validation
improves (in early epochs, always). `share` is the time that saving keeps the run waiting, reading
the best one at the end included, over the time of training itself. The writing goes on behind: what
it takes from the next updates is in their own time, and `targets_per_second` shows it.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable
import contextlib
import functools
import json
from pathlib import Path
import sys
import tempfile
import time
from typing import Any

from rearec_jax import config as config_lib
from rearec_jax.commands import train
from rearec_jax.config import command_line
from rearec_jax.ops.huge_pages import compute_in_first_thread, restart_with_huge_pages
from rearec_jax.run.checkpoint import Checkpoints

METHODS = ("save_last", "save_best", "wait", "restore_best", "close")


def main() -> None:
    """Trains once and prints one JSON object."""
    arguments = _arguments()
    waited: dict[str, list[float]] = defaultdict(list)
    for name in METHODS:
        setattr(Checkpoints, name, timed(getattr(Checkpoints, name), waited[name]))
    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stdout(sys.stderr):
        summary = train.train_run(
            f"{scratch}/run", _config(arguments), "beauty", time.perf_counter()
        )
    seconds = sum(sum(times) for times in waited.values())
    result = {
        "benchmark": "checkpoint_cost",
        "width": arguments.width,
        "method": arguments.method,
        "epochs": arguments.epochs,
        "training_seconds": round(summary["train"]["seconds"], 2),
        "targets_per_second": round(summary["train"]["targets_per_second"], 1),
        "waited_seconds": {name: [round(t, 4) for t in times] for name, times in waited.items()},
        "share": round(seconds / summary["train"]["seconds"], 5),
    }
    print(json.dumps(result, indent=2))


def timed(method: Callable[..., Any], seconds: list[float]) -> Callable[..., Any]:
    """``method``, with the seconds of each call noted in ``seconds``."""

    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        try:
            return method(*args, **kwargs)
        finally:
            seconds.append(time.perf_counter() - started)

    return call


def _config(arguments: argparse.Namespace) -> config_lib.Config:
    options = command_line.load(
        [
            "--config=configs/beauty.py",
            f"--config.data.path={arguments.file}",
            f"--config.method.name={arguments.method}",
            f"--config.model.width={arguments.width}",
            f"--config.train.epochs={arguments.epochs}",
            "--config.eval.max_users=2000",
        ]
    )
    return config_lib.resolve(options)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--method", default="base")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=4)
    return parser.parse_args()


if __name__ == "__main__":
    restart_with_huge_pages()  # as rearec_jax.main does
    compute_in_first_thread()
    main()
