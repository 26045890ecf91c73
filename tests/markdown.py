"""Reads Markdown tables, so that tests state their numbers and not their layout."""

from collections.abc import Iterator


def rows(text: str) -> Iterator[dict[str, str]]:
    """Yields the rows of all tables of a text: heading to cell, both without emphasis.

    Raises:
        ValueError: a row has more or fewer cells than its headings.
    """
    headings: list[str] = []
    for line in text.splitlines():
        if not line.startswith("|"):
            headings = []
            continue
        cells = [cell.strip(" *`") for cell in line.strip("|").split("|")]
        if not headings:
            headings = cells
        elif set("".join(cells)) - set(":-"):
            yield dict(zip(headings, cells, strict=True))


def number(cell: str) -> float:
    """The number in a cell such as "1,234", "87.0 %", "×1.44" or ".0450 ±.0071" (then the mean)."""
    return float(cell.partition("±")[0].strip("×% ").replace(",", ""))
