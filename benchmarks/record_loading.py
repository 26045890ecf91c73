"""Time to load a prepared data set: one record a user, all in one read. JSON to stdout.

    python -m benchmarks.record_loading [--users 50000] [--repeats 5]

Generated users, prepared in a temporary directory. ``seconds`` is wall clock, the fastest and the
median of the repeats; ``cpu_seconds`` the median of what the processor worked for it.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time

import numpy as np

from rearec_jax.config import DataConfig
from rearec_jax.data import demo
from rearec_jax.data.published import builders
from rearec_jax.data.published.recipe import Prepared


class Generated(builders.SequenceBuilder, skip_registration=True):
    """The demo's users (`demo.generate`) as records."""

    name = "generated"

    def prepare(self, options, counts):
        data = demo.generate(options)
        assert data.item_text is not None
        return Prepared(data, data.item_text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    builders.BUILDERS["generated"] = Generated
    with tempfile.TemporaryDirectory() as directory:
        config = DataConfig(
            source="tfds", builder="generated", demo_users=arguments.users, tfds_dir=directory
        )
        begin = time.perf_counter()
        with contextlib.redirect_stdout(sys.stderr):
            data = builders.load(config)
        prepared = time.perf_counter() - begin
        times = []
        for _ in range(arguments.repeats):
            wall, processor = time.perf_counter(), time.process_time()
            builders.load(config)
            times.append((time.perf_counter() - wall, time.process_time() - processor))
    seconds, cpu_seconds = np.array(times).T
    result = {
        "users": data.num_users,
        "interactions": data.num_interactions,
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 1),
        "prepare_seconds": round(prepared, 1),
        "seconds": {
            "fastest": round(seconds.min(), 2),
            "median": round(float(np.median(seconds)), 2),
        },
        "cpu_seconds": round(float(np.median(cpu_seconds)), 2),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
