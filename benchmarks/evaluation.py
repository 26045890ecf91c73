"""What reasoning costs at inference, by number of steps K, as JSON.

    python -m benchmarks.evaluation                    # generated data of Beauty's shape
    python -m benchmarks.evaluation --file=Beauty.txt --latency_users=1,1024

One PRL model of random parameters, trained depth the largest K. `passes`: a whole evaluation pass
(every test user, all items ranked), with every step ranked and (`by_step` false) with the final
representation alone. `latency`: from packed histories to each user's ten best items. Depths are
interleaved, round after round, so that all meet the same neighbours; `over_no_reasoning` is the
median over the rounds of the ratio to the K=0 of the same round.
"""

import argparse
from collections.abc import Callable, Mapping
import json
from pathlib import Path
import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import generated
from benchmarks.arguments import numbers
from benchmarks.input_pipeline import read
from rearec_jax.config import Config
from rearec_jax.data.batches.loader import BatchSize, latest_batches
from rearec_jax.data.interactions import TEST, Interactions
from rearec_jax.evaluation import evaluator
from rearec_jax.models import backbones
from rearec_jax.models.backbones import Backbone, Variables, initialise, item_table
from rearec_jax.models.reasoning import encode_and_reason
from rearec_jax.ops.huge_pages import compute_in_first_thread, restart_with_huge_pages
from rearec_jax.types import Batch

BEST = 10  # items that are recommended


def main() -> None:
    """Measures passes and latencies and prints one JSON object."""
    arguments = _arguments()
    data = _data(arguments)
    config = _config(arguments, max(arguments.steps))
    model = backbones.build(config, data.num_items)
    variables = initialise(model, jax.random.key(0), None)
    passes = [_passes(model, variables, data, arguments, by_step) for by_step in (True, False)]
    latency = [
        _latency(model, variables, data, arguments, users) for users in arguments.latency_users
    ]
    result = {
        "benchmark": "evaluation",
        **generated.machine(),
        "data": arguments.file.name if arguments.file else "generated",
        "users": data.num_users,
        "items": data.num_items,
        "width": arguments.width,
        "users_at_once": arguments.batch_size,
        "dtype": arguments.dtype,
        "passes": [entry for entries in passes for entry in entries],
        "latency": [entry for entries in latency for entry in entries],
    }
    print(json.dumps(result, indent=2))


def interleaved(functions: Mapping[int, Callable[[], Any]], rounds: int) -> dict[int, list[float]]:
    """Seconds of each function, round after round, after one call of each to compile it."""
    for function in functions.values():
        jax.block_until_ready(function())
    seconds: dict[int, list[float]] = {key: [] for key in functions}
    for number in range(rounds):
        order = list(functions) if number % 2 else list(functions)[::-1]
        for key in order:
            started = time.perf_counter()
            jax.block_until_ready(functions[key]())
            seconds[key].append(time.perf_counter() - started)
    return seconds


def over_first(seconds: Mapping[int, list[float]]) -> dict[int, float]:
    """Median over the rounds of each key's ratio to the first key."""
    first = next(iter(seconds.values()))
    return {
        key: round(statistics.median(a / b for a, b in zip(own, first, strict=True)), 4)
        for key, own in seconds.items()
    }


def _passes(
    model: Backbone,
    variables: Variables,
    data: Interactions,
    arguments: argparse.Namespace,
    by_step: bool,
) -> list[dict[str, Any]]:
    """An entry a depth: users a second of ranking the test split."""
    evaluators = {}
    for steps in arguments.steps:
        config = _config(arguments, max(arguments.steps), eval__steps=steps, eval__by_step=by_step)
        evaluators[steps] = evaluator.make_evaluator(model, config, data, TEST)
    users = evaluators[arguments.steps[0]].batches.examples
    functions = {k: lambda one=one: one(variables).final for k, one in evaluators.items()}
    seconds = interleaved(functions, arguments.rounds)
    ratios = over_first(seconds)
    return [
        {
            "by_step": by_step,
            "steps": steps,
            "seconds": round(statistics.median(own), 4),
            "users_per_second": round(users / statistics.median(own), 1),
            "over_no_reasoning": ratios[steps],
        }
        for steps, own in seconds.items()
    ]


