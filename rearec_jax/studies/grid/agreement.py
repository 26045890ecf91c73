"""Do the cells that a root holds have the options of those asked for? They share a table."""

from collections.abc import Sequence
import pathlib

from rearec_jax.config.compare import clashes
from rearec_jax.studies.grid import summaries, variants
from rearec_jax.studies.grid.cells import Cell, refuse
from rearec_jax.studies.grid.means import OWN_OPTIONS
from rearec_jax.studies.grid.summaries import Result


def check(root: pathlib.Path, asked: Sequence[Cell]) -> None:
    """Compares with all finished cells of the data sets asked for.

    Cells of a row of the table may differ in the seed alone; others also in what the grid varies,
    and in ``OWN_OPTIONS``.

    Raises:
        UserError: others differ (the message lists the options of the first of them).
    """
    varied = {name for cell in asked for name in variants.names(cell.place)}
    different = []
    every = ((place, found) for place, results, _ in summaries.by_place(root) for found in results)
    for place, found in every:
        row = [cell for cell in asked if _is_row_of(cell, place, found)]
        beside = [cell for cell in asked if cell.dataset == found.dataset]
        for cell in (row or beside)[:1]:
            free = {"seed"} if row else {*OWN_OPTIONS, *varied, *variants.names(place)}
            if lines := _clashes(found, cell, free):
                different.append((root / place / found.name, lines))
    refuse(different, ", and would stand in the same table")


def _is_row_of(cell: Cell, place: str, found: Result) -> bool:
    row = (place, found.dataset, found.backbone, found.method)
    return (cell.place, cell.dataset, cell.backbone, cell.method) == row


def _clashes(found: Result, cell: Cell, free: set[str]) -> list[str]:
    if not found.options:
        return []  # its config.json cannot be read
    lines = clashes(found.options, cell.options)
    return [line for line in lines if line.partition(": ")[0] not in free]
