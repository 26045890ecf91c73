"""Seconds from the command to the end of the first update, or to the first list, as JSON.

    python -m benchmarks.startup --config=configs/demo.py --repeats=3
    python -m benchmarks.startup --config=configs/beauty.py -- --config.data.path=Beauty.txt
    python -m benchmarks.startup --load=exported/beauty

Each measurement is a whole `python -m rearec_jax.main` with train.max_steps=1, in a work directory
of its own. `cold`: no compiled programs are kept from before; `warm`: those of the run before are.
The data are prepared and cached by a first run that does not count. What follows -- goes to main.

With --load, each is a Python that imports the package and what it needs, loads that model and asks
it for one list; of each part the time on the clock and that of the processor.
"""

import argparse
import json
import os
from pathlib import Path
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

FIRST_LIST = """
import json, sys, time
seconds, last = {}, (time.perf_counter(), time.process_time())
def lap(name):
    global last
    now = time.perf_counter(), time.process_time()
    seconds[name], seconds[name + "_cpu"] = (b - a for a, b in zip(last, now))
    last = now
import rearec_jax
lap("import_rearec_jax")
import jax, polars, rearec_jax.recommend.model_directory
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)  # as main does
lap("import_all")
model = rearec_jax.load(sys.argv[1])
lap("load")
model.recommend([[model.items.ids[0]]])
lap("first_list")
print(json.dumps(seconds))
"""


def main() -> None:
    """Runs main again and again and prints one JSON object."""
    arguments = _arguments()
    if arguments.load:
        print(json.dumps(first_lists(arguments.load, arguments.repeats), indent=2))
        return
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        run(root, "unmeasured", "warm", arguments)
        seconds: dict[str, list[dict[str, float]]] = {"cold": [], "warm": []}
        for number in range(arguments.repeats):
            seconds["cold"].append(run(root, f"cold{number}", f"cold{number}", arguments))
            seconds["warm"].append(run(root, f"warm{number}", "warm", arguments))
    result = {
        "benchmark": "startup",
        "config": arguments.config,
        "options": arguments.options,
        "cores": os.cpu_count(),
        "results": [{"cache": cache, **medians(runs)} for cache, runs in seconds.items()],
    }
    print(json.dumps(result, indent=2))


def run(root: Path, name: str, cache: str, arguments: argparse.Namespace) -> dict[str, float]:
    """One run in ``root``/``name``; compiled programs are kept in ``root``/cache-``cache``."""
    workdir = root / name
    command = [sys.executable, "-m", "rearec_jax.main", f"--config={arguments.config}"]
    command += [f"--workdir={workdir}", f"--config.data.cache_dir={root / 'data'}"]
    command += ["--config.train.max_steps=1", "--config.eval.max_users=64", *arguments.options]
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(root / f"cache-{cache}")}
    started = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.DEVNULL, env=environment)
    whole = time.perf_counter() - started
    if done.returncode:
        sys.exit(done.returncode)  # main has said why
    summary = json.loads((workdir / "summary.json").read_text())
    return {"first_update": summary["train"]["seconds_to_first_step"], "whole_run": whole}


def first_lists(model: str, repeats: int) -> dict[str, Any]:
    """Median seconds of what a program does until its first list, with a cache that is warm."""
    found = []
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": cache}
        for _ in range(repeats + 1):  # the first one fills the cache
            command = [sys.executable, "-c", FIRST_LIST, model]
            done = subprocess.run(command, check=True, capture_output=True, env=environment)
            found.append(json.loads(done.stdout))
    rounded = {
        name: round(statistics.median(one[name] for one in found[1:]), 3) for name in found[0]
    }
    return {"benchmark": "startup", "model": model, "cores": os.cpu_count(), "seconds": rounded}


def medians(runs: list[dict[str, float]]) -> dict[str, Any]:
    """Median and fastest of the first update, and the median of the whole run, in seconds."""
    first = [one["first_update"] for one in runs]
    return {
        "repeats": len(runs),
        "seconds_to_first_update": round(statistics.median(first), 2),
        "fastest": round(min(first), 2),
        "whole_run_seconds": round(statistics.median(one["whole_run"] for one in runs), 2),
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="configs/demo.py")
    parser.add_argument("--load", default="", help="a model: measures its first list instead")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("options", nargs="*", help="of main, after --")
    return parser.parse_args()


if __name__ == "__main__":
    main()
