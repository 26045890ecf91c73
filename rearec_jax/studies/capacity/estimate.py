"""Compares what a compiled function needs with what a chip has: memory, time, what to change."""

import math
from typing import NamedTuple

from rearec_jax.config import Config
from rearec_jax.studies.capacity.chips import GIB, Chip

RESERVED = 0.05  # share of the memory that XLA's runtime keeps or loses to fragmentation
ADAM = 12  # bytes a parameter takes with its two moments, in float32


class Needs(NamedTuple):
    """The memory and time that a call of a compiled function needs of a chip."""

    arguments: float = 0  # the bytes of the arguments, such as state and batch
    outputs: float = 0  # the bytes of the results
    aliased: float = 0  # the bytes of results that take the memory of arguments
    temporaries: float = 0  # the bytes of all other arrays
    code: float = 0  # the bytes of the code
    products: float = 0  # the FLOPs of matrix products; a loop's body counts as often as it runs
    xla_flops: float = 0  # the FLOPs by XLA's count, which takes the body of a loop once
    xla_bytes: float = 0  # the bytes read or written, in HBM or on the chip, by the same count
    cycles: float = 0  # the cycles by XLA's cost model, without collectives
    unknown_loops: int = 0  # the number of loops whose rounds are unknown; they count once
    sent: dict[str, float] = {}  # noqa: RUF012 - the bytes that leave the chip, by collective
    compile_seconds: float = 0  # the seconds that compilation took
    refused: str = ""  # the compiler's reason where it found no room; only sizes are known then

    @property
    def memory(self) -> float:
        """The bytes of the chip's memory that the call takes."""
        new = self.outputs - self.aliased
        return float(self.arguments + new + self.temporaries + self.code)


class Times(NamedTuple):
    """The seconds of one call, computed and not measured."""

    products: float  # the seconds of all matrix products at the peak rate
    state: float  # the seconds in which arguments and results pass HBM once at its peak rate
    schedule: float  # the seconds of all instructions one after another, by XLA's cost model
    links: float  # the seconds in which all that is sent leaves at the links' peak rate

    @property
    def total(self) -> float:
        """The largest of the first three and, as if nothing overlapped, the links'."""
        return max(self.products, self.state, self.schedule) + self.links


def times(needs: Needs, chip: Chip) -> Times:
    """Computes the seconds of one call.

    A collective is taken to run along one dimension of the torus, in both directions.
    """
    links = sum(needs.sent.values()) / (chip.link_rate / chip.dimensions)
    return Times(
        products=needs.products / chip.matrix_flops,
        state=(needs.arguments + needs.outputs) / chip.memory_rate,
        schedule=needs.cycles / chip.clock,
        links=links,
    )


def fits(needs: Needs, chip: Chip) -> bool:
    """Says whether the chip has the memory that a call needs."""
    return not needs.refused and needs.memory <= usable(chip)


def usable(chip: Chip) -> float:
    """Returns the bytes of a chip's memory that a call may take."""
    return chip.memory_bytes * (1 - RESERVED)


def advice(
    config: Config, needs: Needs, chip: Chip, items: int, slices: int, streams: bool | None
) -> list[str]:
    """Returns what to change where an update does not fit; what helps most comes first.

    The catalogue has ``items`` items in ``slices`` shards. ``streams`` says whether the loss goes
    through it in blocks; None where it goes through the queries in blocks.
    """
    room, found = usable(chip), []
    of_items = ADAM * items * config.model.width
    has_table = config.model.items == "ids" or config.model.item_ids
    if has_table and of_items / slices > room / 3:
        wanted = 2 ** math.ceil(math.log2(3 * of_items / room))
        found.append(
            f"more shards of the catalogue: mesh.model={max(wanted, 2 * slices)} (items and moments"
            f" are {of_items / GIB:.1f} GiB)"
        )
    if config.train.loss == "full" and streams is False:
        found.append(
            f"stream the catalogue: train.logits_gib=0 (now up to {config.train.logits_gib:g} GiB"
            " of logits are kept)"
        )
    elif config.train.loss == "full" and streams and config.train.catalogue_block > 1024:
        found.append(f"smaller blocks: train.catalogue_block={config.train.catalogue_block // 4}")
    if needs.temporaries > room / 4:
        found.append(f"fewer targets an update: train.batch_size={config.train.batch_size // 2}")
        if config.model.dtype == "float32":
            found.append("activations of half the size: model.dtype=bfloat16")
    if config.train.loss == "full" and has_table:
        found.append(
            "a sample of the catalogue (an approximation): train.loss=sampled, train.lazy_adam=true"
        )
    return found


def even_batch(rows: int, parts: int, targets: float) -> int:
    """Returns a batch size near ``targets`` whose rows divide by ``parts``; 0 if ``rows`` do.

    Rows that do not divide are gathered on every chip, in every update.
    """
    if rows % parts == 0:
        return 0
    return round(targets / rows * max(parts, rows - rows % parts))
