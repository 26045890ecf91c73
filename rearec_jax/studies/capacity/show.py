"""Shows what a training needs: a table and sentences for people, or JSON for other programs."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from rearec_jax.devices.mesh import Devices
from rearec_jax.studies import terminal
from rearec_jax.studies.capacity import estimate
from rearec_jax.studies.capacity.chips import GIB, Chip
from rearec_jax.studies.capacity.compiled import RANKING, TABLE, UPDATE
from rearec_jax.studies.capacity.estimate import Needs
from rearec_jax.studies.capacity.options import Options
from rearec_jax.studies.capacity.workload import Workload
from rearec_jax.studies.terminal import say, table

MIB = 2**20


class Result(NamedTuple):
    """The result of the capacity plan."""

    options: Options  # the options of the command line
    chip: Chip  # the kind of chip
    workload: Workload  # the training that was compiled
    needs: Mapping[str, Needs]  # what each of its functions needs, by name

    @property
    def devices(self) -> Devices:
        """The mesh of chips."""
        return self.workload.setup.task.devices

    @property
    def fits(self) -> bool:
        """Says whether every function fits."""
        return all(estimate.fits(needs, self.chip) for needs in self.needs.values())

    @property
    def advice(self) -> list[str]:
        """The changes that would make it fit, a line each; none where all fits."""
        if self.fits:
            return []
        config, items = self.options.config, self.workload.setup.task.num_items
        found = []
        if not estimate.fits(self.needs[UPDATE], self.chip):
            task, shards = self.workload.setup.task, self.devices.model
            streams = None if task.query_block(items) else task.catalogue_block(items) < items
            needs = self.needs[UPDATE]
            found += estimate.advice(config, needs, self.chip, items, shards, streams)
        elif not estimate.fits(self.needs[RANKING], self.chip):
            found.append(
                f"smaller blocks of scores: eval.score_mib={config.eval.score_mib // 4}, or fewer"
                f" users at once: eval.batch_size={config.eval.batch_size // 2}"
            )
        if not estimate.fits(self.needs[TABLE], self.chip):
            found.append("more shards of the catalogue (mesh.model): the item table alone is large")
        return found


def as_dict(result: Result) -> dict[str, Any]:
    """Returns what --json prints.

    Bytes and seconds are those of one chip and one call, unless their names say otherwise.
    """
    options, work = result.options, result.workload
    programs = {}
    for name, needs in result.needs.items():
        took = estimate.times(needs, result.chip)
        programs[name] = {
            **needs._asdict(),
            "memory": needs.memory,
            "fits": estimate.fits(needs, result.chip),
            "seconds": {**took._asdict(), "total": took.total},
        }
    return {
        "config": options.name,
        "topology": options.topology,
        "chips": result.devices.count,
        "chip": result.chip._asdict(),
        "items": work.setup.task.num_items,
        "catalogue_shards": result.devices.model,
        "batch": dict(zip(("rows", "tokens", "queries"), work.setup.batches.shape, strict=True)),
        "targets_per_update": work.targets_per_update,
        "programs": programs,
        "fits": result.fits,
        "advice": result.advice,
        "epoch": _epoch(result),
    }


def _epoch(result: Result) -> dict[str, float] | None:
    """Returns updates, seconds, chip-hours and price of an epoch; None where it is unknown."""
    work, price = result.workload, result.options.price
    if not work.targets or result.needs[UPDATE].refused:
        return None
    updates = -(-work.targets // work.targets_per_update)
    seconds = updates * estimate.times(result.needs[UPDATE], result.chip).total
    hours = seconds * result.devices.count / 3600
    epoch = {"targets": work.targets, "updates": updates, "seconds": seconds, "chip_hours": hours}
    return epoch | ({"price": hours * price} if price else {})


def show(result: Result) -> None:
    """Prints the result for people."""
    options, work = result.options, result.workload
    rows, tokens, queries = work.setup.batches.shape
    say(
        f"{options.name} on {options.topology}: {_plural(result.devices.count, 'chip')}"
        f" of {result.chip.name}, catalogue in {_plural(result.devices.model, 'shard')}\n"
        f"{work.setup.task.num_items:,} items; an update: {rows} rows of {tokens} tokens and"
        f" {queries} queries, {work.targets_per_update:,.0f} targets"
    )
    terminal.show(_table(result), _sentences(result), Console())


def _table(result: Result) -> Table:
    shown, programs = table(("of one chip, for one call", *result.needs)), result.needs.values()
    for heading, cell in _ROWS.items():
        shown.add_row(heading, *map(cell, programs))
    for kind in sorted({kind for needs in programs for kind in needs.sent}):
        shown.add_row(f"sent, {kind}", *(_size(needs.sent.get(kind, 0)) for needs in programs))
    took = [estimate.times(needs, result.chip) for needs in programs]
    for part, heading in _TIMES.items():
        shown.add_row(heading, *(_duration(getattr(one, part)) for one in took))
    return shown


def _sentences(result: Result) -> Iterator[str]:
    chip = result.chip
    room = f"{estimate.usable(chip) / GIB:.1f} of {chip.memory_bytes / GIB:.0f} GiB"
    if result.fits:
        most = max(needs.memory for needs in result.needs.values())
        yield f"It fits: {most / GIB:.2f} GiB of the {room} that a program may use."
    else:
        for name, needs in result.needs.items():
            if not estimate.fits(needs, chip):
                why = needs.refused or f"it needs {needs.memory / GIB:.1f} GiB"
                yield f"It does not fit: {name}; {why}; a program may use {room}."
        yield from (f"  try {line}" for line in result.advice)
    yield from _uneven(result)
    if any(needs.refused for needs in result.needs.values()):
        return
    yield (
        f"About {work_rate(result):,.0f} targets a second: computed from published rates and XLA's"
        " cost model, not measured; feeding the chips is not in it."
    )
    if epoch := _epoch(result):
        yield (
            f"An epoch of {epoch['targets']:,} targets: {epoch['updates']:,.0f} updates,"
            f" {_duration(epoch['seconds'])}, {epoch['chip_hours']:.3g} chip-hours"
            + (f", {epoch['price']:.3g} at that price." if "price" in epoch else ".")
        )
    if any(needs.unknown_loops for needs in result.needs.values()):
        yield "Some loops do not say how often they run; they count once."


def _uneven(result: Result) -> Iterator[str]:
    rows, _, _ = result.workload.setup.batches.shape
    parts = result.devices.data
    if targets := estimate.even_batch(rows, parts, result.workload.targets_per_update):
        yield (
            f"The {rows} rows of an update do not divide by mesh.data={parts}, so chips exchange"
            f" what they compute: try train.rows_multiple={parts} ({targets:,} targets an update)."
        )


def work_rate(result: Result) -> float:
    """Returns the targets a second of the whole slice; 0 where the seconds are unknown."""
    seconds = estimate.times(result.needs[UPDATE], result.chip).total
    return result.workload.targets_per_update / seconds if seconds else 0.0


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"


def _size(count: float) -> str:
    if count >= GIB / 10:
        return f"{count / GIB:.2f} GiB"
    return f"{count / MIB:.2f} MiB" if count else "-"


def _flops(count: float) -> str:
    return f"{count / 1e9:,.2f} GFLOP" if count else "-"


def _duration(seconds: float) -> str:
    if not seconds:
        return "-"
    if seconds >= 120:
        return f"{seconds / 60:.1f} min"
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.3f} ms"


_ROWS = {
    "memory: arguments": lambda needs: _size(needs.arguments),
    "  outputs": lambda needs: _size(needs.outputs),
    "  of them in place": lambda needs: _size(needs.aliased),
    "  temporaries": lambda needs: _size(needs.temporaries),
    "  code": lambda needs: _size(needs.code),
    "  in all": lambda needs: _size(needs.memory),
    "matrix products": lambda needs: _flops(needs.products),
    "XLA's count, loops once": lambda needs: _flops(needs.xla_flops),
    "its bytes, loops once": lambda needs: _size(needs.xla_bytes),
}
_TIMES = {
    "products": "time: products, at peak",
    "state": "  state once through HBM",
    "schedule": "  XLA's cost model",
    "links": "  links",
    "total": "  in all",
}
