"""Speed of the input pipeline on the host: no model, no device. JSON to stdout.

    python -m benchmarks.input_pipeline FILE [--batch_size 2048] [--max_length 50] [--stride 0]

FILE has one user a line, ``user item item ...``, in time order; the split is leave-one-out.
Seconds are wall clock; ``epoch_order`` is the once-an-epoch cost, the rest is a batch's.
"""

import argparse
import json
import os
from pathlib import Path
import platform
import time

import numpy as np

from rearec_jax.data.batches import packing
from rearec_jax.data.batches.loader import (
    BatchSize,
    EvaluationBatches,
    evaluation_batches,
    training_batches,
)
from rearec_jax.data.interactions import CONTEXT, TEST, TRAIN, VALIDATION, Sequences


def read(path: Path) -> Sequences:
    """Items, offsets and leave-one-out split of a sequences file."""
    lines = [line.split()[1:] for line in path.read_text().splitlines()]
    offsets = np.cumsum([0] + [len(line) for line in lines])
    _, items = np.unique(np.concatenate(lines), return_inverse=True)
    split = np.full(len(items), TRAIN, np.uint8)
    for from_end, part in ((2, VALIDATION), (1, TEST)):
        split[np.maximum(offsets[1:] - from_end, offsets[:-1])] = part
    split[offsets[:-1]] = CONTEXT
    return Sequences(items.astype(np.int32), offsets, split)


def seconds(function, repeats: int) -> float:
    """Median wall-clock seconds of ``function(0), function(1), ...``."""
    times = []
    for number in range(repeats):
        begin = time.perf_counter()
        function(number)
        times.append(time.perf_counter() - begin)
    return float(np.median(times))


def training(data: Sequences, arguments: argparse.Namespace) -> dict:
    begin = time.perf_counter()
    batches = training_batches(
        data,
        BatchSize(arguments.max_length, arguments.batch_size),
        stride=arguments.stride,
        seed=0,
    )
    planned = time.perf_counter() - begin
    steps = batches.steps_per_epoch
    batches.batch(0, 0)  # the order of the epoch
    each = seconds(lambda number: batches.batch(0, number % steps), max(steps, 200))
    return {
        "shape": batches.shape,
        "windows": len(batches.plan.windows),
        "rows": batches.plan.rows,
        "steps_per_epoch": steps,
        "targets_per_epoch": batches.targets_per_epoch,
        "fill": round(batches.plan.fill, 4),
        "token_fill": round(batches.plan.token_fill, 4),
        "query_fill": round(batches.plan.query_fill, 4),
        "plan_seconds": round(planned, 4),
        "epoch_order_seconds": round(
            seconds(lambda epoch: packing.epoch_order(batches.plan, 0, epoch), 5), 5
        ),
        "batch_seconds": round(each, 6),
        "batches_per_second": round(1 / each),
        "targets_per_second": round(batches.targets_per_epoch / steps / each),
    }


def evaluation(batches: EvaluationBatches) -> dict:
    each = seconds(lambda number: batches.batch(number % len(batches)), max(len(batches), 50))
    return {
        "shape": batches.shape,
        "examples": batches.examples,
        "batches": len(batches),
        "token_fill": round(batches.plan.token_fill, 4),
        "query_fill": round(batches.plan.query_fill, 4),
        "batch_seconds": round(each, 6),
        "examples_per_second": round(batches.examples / len(batches) / each),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--batch_size", type=int, default=2048, help="targets an update")
    parser.add_argument("--eval_batch_size", type=int, default=256)
    parser.add_argument("--max_length", type=int, default=50)
    parser.add_argument("--stride", type=int, default=0, help="0 = max_length")
    arguments = parser.parse_args()

    data = read(arguments.file)
    result = {
        "benchmark": "input_pipeline",
        "file": arguments.file.name,
        "users": len(data[1]) - 1,
        "interactions": len(data[0]),
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "numpy": np.__version__,
        },
        "training": training(data, arguments),
        "test": evaluation(
            evaluation_batches(
                data, TEST, BatchSize(arguments.max_length, arguments.eval_batch_size)
            )
        ),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