def _latency(
    model: Backbone,
    variables: Variables,
    data: Interactions,
    arguments: argparse.Namespace,
    users: int,
) -> list[dict[str, Any]]:
    """An entry a depth: milliseconds from packed histories to the best items of ``users``."""
    batch = _newest(data, users, arguments.max_length)
    table = jax.jit(lambda variables: item_table(model, variables, None))(variables)
    functions = {}
    for steps in arguments.steps:
        recommend = jax.jit(_recommender(model, steps))
        functions[steps] = lambda f=recommend: f(variables, table, batch)
    seconds = interleaved(functions, arguments.latency_rounds)
    ratios = over_first(seconds)
    return [
        {
            "users": users,
            "steps": steps,
            "milliseconds": round(1000 * statistics.median(own), 4),
            "over_no_reasoning": ratios[steps],
        }
        for steps, own in seconds.items()
    ]


def _recommender(model: Backbone, steps: int) -> Callable[..., jax.Array]:
    def recommend(variables: Variables, table: jax.Array, batch: Batch) -> jax.Array:
        states = encode_and_reason(model, variables, table, batch, steps).states[..., -1, :]
        return jax.lax.top_k(jnp.matmul(states, table.T.astype(states.dtype)), BEST)[1]

    return recommend


def _newest(data: Interactions, users: int, max_length: int) -> Batch:
    """The histories of the first ``users`` users in one batch."""
    offsets = data.offsets[: users + 1]
    items = data.items[: offsets[-1]]
    batches = latest_batches(items, offsets, BatchSize(max_length, 2 * users))
    if len(batches) != 1:
        raise ValueError(f"{users} users came in {len(batches)} batches")
    rows = batches.plan.rows  # the rest of the batch is empty
    return Batch._make(jnp.asarray(array[:rows]) for array in batches.batch(0)[0])


def _data(arguments: argparse.Namespace) -> Interactions:
    if arguments.file is None:
        return generated.like_beauty(arguments.users, arguments.items)
    items, offsets, split = read(arguments.file)
    return generated.interactions(items, offsets, split, int(np.max(items)) + 1)


def _config(arguments: argparse.Namespace, steps: int, **changes: Any) -> Config:
    return generated.configuration(
        method__name="prl" if steps else "base",
        method__steps=steps,
        model__width=arguments.width,
        model__dtype=arguments.dtype,
        model__max_length=arguments.max_length,
        eval__batch_size=arguments.batch_size,
        **changes,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--file", type=Path, help="user item item ... a line")
    parser.add_argument("--users", type=int, default=generated.USERS, help="of generated data")
    parser.add_argument("--items", type=int, default=generated.ITEMS, help="of generated data")
    parser.add_argument("--steps", type=numbers, default=[0, 1, 2, 5], help="K; the first is 0")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--max_length", type=int, default=50)
    parser.add_argument("--batch_size", type=int, default=256, help="users at once, of a pass")
    parser.add_argument("--rounds", type=int, default=7, help="of whole passes")
    parser.add_argument("--latency_users", type=numbers, default=[1, 128, 1024])
    parser.add_argument("--latency_rounds", type=int, default=50)
    arguments = parser.parse_args()
    if arguments.steps[0] != 0:
        parser.error("--steps must begin with 0, what the others are compared with")
    if max(arguments.latency_users) > arguments.users and arguments.file is None:
        parser.error("--latency_users must not exceed --users")
    return arguments


if __name__ == "__main__":
    restart_with_huge_pages()  # as rearec_jax.main does
    compute_in_first_thread()
    main()
