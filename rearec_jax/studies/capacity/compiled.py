"""Compiles a training for devices that are not there, and reads what it needs of them."""

from collections.abc import Sequence
import functools
import math
import re
import time
from typing import Any, cast

import jax
from jax.sharding import SingleDeviceSharding

from rearec_jax.studies.capacity import flops, hlo
from rearec_jax.studies.capacity.estimate import Needs
from rearec_jax.studies.capacity.workload import Workload

UPDATE, TABLE, RANKING = "update", "item table", "ranking of a batch"


def compile_all(work: Workload, devices: Sequence[jax.Device]) -> dict[str, Needs]:
    """Returns what the update and the two functions of an evaluation need, by their names."""
    setup, shared = work.setup, work.setup.task.devices
    one = None if shared.mesh else SingleDeviceSharding(devices[0])
    rows, everywhere = shared.rows or one, shared.whole or one
    state = shared.abstract(work.state) if shared.mesh else _placed(work.state, one)
    catalogue = _placed(work.catalogue, everywhere)
    text = jax.tree.map(lambda part: _placed(part, shared.table(part.shape) or one), catalogue.text)
    catalogue = catalogue._replace(text=text)
    update = cast(
        "functools.partial[Any]", setup.update_function(setup.contrast(setup.total_steps))
    )
    item_table = cast("functools.partial[Any]", setup.validate.table)
    table = jax.eval_shape(item_table.func, state.variables, catalogue.text)
    table = _placed(table, shared.table(table.shape) or one)
    ranked, seen = _placed((work.ranked, work.seen), rows)
    chips = shared.count
    return {
        UPDATE: _needs(update.func, chips, state, _placed(work.batch, rows), catalogue=catalogue),
        TABLE: _needs(item_table.func, chips, state.variables, text=catalogue.text),
        RANKING: _needs(setup.validate.rank, chips, state.variables, table, ranked, seen),
    }


def _placed(tree: Any, placement: jax.sharding.Sharding | None) -> Any:
    """Returns the shapes and types of a tree's arrays, with a sharding."""

    def placed(leaf: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=placement)

    return jax.tree.map(placed, tree)


def _needs(jitted: Any, chips: int, *arguments: Any, **named: Any) -> Needs:
    """Compiles a jitted function for its arguments' shapes and returns what a call needs."""
    started = time.perf_counter()
    traced = jitted.trace(*arguments, **named)
    products = flops.product_flops(traced.jaxpr) / chips
    try:
        compiled = traced.lower(lowering_platforms=("tpu",)).compile()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return _refused(str(error), products, (arguments, named), time.perf_counter() - started)
    memory, cost = compiled.memory_analysis(), compiled.cost_analysis() or {}
    text = compiled.as_text() or ""
    return Needs(
        arguments=memory.argument_size_in_bytes,
        outputs=memory.output_size_in_bytes,
        aliased=memory.alias_size_in_bytes,
        temporaries=memory.temp_size_in_bytes,
        code=memory.generated_code_size_in_bytes,
        products=products,
        xla_flops=cost.get("flops", 0.0),
        xla_bytes=cost.get("bytes accessed", 0.0),
        cycles=hlo.cycles(text),
        unknown_loops=hlo.loops(text).unknown,
        sent=hlo.sent_by_kind(hlo.collectives(text, chips)),
        compile_seconds=time.perf_counter() - started,
    )


def _refused(error: str, products: float, arguments: Any, seconds: float) -> Needs:
    """Returns what is known where the compiler found no room: the sizes of arguments, and why."""
    reason = error.partition("RESOURCE_EXHAUSTED: ")[2].splitlines()[0]
    return Needs(
        arguments=sum(_shard_bytes(leaf) for leaf in jax.tree.leaves(arguments)),
        temporaries=required(reason),
        products=products,
        compile_seconds=seconds,
        refused=reason,
    )


def _shard_bytes(leaf: Any) -> int:
    return math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize


def required(error: str) -> float:
    """Returns the bytes that an error names first, as in "temporaries (166.92G)"; 0 for none."""
    found = re.search(r"([\d.]+)([KMGT])\b", error)
    return float(found[1]) * 2 ** (10 * "_KMGT".index(found[2])) if found else 0.0
