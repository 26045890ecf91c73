"""What an update would take if it were its matrix products and nothing else, as JSON.

    python -m benchmarks.products --methods=base,erl,prl --widths=256

Each product of an update, found in the program before it is compiled, is timed alone, its inputs
laid out as they are read best. `share_of_product_rate` is that of an update which made them one
after the other and did nothing between them: beside a large square product (--product), measured
in turns, and by the same count by hand as in `benchmarks.training_step`. An update's own share can
only be higher where products are made at the same time.
"""

import argparse
from collections.abc import Callable
import functools
import json
import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.arguments import numbers
from benchmarks.generated import ITEMS, TARGETS, configuration, machine, product_clock, ready
from benchmarks.training_step import model_flops
from rearec_jax.config import Config
from rearec_jax.ops.huge_pages import compute_in_first_thread, restart_with_huge_pages
from rearec_jax.studies.capacity.flops import Product, Products, products

CALLS = 3  # of a product in a row


def main() -> None:
    """Measures every combination and prints one JSON object."""
    arguments = _arguments()
    results = [
        measure(configuration(method__name=method, model__width=width), arguments)
        for width in arguments.widths
        for method in arguments.methods.split(",")
    ]
    print(json.dumps({"benchmark": "products", **machine(), "results": results}, indent=2))


def measure(config: Config, arguments: argparse.Namespace) -> dict[str, Any]:
    """Medians over ``rounds`` turns of the products of one configuration's update."""
    one = ready(config, arguments.items, targets=arguments.targets)
    made: Products = products(jax.make_jaxpr(one.update)(one.state, one.batch))
    square = product_clock(arguments.product)
    clocks = {product: _clock(product) for product in made}
    square_seconds, seconds = [], {product: [] for product in made}
    for _ in range(arguments.rounds):
        square_seconds.append(square())
        for product, clock in clocks.items():
            seconds[product].append(clock())
    rate = 2 * arguments.product**3 / statistics.median(square_seconds)
    of_one = {product: statistics.median(measured) for product, measured in seconds.items()}
    together = sum(count * of_one[product] for product, count in made.items())
    tokens = one.batch.tokens.size / one.targets
    work = one.targets * model_flops(config, arguments.items, 0, tokens, one.targets)
    rows = [
        {
            **product._asdict(),
            "count": count,
            "milliseconds": round(1e3 * count * of_one[product], 2),
            "gigaflop_per_second": round(product.flops / of_one[product] / 1e9, 1),
        }
        for product, count in made.items()
    ]
    return {
        "method": config.method.name,
        "width": config.model.width,
        "milliseconds": round(1e3 * together, 1),
        "gigaflop": round(sum(n * product.flops for product, n in made.items()) / 1e9, 2),
        "gigaflop_by_hand": round(work / 1e9, 2),
        "product_gigaflop_per_second": round(rate / 1e9, 1),
        "share_of_product_rate": round(work / together / rate, 3),
        "products": sorted(rows, key=lambda row: -row["milliseconds"]),
    }


def _clock(product: Product) -> Callable[[], float]:
    """A function that makes the product: seconds that it took, the mean of ``CALLS``."""
    batch = (product.batch,) if product.batch > 1 else ()
    left = jnp.ones((*batch, product.rows, product.inner))
    right = jnp.ones((*batch, product.inner, product.columns))
    call = functools.partial(jax.jit(jnp.matmul), left, right)

    def clock() -> float:
        started = time.perf_counter()
        for _ in range(CALLS):
            call().block_until_ready()
        return (time.perf_counter() - started) / CALLS

    clock()  # compiles it
    return clock


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", default="base,erl,prl")
    parser.add_argument("--widths", type=numbers, default=[256])
    parser.add_argument("--items", type=int, default=ITEMS)
    parser.add_argument("--targets", type=int, default=TARGETS, help="an update, in whole rows")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--product", type=int, default=2048, help="rows of the square product")
    return parser.parse_args()


if __name__ == "__main__":
    restart_with_huge_pages()  # as rearec_jax.main does
    compute_in_first_thread()
    main()
