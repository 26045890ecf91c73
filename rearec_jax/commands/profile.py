"""--mode=profile: measures where the time of a training update goes."""

from collections import Counter, defaultdict
from collections.abc import Iterator
import functools
import json
import pathlib
import re
import time
from typing import Any, NamedTuple, cast

import jax
from rich import box
from rich.console import Console
from rich.table import Table

from rearec_jax.commands.given import Given, say
from rearec_jax.config import Config
from rearec_jax.data.interactions import Interactions
from rearec_jax.data.read import read_data
from rearec_jax.errors import UserError
from rearec_jax.run.interruption import interruptible
from rearec_jax.run.workdir import make_directory, write_whole
from rearec_jax.training.setup import make_setup

HELP = "where the time of an update goes, to --workdir/profile"

WARM_UPDATES, TRACED_UPDATES, SHOWN = 2, 5, 10
SUMMARY = "operations.json"
# `  %fusion.3 = f32[2,3]{1,0} fusion(...), metadata={op_name="jit(update)/dot_general" ...}`
_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.\-]+) = ")
_SOURCE = re.compile(r'op_name="([^"]*)"')


class Operation(NamedTuple):
    """An instruction of the compiled update.

    Attributes:
        name: the name of the instruction.
        calls: the number of its calls in an update.
        milliseconds: the milliseconds of an update, of all threads or streams together.
        share: the share of the milliseconds of all instructions.
        source: the JAX operation that it comes from; "" where the compiler has made it.
    """

    name: str
    calls: float
    milliseconds: float
    share: float
    source: str


def run(given: Given) -> None:
    """Traces updates of the training that --config names."""
    profile_run(given.run_directory, given.config)


def profile_run(path: str, config: Config) -> None:
    """Traces a few updates of fresh parameters into ``path``/profile; keeps no parameters.

    Raises:
        UserError: options, data or directory are wrong, or there are several processes.
    """
    if jax.process_count() > 1:
        raise UserError("--mode=profile is for one process; leave out --coordinator")
    directory = pathlib.Path(path) / "profile"
    with interruptible():
        data = read_data(config)
        make_directory(directory)
        profile(config, data, directory)


def profile(config: Config, data: Interactions, directory: pathlib.Path) -> list[Operation]:
    """Traces a few updates; returns the operations, dearest first.

    Writes the trace to ``directory`` (TensorBoard's profile plugin and Perfetto read it), and
    operations.json: all operations, XLA's count of FLOPs and bytes, seconds an update.

    Raises:
        UserError: there is no training or validation example, or the directory cannot be written.
    """
    setup = make_setup(config, data)
    update = cast(
        "functools.partial[Any]", setup.update_function(setup.contrast(setup.total_steps))
    )
    batches = setup.first_batches(WARM_UPDATES + TRACED_UPDATES)
    state = setup.initial_state()
    jitted = cast(jax.stages.Wrapped, update.func)
    compiled = jitted.lower(state, batches[0], **update.keywords).compile()
    for batch in batches[:WARM_UPDATES]:
        state, _ = jax.block_until_ready(compiled(state, batch, **update.keywords))
    with jax.profiler.trace(str(directory)):
        started = time.perf_counter()
        for batch in batches[WARM_UPDATES:]:
            state, _ = compiled(state, batch, **update.keywords)
        jax.block_until_ready(state)
        seconds = (time.perf_counter() - started) / TRACED_UPDATES
    operations = _operations(_durations(directory), compiled.as_text() or "")
    summary = {
        "seconds_per_update": seconds,
        "cost_analysis": _cost(compiled),
        "operations": [operation._asdict() for operation in operations],
    }
    write_whole(directory / SUMMARY, json.dumps(summary, indent=1) + "\n")
    _show(operations, seconds, directory)
    return operations


def _durations(directory: pathlib.Path) -> Iterator[tuple[str, float]]:
    """Yields (instruction, nanoseconds) of every event of the newest trace in ``directory``."""
    newest = max(directory.rglob("*.xplane.pb"), key=lambda path: path.stat().st_mtime)
    for plane in jax.profiler.ProfileData.from_file(str(newest)).planes:
        for line in plane.lines:
            for event in line.events:
                # A GPU's events are kernels, which name their instruction.
                on_gpu = dict(event.stats) if plane.name.startswith("/device:GPU") else {}
                yield str(on_gpu.get("hlo_op", event.name)), event.duration_ns


def _operations(durations: Iterator[tuple[str, float]], module: str) -> list[Operation]:
    """Sums the durations of the instructions in the text of a compiled module, dearest first."""
    sources = _sources(module)
    time_of: dict[str, float] = defaultdict(float)
    calls_of = Counter[str]()
    for name, nanoseconds in durations:
        if name in sources:
            time_of[name] += nanoseconds
            calls_of[name] += 1
    total = sum(time_of.values()) or 1.0
    return [
        Operation(
            name,
            calls_of[name] / TRACED_UPDATES,
            nanoseconds / TRACED_UPDATES / 1e6,
            nanoseconds / total,
            sources[name],
        )
        for name, nanoseconds in sorted(time_of.items(), key=lambda pair: -pair[1])
    ]


def _sources(module: str) -> dict[str, str]:
    """Returns the JAX operation that each instruction's metadata names."""
    sources = {}
    for line in module.splitlines():
        if found := _INSTRUCTION.match(line):
            source = _SOURCE.search(line)
            sources[found[1]] = source[1] if source else ""
    return sources


def _cost(compiled: Any) -> dict[str, float]:
    """Returns XLA's count of FLOPs and bytes for one update."""
    analysis = compiled.cost_analysis() or {}
    return {key: analysis[key] for key in ("flops", "bytes accessed") if key in analysis}


def _show(operations: list[Operation], seconds: float, directory: pathlib.Path) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("ms", "share", "calls"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("operation", no_wrap=True)
    table.add_column("from", overflow="fold")
    for operation in operations[:SHOWN]:
        cells = f"{operation.milliseconds:.1f}", f"{operation.share:.1%}", f"{operation.calls:g}"
        table.add_row(*cells, operation.name, operation.source.removeprefix("jit(update)/"))
    Console().print(table)
    say(f"{seconds:.3f} seconds an update; trace and {SUMMARY}: {directory}")
