"""Prepares generated interactions and trains on them; prints what it takes as JSON.

    python -m benchmarks.large_data generate 100000000 /data/large
    python -m benchmarks.large_data generate 100000000 /data/users --by_user
    python -m benchmarks.large_data measure /data/large /data/cache

`generate` writes Parquet files of user_id, item_id and timestamp in the order of time, as a log
has them: items by Zipf's law, users of log-normal activity with 20 interactions on average.
With `--by_user` a row is a user with the lists items and timestamps, as a warehouse makes them.
`measure` prepares them, then makes 20 updates, a validation and a test of 2,000 users (sampled
softmax, D=16), each in a process of its own. `cpu_seconds` are those of all cores.
`anonymous_gib` is the most memory that no file backs, which the system cannot take back;
`peak_gib` counts mapped files as well. Where the cache holds the data already, "prepare" says what
loading them takes.
"""

import argparse
from collections.abc import Iterable
import json
from pathlib import Path
import resource
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

ROWS_A_FILE, YEARS = 5_000_000, 5
PER_USER, PER_ITEM = 20, 200  # interactions
SPREAD = 1.1  # of the logarithm of a user's activity
DAY = 86_400
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
    activity = np.cumsum(rng.lognormal(0, SPREAD, users))
    second = YEARS * 365 * DAY / rows
    for number, start in enumerate(range(0, rows, ROWS_A_FILE)):
        count = min(ROWS_A_FILE, rows - start)
        at = np.sort(rng.random(count)) * activity[-1]  # sorted: the search stays in the cache
        user = rng.permutation(np.searchsorted(activity, at))
        item = np.minimum((items ** rng.random(count)).astype(np.int64), items) - 1
        times = 1_500_000_000 + (second * np.arange(start, start + count)).astype(np.int64)
        columns = {"user_id": user * 7919, "item_id": item * 104_729, "timestamp": times}
        pl.DataFrame(columns).write_parquet(directory / f"part-{number:05}.parquet")


def generate_by_user(rows: int, directory: Path) -> None:
    """Writes files of a row a user; the number of interactions is met on average."""
    directory.mkdir(parents=True, exist_ok=True)
    users, items = max(1, rows // PER_USER), max(1, rows // PER_ITEM)
    users_a_file = ROWS_A_FILE // PER_USER
    rng = np.random.default_rng(0)
    for number, start in enumerate(range(0, users, users_a_file)):
        user = np.arange(start, min(start + users_a_file, users))
        mean = PER_USER * rng.lognormal(-(SPREAD**2) / 2, SPREAD, len(user))
        offsets = np.append(0, np.cumsum(np.maximum(1, rng.poisson(mean))))
        item = np.minimum((items ** rng.random(offsets[-1])).astype(np.int64), items) - 1
        passed = np.cumsum(rng.integers(0, 2 * DAY, offsets[-1]))  # since the file's first one
        first = 1_500_000_000 + rng.integers(0, YEARS * 365 * DAY, len(user))
        times = passed + np.repeat(first - passed[offsets[:-1]], np.diff(offsets))
        lists = pa.array(offsets, pa.int32())
        columns = {
            "user_id": pa.array(user * 7919),
            "items": pa.ListArray.from_arrays(lists, pa.array(item * 104_729)),
            "timestamps": pa.ListArray.from_arrays(lists, pa.array(times)),
        }
        pq.write_table(pa.table(columns), directory / f"part-{number:05}.parquet")


def measure(directory: Path, cache: Path) -> dict[str, Any]:
    """Runs both processes."""
    options = [f"--config.data.path={directory}", f"--config.data.cache_dir={cache}"]
    with tempfile.TemporaryDirectory() as runs:
        train = [sys.executable, "-m", "rearec_jax.main", *TRAIN, *options]
        return {
            "benchmark": "large_data",
            "input_gb": _gigabytes(directory.glob("*.parquet")),
            "prepare": watched([sys.executable, "-c", PREPARE, str(directory), str(cache)]),
            "train": watched([*train, f"--workdir={runs}/run"]),
            "cache_gb": _gigabytes(cache.rglob("*.*")),
        }


def _gigabytes(files: Iterable[Path]) -> float:
    return round(sum(file.stat().st_size for file in files) / 1e9, 2)


def watched(command: list[str]) -> dict[str, Any]:
    """Runs a command, and says its seconds and its memory at its highest."""
    started, most = time.monotonic(), {"RssAnon": 0, "VmHWM": 0}
    before = _cpu_seconds()
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
        "cpu_seconds": round(_cpu_seconds() - before, 1),
        "anonymous_gib": round(most["RssAnon"] / GIB, 2),
        "peak_gib": round(most["VmHWM"] / GIB, 2),
        "exit_code": process.returncode,
    }


def _cpu_seconds() -> float:
    """Returns the seconds that finished processes of this one have computed."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Generates or measures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("generate")
    one.add_argument("rows", type=int)
    one.add_argument("directory", type=Path)
    one.add_argument("--by_user", action="store_true", help="a row is a user with lists")
    two = commands.add_parser("measure")
    two.add_argument("directory", type=Path)
    two.add_argument("cache", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "generate":
        write = generate_by_user if arguments.by_user else generate
        write(arguments.rows, arguments.directory)
    else:
        print(json.dumps(measure(arguments.directory, arguments.cache), indent=2))


if __name__ == "__main__":
    main()
