"""Several candidates of a search: updates one after another, and all in one program, as JSON.

    python -m benchmarks.tune_parallel --widths=64 --methods=base,prl --counts=2,4
    python -m benchmarks.tune_parallel --widths=16 --items=400 --users=3000 --batch_size=256

One after another they share a compiled update too (`studies/tune/shared_updates.py`); the update
alone and the one of all are timed in turn, so that both meet the same neighbours on a shared
machine.
"""

import argparse
from collections.abc import Callable
import json
import statistics
import time
from typing import Any

import jax

from benchmarks.arguments import numbers
from benchmarks.generated import ITEMS, USERS, configuration, like_beauty, machine
from rearec_jax.config import Config
from rearec_jax.ops.huge_pages import compute_in_first_thread, restart_with_huge_pages
from rearec_jax.studies.tune.shared_updates import SharedUpdates, make_shared_updates, stack


def main() -> None:
    """Measures every combination and prints one JSON object."""
    arguments = _arguments()
    results = [
        row
        for width in arguments.widths
        for method in arguments.methods.split(",")
        for row in measure(method, width, arguments)
    ]
    sizes = {name: getattr(arguments, name) for name in ("items", "users", "batch_size")}
    report = {"benchmark": "tune_parallel", **machine(), **sizes, "results": results}
    print(json.dumps(report, indent=2))


def measure(method: str, width: int, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """A row a number of candidates."""
    data = like_beauty(arguments.users, arguments.items)
    configs = [_config(method, width, i, arguments) for i in range(max(arguments.counts))]
    shared = make_shared_updates(configs[0], data)
    alone, first_alone = _updater(shared, configs[:1])
    rows = []
    for count in arguments.counts:
        together, first_together = _updater(shared, configs[:count])
        times: list[tuple[float, float]] = [(alone(), together()) for _ in range(arguments.updates)]
        one, all_of_them = (statistics.median(column) for column in zip(*times, strict=True))
        rows.append(
            {
                "method": method,
                "width": width,
                "candidates": count,
                "seconds_of_one": one,
                "seconds_of_all_at_once": all_of_them,
                "times_as_fast": count * one / all_of_them,
                "first_update_seconds_of_one": first_alone,
                "first_update_seconds_of_all": first_together,
            }
        )
    return rows


def _updater(shared: SharedUpdates, configs: list[Config]) -> tuple[Callable[[], float], float]:
    """Does an update and says how long it took; and how long the first took."""
    setup = shared.setup_of(configs[0])
    batch, contrast = setup.first_batches(1)[0], setup.contrast(0)
    if len(configs) == 1:
        update, state = setup.update_function(contrast), setup.initial_state()
    else:
        update = shared.update_together(configs, contrast)
        state = stack([setup.initial_state() for _ in configs])
    held = [state]

    def timed() -> float:
        started = time.perf_counter()
        held[0], _ = update(held[0], batch)
        jax.block_until_ready(held[0])
        return time.perf_counter() - started

    return timed, timed()


def _config(method: str, width: int, number: int, arguments: argparse.Namespace) -> Config:
    return configuration(
        method__name=method,
        method__kl_weight=0.01 * (number + 1),
        model__width=width,
        train__batch_size=arguments.batch_size,
        train__learning_rate=1e-3 * (number + 1),
        mesh__data=1,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", default="base,prl")
    parser.add_argument("--widths", type=numbers, default=[64])
    parser.add_argument("--counts", type=numbers, default=[2, 4])
    parser.add_argument("--items", type=int, default=ITEMS)
    parser.add_argument("--users", type=int, default=USERS)
    parser.add_argument("--batch_size", type=int, default=2048)
    parser.add_argument("--updates", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    restart_with_huge_pages()  # as rearec_jax.main does
    compute_in_first_thread()
    main()
