"""Markdown tables of what the benchmarks print.

    python -m benchmarks.tables training_step.json memory.json evaluation.json > tables.md

Each file holds the JSON object of one benchmark; a table says below it what it was measured on.
"""

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
import json
from pathlib import Path
import sys
from typing import Any

Results = Sequence[Mapping[str, Any]]
Row = Sequence[object]


def markdown(headings: Row, rows: Iterable[Row]) -> str:
    """A table; the first column is text, the others are numbers."""
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def training_step(result: Mapping[str, Any]) -> str:
    headings = ["", "D", "type", "K", "targets an update", "targets/s", "fastest"]
    headings += ["MFLOP a target", "product, GFLOP/s", "share of it", "compile, s"]
    return markdown(
        headings,
        (
            [
                f"`{r['method']}`, {r['backbone']}",
                r["width"],
                r.get("dtype", "float32"),
                r["steps"],
                r["targets_per_update"],
                r["targets_per_second"],
                r["fastest"],
                r["megaflop_per_target"],
                r["product_gigaflop_per_second"],
                _percent(r["share_of_product_rate"]),
                r["trace_and_compile_seconds"],
            ]
            for r in result["results"]
        ),
    )


def products(result: Mapping[str, Any]) -> str:
    headings = ["", "D", "GFLOP an update", "by hand", "ms alone"]
    headings += ["product, GFLOP/s", "share of it"]
    names = ["width", "gigaflop", "gigaflop_by_hand", "milliseconds", "product_gigaflop_per_second"]
    return markdown(
        headings,
        (
            [f"`{r['method']}`", *(r[name] for name in names), _percent(r["share_of_product_rate"])]
            for r in result["results"]
        ),
    )


def memory(result: Mapping[str, Any]) -> str:
    headings = ["loss", "items", "peak, GiB", "of it before the first array"]
    headings += ["device peak, GiB", "s an update"]
    rows = []
    for r in result["results"]:
        loss = f"`{r['loss']}`" + (" with `lazy_adam`" if r.get("lazy_adam") else "")
        if "failed" in r:
            rows.append([loss, r["items"], f"failed (code {r['failed']})", None, None, None])
            continue
        found = (r["peak_gib"], r["baseline_gib"], r["device_peak_gib"], r["seconds_per_update"])
        rows.append([loss, r["items"], *found])
    return markdown(headings, rows)


def evaluation(result: Mapping[str, Any]) -> str:
    passes = markdown(
        ["ranked", "K", "users/s", "s a pass", "over K=0"],
        (
            [
                "every step" if r["by_step"] else "final representation",
                r["steps"],
                r["users_per_second"],
                r["seconds"],
                _more(r["over_no_reasoning"]),
            ]
            for r in result["passes"]
        ),
    )
    latency = markdown(
        ["users at once", "K", "ms", "over K=0"],
        (
            [r["users"], r["steps"], r["milliseconds"], _more(r["over_no_reasoning"])]
            for r in result["latency"]
        ),
    )
    return f"{passes}\n\n{latency}"


def inference(result: Mapping[str, Any]) -> str:
    headings = ["K", "users/s", "fastest", "over K=0", "CPU s for 1,000 users"]
    headings += [f"one user a call: {percentile}, ms" for percentile in ("p50", "p90", "p99")]
    return markdown(
        headings,
        (
            [
                many["steps"],
                many["users_per_second"],
                many["fastest"],
                _more(many["over_no_reasoning"]),
                many["cpu_seconds_per_1000_users"],
                *(one[percentile] for percentile in ("p50", "p90", "p99")),
            ]
            for many, one in zip(result["batch"], result["single"], strict=True)
        ),
    )


def adaptive_depth(result: Mapping[str, Any]) -> str:
    headings = ["who stops", "steps, validation", "steps, test", "NDCG@20, validation"]
    headings += ["NDCG@20, test", "over K, test", "± error", "over the same depths dealt out, test"]
    rows = [
        [f"all after {r['steps']}", r["steps"], r["steps"], *_of_test(r), None]
        for r in result["fixed"]
    ]
    rows += [
        [r["rule"], *r["steps"], *_of_test(r), r["dealt"]["difference"][1]] for r in result["rules"]
    ]
    return markdown(headings, rows)


def _of_test(r: Mapping[str, Any]) -> list[float]:
    return [*r["ndcg"], r["difference"][1], r["error"][1]]


