"""Speed of a training update, as JSON: targets a second, compile time, share of the product rate.

    python -m benchmarks.training_step --methods=base,erl,prl --widths=64,256
    python -m benchmarks.training_step --backbones=sasrec,bert4rec,unisrec,morec --widths=64
    python -m benchmarks.training_step --dtypes=float32,bfloat16 --targets=16400 --queued=10  # GPU

The rate of a large square matrix product of the same type (--product) is measured before and after
each update, so that the two meet the same neighbours on a shared machine. `share_of_product_rate`
is the median over these pairs: compare it between machines. --queued updates are dispatched before
one is waited for, as training does: where an update takes a millisecond, waiting for each would
measure the waiting.
"""

import argparse
from collections.abc import Sequence
import itertools
import json
import statistics
import time
from typing import Any

import jax

from benchmarks.arguments import numbers
from benchmarks.generated import ITEMS, TARGETS, configuration, machine, product_clock, ready
from rearec_jax.config import Config
from rearec_jax.ops.huge_pages import compute_in_first_thread, restart_with_huge_pages


def main() -> None:
    """Measures every combination and prints one JSON object."""
    arguments = _arguments()
    results = [
        measure(_config(method, width, backbone, dtype, arguments), arguments)
        for dtype in arguments.dtypes.split(",")
        for width in arguments.widths
        for backbone in arguments.backbones.split(",")
        for method in arguments.methods.split(",")
    ]
    print(json.dumps({"benchmark": "training_step", **machine(), "results": results}, indent=2))


def measure(config: Config, arguments: argparse.Namespace) -> dict[str, Any]:
    """Median over ``updates`` updates of one configuration."""
    items = arguments.items
    update, state, batch = one = ready(config, items, arguments.text_width, arguments.targets)
    targets = one.targets
    started = time.perf_counter()
    state, parts = jax.block_until_ready(update(state, batch))
    first_seconds = time.perf_counter() - started
    clock = product_clock(arguments.product, config.model.dtype)
    update_seconds = []
    product_seconds = [clock()]
    for _ in range(arguments.updates):
        started = time.perf_counter()
        for _ in range(arguments.queued):
            state, parts = update(state, batch)
        jax.block_until_ready(state)
        update_seconds.append((time.perf_counter() - started) / arguments.queued)
        product_seconds.append(clock())
    seconds = statistics.median(update_seconds)
    product_flops = 2 * arguments.product**3
    rate = product_flops / statistics.median(product_seconds)
    tokens = batch.tokens.size / targets
    work = model_flops(config, items, arguments.text_width, tokens, targets)
    speed = targets / seconds
    return {
        "backbone": config.model.backbone,
        "method": config.method.name,
        "steps": config.method.steps,
        "width": config.model.width,
        "dtype": config.model.dtype,
        "items": items,
        "targets_per_update": targets,
        "targets_per_second": round(speed, 1),
        "fastest": round(targets / min(update_seconds), 1),
        "trace_and_compile_seconds": round(first_seconds - seconds, 2),
        "megaflop_per_target": round(work / 1e6, 1),
        "product_gigaflop_per_second": round(rate / 1e9, 1),
        "share_of_product_rate": round(
            work * targets / product_flops * _median_ratio(product_seconds, update_seconds), 3
        ),
        "loss": float(parts["loss"]),
    }


def model_flops(
    config: Config, items: int, text_width: int, tokens: float, targets: int = TARGETS
) -> float:
    """Floating-point operations a target, by hand: matrix products, forward and backward (x 3).

    Args:
        tokens: encoded for each target, without its reasoning.
        targets: of an update.
    """
    model, method = config.model, config.method
    width, views = model.width, 2 if method.name == "prl" else 1
    attention = 2 * width * model.max_length
    token = 2 * model.layers * (4 * width**2 + 2 * width * model.hidden + attention)
    scored = method.steps + 1 if method.name == "prl" else 1
    if method.name == "erl" and method.kl_weight > 0:  # each step's distribution, and its mean item
        scored += 2 * (method.steps + 1)
    contrast = method.steps * targets if method.name == "prl" else 0
    experts = {"ids": 0, "whitening": model.experts, "projection": 1}[model.items]
    table = 2 * items * text_width * width * experts / targets  # the text asks for no gradient
    work = token * (tokens + views * method.steps) + 2 * width * (scored * items + contrast)
    return 3 * work + 2 * table


def _config(
    method: str, width: int, backbone: str, dtype: str, arguments: argparse.Namespace
) -> Config:
    logits = {} if arguments.logits_gib is None else {"train__logits_gib": arguments.logits_gib}
    return configuration(
        method__name=method,
        method__steps=arguments.steps,
        model__width=width,
        model__backbone=backbone,
        model__dtype=dtype,
        **logits,
    )


def _median_ratio(products: Sequence[float], updates: Sequence[float]) -> float:
    """Of a product's seconds over an update's: each update beside the two products around it."""
    around = map(statistics.mean, itertools.pairwise(products))
    return statistics.median(a / b for a, b in zip(around, updates, strict=True))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", default="base,erl,prl")
    parser.add_argument("--widths", type=numbers, default=[64, 256])
    parser.add_argument("--backbones", default="sasrec")
    parser.add_argument("--dtypes", default="float32", help="float32,bfloat16")
    parser.add_argument("--items", type=int, default=ITEMS)
    parser.add_argument("--text_width", type=int, default=768, help="F, of the text vectors")
    parser.add_argument("--steps", type=int, default=2, help="reasoning steps K")
    parser.add_argument("--targets", type=int, default=TARGETS, help="an update, in whole rows")
    parser.add_argument("--logits_gib", type=float, help="keep whole logits up to this")
    parser.add_argument("--updates", type=int, default=7, help="measurements; their median counts")
    parser.add_argument("--queued", type=int, default=1, help="updates in a measurement")
    parser.add_argument("--product", type=int, default=2048, help="rows of the matrix product")
    return parser.parse_args()


if __name__ == "__main__":
    restart_with_huge_pages()  # as rearec_jax.main does
    compute_in_first_thread()
    main()
