"""What a day's training costs and gives: anew, or going on from the day before. JSON lines.

    python -m benchmarks.daily FILE [--days 0.8,0.9,1] [--epochs 12] [--more 3] [--users 8000]

FILE is a table with a row an interaction. Day d holds its first share by time. ``anew`` trains on
all of it for --epochs; ``goes_on`` starts from the day before and trains for --more. Both rank the
last interaction of each user. ``cpu_seconds`` are those of the processor, start and results
included.
"""

import argparse
import contextlib
import json
from pathlib import Path
import sys
import tempfile
import time
from typing import Any

import polars as pl

import rearec_jax


def days(path: str, shares: list[float], users: int) -> list[pl.DataFrame]:
    """The rows of each day, of so many random users."""
    frame = pl.read_csv(path, separator="\t").sort("timestamp", maintain_order=True)
    some = frame["user_id"].unique(maintain_order=True)
    some = some.sample(min(users, len(some)), seed=0, shuffle=True)
    frame = frame.filter(pl.col("user_id").is_in(some.implode()))
    return [frame.head(round(share * len(frame))) for share in shares]


def trained(day: pl.DataFrame, workdir: Path, epochs: int, width: int, start_from: str) -> dict:
    """What a training gave and took."""
    begin = time.process_time()
    options: dict[str, Any] = {"epochs": epochs, "width": width, "patience": 0, "batch_size": 512}
    options |= {"start_from": start_from, "data.cache_dir": str(workdir.parent / "cache")}
    with contextlib.redirect_stdout(sys.stderr):
        model = rearec_jax.fit(day, workdir=workdir, **options)
    seconds = time.process_time() - begin
    summary = model.summary
    test = {name: round(summary["test"][name], 4) for name in ("ndcg@10", "recall@10")}
    carried = summary.get("start_from", {})
    return {
        "interactions": summary["data"]["interactions"],
        "items": summary["data"]["items"],
        "new_items": carried.get("items_new"),
        "best_epoch": summary["best_epoch"],
        "cpu_seconds": round(seconds, 1),
        **test,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("--days", default="0.8,0.9,1")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--more", type=int, default=3)
    parser.add_argument("--users", type=int, default=8000)
    parser.add_argument("--width", type=int, default=32)
    arguments = parser.parse_args()
    shares = [float(share) for share in arguments.days.split(",")]
    with tempfile.TemporaryDirectory() as root:
        before = ""
        for number, day in enumerate(days(arguments.file, shares, arguments.users), start=1):
            ways = {"anew": (arguments.epochs, "")}
            if before:
                ways["goes_on"] = (arguments.more, before)
            for way, (epochs, start_from) in ways.items():
                workdir = Path(root) / f"{number}-{way}"
                found = trained(day, workdir, epochs, arguments.width, start_from)
                print(json.dumps({"day": number, "way": way, **found}), flush=True)
            before = str(workdir)


if __name__ == "__main__":
    main()
