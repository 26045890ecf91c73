"""Checks that cells of a root and requested cells, which share a table, have the same options."""

from collections.abc import Sequence
import pathlib

from rearec_jax.config.compare import clashes
from rearec_jax.studies.grid import summaries, variants
from rearec_jax.studies.grid.cells import Cell, refuse
from rearec_jax.studies.grid.means import OWN_OPTIONS
from rearec_jax.studies.grid.summaries import Result


def check(root: pathlib.Path, requested: Sequence[Cell]) -> None:
    """Compares requested cells with all finished cells of the same data sets below a root.

    Cells in one row of the table may differ in the seed alone; others also in what the grid varies,
    and in ``OWN_OPTIONS``.

    Raises:
        UserError: cells differ in other options (the message lists those of the first of them).
    """
    varied = {name for cell in requested for name in variants.names(cell.variant)}
    different = []
    for variant, results, _ in summaries.by_variant(root):
        for found in results:
            row = [cell for cell in requested if _is_row_of(cell, variant, found)]
            beside = [cell for cell in requested if cell.dataset == found.dataset]
            for cell in (row or beside)[:1]:
                free = {"seed"} if row else {*OWN_OPTIONS, *varied, *variants.names(variant)}
                if lines := _clashes(found, cell, free):
                    different.append((root / variant / found.name, lines))
    refuse(different, ", and would stand in the same table")


def _is_row_of(cell: Cell, variant: str, found: Result) -> bool:
    row = (variant, found.dataset, found.backbone, found.method)
    return (cell.variant, cell.dataset, cell.backbone, cell.method) == row


def _clashes(found: Result, cell: Cell, free: set[str]) -> list[str]:
    if not found.options:
        return []  # its config.json cannot be read
    lines = clashes(found.options, cell.options)
    return [line for line in lines if line.partition(": ")[0] not in free]
