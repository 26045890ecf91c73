"""From what a program needs and what a chip has: does it fit, how long, what to change."""

import math
from typing import NamedTuple

from rearec_jax.config import Config
from rearec_jax.studies.capacity.chips import GIB, Chip

RESERVED = 0.05  # of the memory: what XLA's runtime keeps for itself and loses to fragmentation
ADAM = 12  # bytes a parameter: itself and two moments, float32


class Needs(NamedTuple):
    """Of one chip, for one call of a program. Bytes, FLOPs."""

    arguments: float  # state and batch
    outputs: float
    aliased: float  # outputs that take the place of arguments
    temporaries: float
    code: float
    products: float  # FLOPs of matrix products, loops counted as often as they run
    xla_flops: float  # XLA's own counts, which take a loop's body once
    xla_bytes: float  # read or written, in HBM or on the chip
    cycles: float  # of XLA's cost model, without collectives
    unknown_loops: int
    sent: dict[str, float]  # by kind of collective, leaving the chip
    compile_seconds: float
    refused: str = ""  # what the compiler said where it found no room; then only sizes are known

    @property
    def memory(self) -> float:
        """Bytes of the chip's memory while it runs."""
        new = self.outputs - self.aliased
        return float(self.arguments + new + self.temporaries + self.code)


class Times(NamedTuple):
    """Seconds of one call, computed and not measured.

    products: all matrix products at the peak rate.
    state: what goes in and comes out, each once through HBM at its peak rate.
    schedule: every instruction of the program one after another, by XLA's cost model.
    links: all that is sent, at the links' peak rate.
    """

    products: float
    state: float
    schedule: float
    links: float

    @property
    def total(self) -> float:
        """The largest of the chip's own, and then the links: taken not to overlap."""
        return max(self.products, self.state, self.schedule) + self.links


def times(needs: Needs, chip: Chip) -> Times:
    """A collective runs along one dimension of the torus, in both directions."""
    links = sum(needs.sent.values()) / (chip.link_rate / chip.dimensions)
    return Times(
        products=needs.products / chip.matrix_flops,
        state=(needs.arguments + needs.outputs) / chip.memory_rate,
        schedule=needs.cycles / chip.clock,
        links=links,
    )


def fits(needs: Needs, chip: Chip) -> bool:
    """Is there room for it?"""
    return not needs.refused and needs.memory <= usable(chip)


def usable(chip: Chip) -> float:
    """Bytes of a chip's memory that a program may count on."""
    return chip.memory_bytes * (1 - RESERVED)


def advice(
    config: Config, needs: Needs, chip: Chip, items: int, slices: int, streams: bool | None
) -> list[str]:
    """What to change where an update does not fit; what helps most first.

    Args:
        slices: shards of the catalogue now, `mesh.model`.
        streams: does the loss go through the catalogue in blocks? None: through the queries.
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
    """Targets an update, near to ``targets``, whose rows divide by ``parts``; 0 if ``rows`` do.

    Rows that do not divide are gathered on every chip, again and again.
    """
    if rows % parts == 0:
        return 0
    return round(targets / rows * max(parts, rows - rows % parts))
