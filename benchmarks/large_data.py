"""Prepares generated interactions and trains on them; prints what it takes as JSON.

    python -m benchmarks.large_data generate 100000000 /data/large
    python -m benchmarks.large_data measure /data/large /data/cache

`generate` writes Parquet files of user_id, item_id and timestamp in the order of time, as a log
has them: items by Zipf's law, users of log-normal activity with 20 interactions on average.
`measure` prepares them, then makes 20 updates, a validation and a test of 2,000 users (sampled
softmax, D=16), each in a process of its own. `anonymous_gib` is the most memory that no file backs,
which the system cannot take back; `peak_gib` counts mapped files as well. Where the cache holds the
data already, "prepare" says what loading them takes.
"""

import argparse
import json
from pathlib import Path
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np
import polars as pl

ROWS_A_FILE, YEARS = 5_000_000, 5
PER_USER, PER_ITEM = 20, 200  # interactions
GIB = 2**20  # kB
PREPARE = """
import sys
from rearec_jax.config import DataConfig
from rearec_jax.data.prepare import prepare
# The core of configs/own_data.py: training is to find what is prepared here.
data = prepare(DataConfig(source="table", path=sys.argv[1], cache_dir=sys.argv[2], core=5))
print(f"{data.num_interactions:,} of {data.num_users:,} users and {data.num_items:,} items")
"""
TRAIN = ["--config=configs/own_data.py", "--config.data.name=large", "--config.model.width=16"]
TRAIN += ["--config.model.layers=1", "--config.model.heads=2", "--config.train.loss=sampled"]
TRAIN += ["--config.train.lazy_adam=True", "--config.train.batch_size=512"]
TRAIN += ["--config.train.max_steps=20", "--config.eval.max_users=2000"]


def generate(rows: int, directory: Path) -> None:
    """Writes the files; the same rows for the same number."""
    directory.mkdir(parents=True, exist_ok=True)
    users, items = max(1, rows // PER_USER), max(1, rows // PER_ITEM)
    rng = np.random.default_rng(0)
    activity = np.cumsum(rng.lognormal(0, 1.1, users))
    second = YEARS * 365 * 86_400 / rows
    for number, start in enumerate(range(0, rows, ROWS_A_FILE)):
        count = min(ROWS_A_FILE, rows - start)
        at = np.sort(rng.random(count)) * activity[-1]  # sorted: the search stays in the cache
        user = rng.permutation(np.searchsorted(activity, at))
        item = np.minimum((items ** rng.random(count)).astype(np.int64), items) - 1
        times = 1_500_000_000 + (second * np.arange(start, start + count)).astype(np.int64)
        columns = {"user_id": user * 7919, "item_id": item * 104_729, "timestamp": times}
        pl.DataFrame(columns).write_parquet(directory / f"part-{number:05}.parquet")


def measure(directory: Path, cache: Path) -> dict[str, Any]:
    """Runs both processes."""
    options = [f"--config.data.path={directory}", f"--config.data.cache_dir={cache}"]
    with tempfile.TemporaryDirectory() as runs:
        train = [sys.executable, "-m", "rearec_jax.main", *TRAIN, *options]
        return {
            "benchmark": "large_data",
            "prepare": watched([sys.executable, "-c", PREPARE, str(directory), str(cache)]),
            "train": watched([*train, f"--workdir={runs}/run"]),
            "cache_gb": round(sum(f.stat().st_size for f in cache.rglob("*.*")) / 1e9, 2),
        }


def watched(command: list[str]) -> dict[str, Any]:
    """Runs a command, and says its seconds and its memory at its highest."""
    started, most = time.monotonic(), {"RssAnon": 0, "VmHWM": 0}
    process = subprocess.Popen(command, stdout=sys.stderr)
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        for line in status.splitlines():
            name, _, value = line.partition(":")
            if name in most:
                most[name] = max(most[name], int(value.split()[0]))
        time.sleep(0.1)
    return {
        "seconds": round(time.monotonic() - started, 1),
        "anonymous_gib": round(most["RssAnon"] / GIB, 2),
        "peak_gib": round(most["VmHWM"] / GIB, 2),
        "exit_code": process.returncode,
    }


def main() -> None:
    """Generates or measures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("generate")
    one.add_argument("rows", type=int)
    one.add_argument("directory", type=Path)
    two = commands.add_parser("measure")
    two.add_argument("directory", type=Path)
    two.add_argument("cache", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "generate":
        generate(arguments.rows, arguments.directory)
    else:
        print(json.dumps(measure(arguments.directory, arguments.cache), indent=2))


if __name__ == "__main__":
    main()
