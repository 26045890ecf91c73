"""The published properties of each kind of TPU chip.

Sources: cloud.google.com/tpu/docs/v4, .../v5e, .../v5p and .../v6e ("key specifications"); the
interconnect's rates there are in bits a second: 2400, 1600, 4800 and 3584 G.
"""

from typing import NamedTuple

from rearec_jax.errors import UserError


class Chip(NamedTuple):
    """A kind of chip. Rates are peaks, in units a second."""

    name: str  # the name of the kind
    matrix_flops: float  # the FLOPs of matrix products in bfloat16, accumulated in float32
    memory_bytes: float  # the bytes of HBM, of which XLA and its runtime keep some
    memory_rate: float  # the bytes to and from HBM
    link_rate: float  # the bytes that leave the chip by all its links together
    dimensions: int  # the dimensions of the torus of chips; each has two links
    clock: float  # the cycles: matrix_flops over the FLOPs that all matrix units do in one cycle


GIB, GIGA, TERA = 2**30, 1e9, 1e12
CHIPS = {
    chip.name: chip
    for chip in (
        Chip("v4", 275 * TERA, 32 * GIB, 1200 * GIGA, 300 * GIGA, 3, 1.05 * GIGA),
        Chip("v5e", 197 * TERA, 16 * GIB, 819 * GIGA, 200 * GIGA, 2, 1.50 * GIGA),
        Chip("v5p", 459 * TERA, 95 * GIB, 2765 * GIGA, 600 * GIGA, 3, 1.75 * GIGA),
        Chip("v6e", 918 * TERA, 32 * GIB, 1640 * GIGA, 448 * GIGA, 2, 1.75 * GIGA),
    )
}


def chip_of(topology: str) -> Chip:
    """Returns the chip of a topology such as v5e:2x4. Raises UserError for any other text."""
    name, _, shape = topology.partition(":")
    sizes = shape.split("x")
    if name not in CHIPS or not all(size.isdecimal() and int(size) for size in sizes):
        raise UserError(
            f"--topology={topology} should look like v5e:2x4: one of {', '.join(CHIPS)}, a colon,"
            " and how many chips in each dimension of the slice"
        )
    chip = CHIPS[name]
    if len(sizes) != chip.dimensions:
        example = "x".join(["2"] * chip.dimensions)
        raise UserError(
            f"--topology={topology}: slices of {name} have {chip.dimensions} dimensions,"
            f" such as {name}:{example}"
        )
    return chip
