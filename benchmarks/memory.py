"""Peak memory of the process by number of items, as JSON. Each measurement is its own process.

    python -m benchmarks.memory --items=10000,100000,1000000 --losses=full,sampled

A few PRL updates (K=2, D=64, 2,050 targets) from fresh parameters; `sampled` is with
train.lazy_adam. `peak_gib` is the resident memory of the whole process at its highest, Python and
JAX included (`baseline_gib`: before the first array); `device_peak_gib` is what the device's
allocator says, null on CPUs.
"""

import argparse
import json
from pathlib import Path
import resource
import subprocess
import sys
import time
from typing import Any

from benchmarks.arguments import numbers
from rearec_jax.ops.huge_pages import compute_in_first_thread, restart_with_huge_pages

GIB = 2**30


def main() -> None:
    """Starts a process for each combination and prints one JSON object."""
    arguments = _arguments()
    if arguments.one:
        print(json.dumps(measure(arguments)))
        return
    results = []
    for loss in arguments.losses.split(","):
        for items in arguments.items:
            print(f"{items:,} items, loss {loss}", file=sys.stderr)
            results.append(_in_process(items, loss, arguments))
    print(json.dumps({"benchmark": "memory", "results": results}, indent=2))


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Peak memory of this process, after a few updates."""
    import jax

    from benchmarks.generated import configuration, machine, ready

    (items,) = arguments.items
    config = configuration(
        method__name=arguments.method,
        method__steps=arguments.steps,
        model__width=arguments.width,
        train__loss=arguments.losses,
        train__lazy_adam=arguments.losses != "full",
    )
    jax.devices()
    baseline = peak_bytes()
    update, state, batch = one = ready(config, items, targets=arguments.targets)
    seconds = []
    for _ in range(arguments.updates):
        started = time.perf_counter()
        state, _ = jax.block_until_ready(update(state, batch))
        seconds.append(time.perf_counter() - started)
    on_device = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    return machine() | {
        "method": config.method.name,
        "steps": config.method.steps,
        "width": config.model.width,
        "loss": config.train.loss,
        "lazy_adam": config.train.lazy_adam,
        "items": items,
        "targets_per_update": one.targets,
        "baseline_gib": round(baseline / GIB, 3),
        "peak_gib": round(peak_bytes() / GIB, 3),
        "device_peak_gib": None if on_device is None else round(on_device / GIB, 3),
        "seconds_per_update": round(min(seconds[1:] or seconds), 3),
    }


def peak_bytes() -> int:
    """Resident memory of this process at its highest so far."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss of a child starts at its parent's
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        if "VmHWM" in lines:
            return 1024 * int(lines["VmHWM"].split()[0])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _in_process(items: int, loss: str, arguments: argparse.Namespace) -> dict[str, Any]:
    options = {
        "items": items,
        "losses": loss,
        "method": arguments.method,
        "steps": arguments.steps,
        "width": arguments.width,
        "targets": arguments.targets,
        "updates": arguments.updates,
    }
    command = [sys.executable, "-m", "benchmarks.memory", "--one"]
    command += [f"--{name}={value}" for name, value in options.items()]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:  # out of memory is a result too
        return {"items": items, "loss": loss, "failed": done.returncode}
    return json.loads(done.stdout.splitlines()[-1])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=numbers, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--losses", default="full,sampled", help="of full, sampled, in_batch")
    parser.add_argument("--method", default="prl")
    parser.add_argument("--steps", type=int, default=2, help="reasoning steps K")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--targets", type=int, default=2050, help="an update")
    parser.add_argument("--updates", type=int, default=3)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    restart_with_huge_pages()  # as rearec_jax.main does
    compute_in_first_thread()
    main()
