"""How many users a second a recommender serves, and how long one waits, as JSON.

    python -m benchmarks.inference                       # generated users of Beauty's shape, D=256
    python -m benchmarks.inference --load=runs/beauty    # a run or an export; its own items

`batch`: ``recommend`` of all users at once, raw ids in, arrays of the ten best out, seen items
left out. `single`: one user a call, to the raw ids and titles of the list. Depths take turns, round
after round; `over_no_reasoning` is the median over the rounds of the ratio of times to K=0 of the
same round. `cpu_seconds` is the process's own time, which neighbours on the machine inflate less.
`product_gigaflop_per_second`: of a large matrix product, median of before each round.
"""

import argparse
import json
import os
import statistics
import time
from typing import Any

import jax
import numpy as np
import polars as pl

from benchmarks import generated
from benchmarks.arguments import numbers
from benchmarks.evaluation import over_first
import rearec_jax
from rearec_jax.models import backbones
from rearec_jax.ops.huge_pages import compute_in_first_thread, restart_with_huge_pages
from rearec_jax.recommend import trained
from rearec_jax.recommend.items import Items
from rearec_jax.recommend.recommender import Recommender

BEST = 10
PRODUCT = 2048  # rows of the matrix product


def main() -> None:
    """Measures batches and single requests and prints one JSON object."""
    arguments = _arguments()
    recommender = _recommender(arguments)
    histories = _histories(arguments, recommender)
    depths = [steps for steps in arguments.steps if steps <= recommender.engine.steps]
    result = {
        "benchmark": "inference",
        **generated.machine(),
        "model": recommender.engine.name,
        "items": len(recommender.items),
        "width": recommender.engine.table.shape[1],
        "users": len(histories),
        "users_at_once": recommender.engine.at_once,
        "load_average": round(os.getloadavg()[0], 2),  # before
        **_batch(recommender, histories, depths, arguments.rounds),
        "single": [_single(recommender, histories, steps, arguments.requests) for steps in depths],
    }
    print(json.dumps(result, indent=2))


def _batch(
    recommender: Recommender, histories: list[list[str]], depths: list[int], rounds: int
) -> dict[str, Any]:
    """An entry a depth: users a second; and the rate of products meanwhile."""
    clock, products = generated.product_clock(PRODUCT), []
    for steps in depths:
        recommender.recommend(histories, BEST, steps=steps)
    seconds: dict[int, list[float]] = {steps: [] for steps in depths}
    cpu: dict[int, list[float]] = {steps: [] for steps in depths}
    for number in range(rounds):
        products.append(clock())
        for steps in depths if number % 2 else depths[::-1]:
            started, own = time.perf_counter(), time.process_time()
            recommender.recommend(histories, BEST, steps=steps)
            seconds[steps].append(time.perf_counter() - started)
            cpu[steps].append(time.process_time() - own)
    ratios, cpu_ratios = over_first(seconds), over_first(cpu)
    rate = 2 * PRODUCT**3 / statistics.median(products)
    entries = [
        {
            "steps": steps,
            "users_per_second": round(len(histories) / statistics.median(seconds[steps]), 1),
            "fastest": round(len(histories) / min(seconds[steps]), 1),
            "over_no_reasoning": ratios[steps],
            "cpu_seconds_per_1000_users": round(1e3 * min(cpu[steps]) / len(histories), 4),
            "cpu_over_no_reasoning": cpu_ratios[steps],
        }
        for steps in depths
    ]
    return {"product_gigaflop_per_second": round(rate / 1e9, 1), "batch": entries}


def _single(
    recommender: Recommender, histories: list[list[str]], steps: int, requests: int
) -> dict[str, Any]:
    """Milliseconds of one user a call; every length of a row is compiled before."""
    asked = [histories[user % len(histories)] for user in range(requests)]
    for length in sorted({len(history) for history in asked}):
        history = next(history for history in asked if len(history) == length)
        recommender.recommend([history], BEST, steps=steps)
    milliseconds = []
    for history in asked:
        started = time.perf_counter()
        _ = recommender.recommend([history], BEST, steps=steps)[0].titles
        milliseconds.append(1000 * (time.perf_counter() - started))
    p50, p90, p99 = np.percentile(milliseconds, [50, 90, 99])
    return {"steps": steps, "p50": round(p50, 3), "p90": round(p90, 3), "p99": round(p99, 3)}


def _recommender(arguments: argparse.Namespace) -> Recommender:
    if arguments.load:
        return rearec_jax.load(arguments.load)
    config = generated.configuration(
        method__name="prl", method__steps=max(arguments.steps), model__width=arguments.width
    )
    model = backbones.build(config, arguments.items)
    variables = backbones.initialise(model, jax.random.key(0), None)
    ids = pl.Series([f"B{number:09}" for number in range(arguments.items)])
    titles = pl.Series([f"title {number}" for number in range(arguments.items)])
    items = Items(ids, titles, np.ones(arguments.items, np.int64))
    return Recommender(trained.engine_of_model(config, variables, arguments.items), items)


def _histories(arguments: argparse.Namespace, recommender: Recommender) -> list[list[str]]:
    """Random items in sequences as long as Beauty's."""
    data = generated.like_beauty(arguments.users, len(recommender.items))
    raw = recommender.items.ids.gather(data.items).to_list()
    return [raw[a:b] for a, b in zip(data.offsets[:-1], data.offsets[1:], strict=True)]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--load", default="", help="a work directory or an export")
    parser.add_argument("--users", type=int, default=generated.USERS)
    parser.add_argument("--items", type=int, default=generated.ITEMS, help="without --load")
    parser.add_argument("--width", type=int, default=256, help="without --load")
    parser.add_argument("--steps", type=numbers, default=[0, 1, 2], help="K; the first is 0")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=300)
    arguments = parser.parse_args()
    if arguments.steps[0] != 0:
        parser.error("--steps must begin with 0, what the others are compared with")
    return arguments


if __name__ == "__main__":
    restart_with_huge_pages()  # as rearec_jax.main does
    compute_in_first_thread()
    main()
