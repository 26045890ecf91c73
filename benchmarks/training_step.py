"""Speed of a training update, as JSON: targets a second, compile time, share of the product rate.

    python -m benchmarks.training_step --methods=base,erl,prl --widths=64,256

The rate of a 2048 x 2048 x 2048 float32 matrix product is measured between the updates, so that the
two meet the same neighbours on a shared machine: compare `share_of_product_rate` between machines.
"""

import argparse
from collections.abc import Callable
import json
import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rearec_jax import config as config_lib
from rearec_jax import optimizer
from rearec_jax.config import Config
from rearec_jax.models import backbones
from rearec_jax.types import Batch
from rearec_jax.update import initial_state, update_function

PRODUCT = 2048
ROWS, TOKENS, SEGMENT = 41, 50, 10


def main() -> None:
    """Measures every combination and prints one JSON object."""
    arguments = _arguments()
    results = [
        measure(_config(method, width, arguments.steps), arguments.items, arguments.updates)
        for width in _numbers(arguments.widths)
        for method in arguments.methods.split(",")
    ]
    device = jax.devices()[0].device_kind
    print(json.dumps({"device": device, "jax": jax.__version__, "results": results}, indent=2))


def measure(config: Config, items: int, updates: int) -> dict[str, Any]:
    """Median over ``updates`` updates of one configuration."""
    model = backbones.build(config, items)
    transform = optimizer.build(config.train, steps_per_epoch=1)
    batch = _batch(items)
    state = initial_state(config, model, transform)
    update = update_function(config, model, transform, items, batch.tokens.size)
    started = time.perf_counter()
    compiled = jax.jit(update, donate_argnums=0).lower(state, batch).compile()
    compile_seconds = time.perf_counter() - started
    product = jnp.ones((PRODUCT, PRODUCT))
    multiply = jax.jit(jnp.matmul)
    state, _ = compiled(state, batch)
    update_seconds, product_seconds = [], []
    for _ in range(updates):
        product_seconds.append(_seconds(lambda: multiply(product, product)))
        started = time.perf_counter()
        state, parts = compiled(state, batch)
        jax.block_until_ready(state)
        update_seconds.append(time.perf_counter() - started)
    seconds = statistics.median(update_seconds)
    rate = 2 * PRODUCT**3 / statistics.median(product_seconds[1:])
    work = model_flops(config, items)
    speed = batch.tokens.size / seconds
    return {
        "method": config.method.name,
        "steps": config.method.steps,
        "width": config.model.width,
        "items": items,
        "targets_per_update": batch.tokens.size,
        "targets_per_second": round(speed, 1),
        "fastest": round(batch.tokens.size / min(update_seconds), 1),
        "trace_and_compile_seconds": round(compile_seconds, 2),
        "megaflop_per_target": round(work / 1e6, 1),
        "product_gigaflop_per_second": round(rate / 1e9, 1),
        "share_of_product_rate": round(work * speed / rate, 3),
        "loss": float(parts["loss"]),
    }


def model_flops(config: Config, items: int) -> float:
    """Floating-point operations a target, by hand: matrix products, forward and backward (x 3)."""
    model, method = config.model, config.method
    width, views = model.width, 2 if method.name == "prl" else 1
    token = 2 * model.layers * (4 * width**2 + 2 * width * model.hidden + 2 * width * TOKENS)
    scored = method.steps + 1 if method.name == "prl" else 1
    if method.name == "erl" and method.kl_weight > 0:  # each step's distribution, and its mean item
        scored += 2 * (method.steps + 1)
    contrast = method.steps * ROWS * TOKENS if method.name == "prl" else 0
    return 3 * (token * (1 + views * method.steps) + 2 * width * (scored * items + contrast))


def _config(method: str, width: int, steps: int) -> Config:
    options = config_lib.default()
    options.method.name = method
    options.method.steps = steps
    options.model.width = width
    return config_lib.resolve(options)


def _batch(items: int) -> Batch:
    """Full rows of segments of 10 items: what Beauty's rows look like."""
    rng = np.random.default_rng(0)
    tokens = np.broadcast_to(np.arange(TOKENS, dtype=np.int32), (ROWS, TOKENS))
    segments = tokens // SEGMENT + 1
    users = segments + np.arange(ROWS, dtype=np.int32)[:, None] * TOKENS
    drawn = rng.integers(0, items, (2, ROWS, TOKENS), dtype=np.int32)
    weights = np.ones((ROWS, TOKENS), np.float32)
    arrays = (drawn[0], tokens % SEGMENT, segments, tokens, drawn[1], weights, users)
    return Batch._make(map(jnp.asarray, arrays))


def _seconds(function: Callable[[], jax.Array]) -> float:
    started = time.perf_counter()
    function().block_until_ready()
    return time.perf_counter() - started


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", default="base,erl,prl")
    parser.add_argument("--widths", default="64,256")
    parser.add_argument("--items", type=int, default=12_101)
    parser.add_argument("--steps", type=int, default=2, help="reasoning steps K")
    parser.add_argument("--updates", type=int, default=7)
    return parser.parse_args()


if __name__ == "__main__":
    main()