def tune_parallel(result: Mapping[str, Any]) -> str:
    return markdown(
        ["", "D", "candidates", "one, ms", "all at once, ms", "times as fast"],
        (
            [
                f"`{r['method']}`",
                r["width"],
                r["candidates"],
                1000 * r["seconds_of_one"],
                1000 * r["seconds_of_all_at_once"],
                r["times_as_fast"],
            ]
            for r in result["results"]
        ),
    )


def startup(result: Mapping[str, Any]) -> str:
    return markdown(
        ["compiled programs", "s to the first update", "fastest", "whole run, s", "repeats"],
        (
            [
                "none kept (cold)" if r["cache"] == "cold" else "kept (warm)",
                r["seconds_to_first_update"],
                r["fastest"],
                r["whole_run_seconds"],
                r["repeats"],
            ]
            for r in result["results"]
        ),
    )


def scaling(result: Mapping[str, Any]) -> str:
    names = {"items": "N", "steps": "K", "tokens": "T"}
    rows = (
        [
            f"{names[r['varied']]} = {r['size']:,}",
            r["seconds_per_update"],
            r["microseconds_per_target"],
        ]
        for r in result["results"]
    )
    said = ", ".join(f"{names[key]} {value}" for key, value in result["exponent"].items())
    table = markdown(["", "s an update", "µs a target"], rows)
    return f"{table}\n\nSlope of log cost between the two largest sizes: {said or 'unknown'}."


def peers(result: Mapping[str, Any]) -> str:
    first = result["results"][0]["name"]
    goal = result["until_ndcg@10"]
    headings = ["", "targets/s", "s an epoch", f"× {first}"]
    headings += [f"s to NDCG@10 {goal}", "epochs"] if goal else []
    rows = []
    for r in result["results"]:
        speed = [r["targets_per_second"], r["seconds_per_epoch"], r[f"over {first}"]]
        reached = [r["seconds_to_until"], r["epochs"]] if goal else []
        rows.append([f"{r['name']} ({r['version']})", *speed, *reached])
    return markdown(headings, rows)


def input_pipeline(result: Mapping[str, Any]) -> str:
    train, test = result["training"], result["test"]
    headings = ["", "batch, ms", "a second", "token fill", "query fill"]
    rows = [
        ("training, targets", train["batch_seconds"], train["targets_per_second"], train),
        ("test, users", test["batch_seconds"], test["examples_per_second"], test),
    ]
    return markdown(
        headings,
        (
            [name, 1000 * seconds, speed, _percent(of["token_fill"]), _percent(of["query_fill"])]
            for name, seconds, speed, of in rows
        ),
    )


TABLES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "training_step": training_step,
    "products": products,
    "memory": memory,
    "evaluation": evaluation,
    "inference": inference,
    "startup": startup,
    "adaptive_depth": adaptive_depth,
    "scaling": scaling,
    "peers": peers,
    "input_pipeline": input_pipeline,
    "tune_parallel": tune_parallel,
}


def section(path: Path) -> str:
    """Heading, table and circumstances of one file.

    Raises:
        SystemExit: the file is not what a benchmark printed; says which and why.
    """
    try:
        result = json.loads(path.read_text())
        name = result["benchmark"]
        table = TABLES[name](result)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        reason = f"{type(error).__name__}: {error}"
        known = ", ".join(TABLES)
        raise SystemExit(f"{path} is not the JSON of one of {known} ({reason})") from error
    title = name if path.stem == name else f"{name} ({path.stem})"
    return f"## {title}\n\n{table}\n\n{_circumstances(result)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", type=Path, nargs="+", help="JSON of a benchmark each")
    sys.stdout.write("\n\n".join(map(section, parser.parse_args().files)) + "\n")


def _circumstances(result: Mapping[str, Any]) -> str:
    """What is said once for the whole table, from the object's plain values."""
    flat = dict(result)
    if isinstance(flat.get("results"), list) and flat["results"]:
        first = flat["results"][0]
        flat = {key: first[key] for key in ("device", "jax") if key in first} | flat
    flat |= flat.get("machine", {})
    plain = {k: v for k, v in flat.items() if isinstance(v, str | int | float) and k != "benchmark"}
    return ", ".join(f"{key.replace('_', ' ')} {_cell(value)}" for key, value in plain.items())


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _more(ratio: float) -> str:
    """+3.5 % of 1.035."""
    return f"{100 * (ratio - 1):+.1f} %" if ratio != 1 else "-"


def _cell(value: object) -> str:
    """Numbers with four digits that count, or whole with thousands apart."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    main()
