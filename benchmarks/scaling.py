"""How an update's cost grows with items N, reasoning steps K and row length T, as JSON.

    python -m benchmarks.scaling --plot=docs/scaling.svg > scaling.json
    python -m benchmarks.scaling --curves=items,tokens > a.json
    python -m benchmarks.scaling --curves=steps > b.json
    python -m benchmarks.scaling --load a.json b.json --plot=docs/scaling.svg > scaling.json

PRL with the noisy view. One quantity varies at a time; the others are N=12,101, K=2, T=50. With T
varies the length of the histories too: each fills a row. Seconds are medians; where whole rows do
not give the same number of targets, compare `microseconds_per_target`. `exponent` is the slope of
log cost over log size between the two largest sizes: 1 is linear, 2 quadratic. --load joins what
earlier runs printed.
"""

import argparse
from collections.abc import Sequence
import json
import math
from pathlib import Path
import statistics
import time
from typing import Any

from benchmarks.arguments import numbers
from rearec_jax.ops.huge_pages import compute_in_first_thread, restart_with_huge_pages

NAMES = {"items": "items N", "steps": "reasoning steps K", "tokens": "history length T"}
STEPS, TOKENS, SEGMENT = 2, 50, 10


def main() -> None:
    """Measures the three curves and prints one JSON object; with --plot draws them too."""
    arguments = _arguments()
    if arguments.load:
        result = joined([json.loads(path.read_text()) for path in arguments.load])
    else:
        result = _measure_all(arguments)
    print(json.dumps(result, indent=2))
    if arguments.plot:
        plot(result["results"], arguments.plot)


def measure(varied: str, size: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Median seconds an update where ``varied`` is ``size``."""
    import jax

    from benchmarks.generated import ITEMS, configuration, ready

    sizes = {"items": ITEMS, "steps": STEPS, "tokens": TOKENS} | {varied: size}
    config = configuration(
        method__name="prl" if sizes["steps"] else "base",
        method__steps=sizes["steps"],
        model__width=arguments.width,
        model__max_length=sizes["tokens"],
    )
    segment = size if varied == "tokens" else SEGMENT
    update, state, batch = one = ready(
        config, sizes["items"], targets=arguments.targets, segment=segment
    )
    state, _ = jax.block_until_ready(update(state, batch))
    seconds = []
    for _ in range(arguments.updates):
        started = time.perf_counter()
        state, _ = jax.block_until_ready(update(state, batch))
        seconds.append(time.perf_counter() - started)
    median = statistics.median(seconds)
    return {
        "varied": varied,
        "size": size,
        "targets_per_update": one.targets,
        "seconds_per_update": round(median, 5),
        "microseconds_per_target": round(1e6 * median / one.targets, 2),
    }


def exponents(results: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Slope of log cost over log size between the two largest sizes of each curve."""
    found = {}
    for varied in NAMES:
        curve = sorted((r["size"], r["microseconds_per_target"]) for r in _of(results, varied))
        if len(curve) > 1 and curve[-2][0] > 0:
            (small, cheap), (large, dear) = curve[-2:]
            found[varied] = round(math.log(dear / cheap) / math.log(large / small), 2)
    return found


def joined(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One object of several runs' curves; what they were measured on is the first one's."""
    results = [result for run in runs for result in run["results"]]
    return runs[0] | {"results": results, "exponent": exponents(results)}


def plot(results: Sequence[dict[str, Any]], path: Path) -> None:
    """One panel a curve, from zero so that a straight line looks it."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise SystemExit("--plot needs matplotlib: pip install matplotlib") from error
    figure = Figure(figsize=(9, 2.8), layout="constrained")
    curves = [name for name in NAMES if _of(results, name)]
    for axes, name in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves, strict=True):
        curve = sorted((r["size"], r["microseconds_per_target"]) for r in _of(results, name))
        axes.plot(*zip(*curve, strict=True), marker="o", color="tab:blue")
        axes.set(xlabel=NAMES[name], ylabel="µs a target")
        axes.set_xlim(0, 1.06 * curve[-1][0])
        axes.set_ylim(0, 1.1 * max(cost for _, cost in curve))
        axes.grid(alpha=0.3)
    figure.savefig(path)


def _measure_all(arguments: argparse.Namespace) -> dict[str, Any]:
    from benchmarks.generated import machine

    results = [
        measure(varied, size, arguments)
        for varied in arguments.curves
        for size in getattr(arguments, varied)
    ]
    return {
        "benchmark": "scaling",
        **machine(),
        "width": arguments.width,
        "results": results,
        "exponent": exponents(results),
    }


def _of(results: Sequence[dict[str, Any]], varied: str) -> list[dict[str, Any]]:
    return [result for result in results if result["varied"] == varied]


def _curves(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(NAMES):
        raise argparse.ArgumentTypeError(f"{sorted(unknown)} not among {', '.join(NAMES)}")
    return names


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--curves", type=_curves, default=list(NAMES), help="items,steps,tokens")
    parser.add_argument("--items", type=numbers, default=[12_000, 50_000, 100_000])
    parser.add_argument("--steps", type=numbers, default=list(range(9)), help="0 is `base`")
    parser.add_argument("--tokens", type=numbers, default=[25, 50, 100, 200])
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--targets", type=int, default=2050, help="an update, in whole rows")
    parser.add_argument("--updates", type=int, default=7)
    parser.add_argument("--plot", type=Path, help="an .svg or .png file to draw")
    parser.add_argument("--load", type=Path, nargs="+", help="what earlier runs printed")
    return parser.parse_args()


if __name__ == "__main__":
    restart_with_huge_pages()  # as rearec_jax.main does
    compute_in_first_thread()
    main()
