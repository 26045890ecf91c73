"""Shows the table of a grid that varies options: a row a method and combination of values."""

from collections.abc import Sequence
import dataclasses
import itertools
import pathlib

from rich.text import Text

from rearec_jax.methods import METHODS
from rearec_jax.studies import terminal
from rearec_jax.studies.grid import means, paper_table, summaries
from rearec_jax.studies.grid import variants as studies
from rearec_jax.studies.grid.means import Row
from rearec_jax.studies.grid.summaries import Result

WORDS = ("Data set", "Backbone", "Method", "Options")
HEADINGS = (*WORDS, "Valid NDCG@20", *paper_table.HEADINGS)
CAPTION = (
    "Test split. Mean ± standard deviation of the sample where there is more than one seed. The"
    " validation columns are what to choose by: values chosen on test are no result."
)


@dataclasses.dataclass(frozen=True)
class SweepRow:
    """The row of one method with one combination of values, over its seeds."""

    dataset: str
    backbone: str
    method: str
    options: str  # the combination, such as "method.steps=3"; "" where the method reads none of it
    row: Row  # the metrics

    @property
    def pairs(self) -> dict[str, str]:
        """The values by option: {"method.temperature": "1", "method.temperature_decay": "1.5"}."""
        return dict(pair.split("=", 1) for pair in self.options.split(",") if "=" in pair)

    @property
    def valid(self) -> float | None:
        """The validation NDCG@20, by which values are chosen."""
        return self.row.valid


def is_sweep(root: pathlib.Path) -> bool:
    """Says whether a root holds directories of variants."""
    return root.is_dir() and any(studies.is_directory_name(path.name) for path in root.iterdir())


def read(root: pathlib.Path) -> tuple[list[SweepRow], list[str]]:
    """Reads a root; returns a row for all finished cells of the same options, and remarks."""
    found: dict[tuple[str, str, str, str], list[Result]] = {}
    notes: list[str] = []
    varied: set[str] = set()
    _, *variants = summaries.by_variant(root)
    for directory, results, unread in sorted(variants, key=lambda variant: _order(variant[0])):
        notes += unread
        varied |= studies.names(directory)
        name = "" if directory == studies.AS_GIVEN else directory
        for result in results:
            key = (result.dataset, result.backbone, result.method, name)
            found.setdefault(key, []).append(result)
    notes += means.remarks(list(itertools.chain(*found.values())), varied)
    keys = sorted(found, key=lambda key: (*key[:2], means.order(key[2], METHODS)))
    return [SweepRow(*key, means.row(means.label(key[2]), found[key])) for key in keys], notes


def print_table(rows: Sequence[SweepRow], remarks: Sequence[str]) -> None:
    """Prints the table and the remarks to standard output."""
    shown = terminal.table(HEADINGS, len(WORDS))
    for row in rows:
        found = cells(row)
        short = (f"{name.partition('.')[2]}={value}" for name, value in row.pairs.items())
        found[3] = "\n".join(short)  # as lines are
        shown.add_row(*map(Text, found))
    terminal.show(shown, remarks, terminal.wide_console())


def markdown(rows: Sequence[SweepRow], remarks: Sequence[str]) -> str:
    """Returns the table, its caption and the remarks as Markdown."""
    lines = terminal.markdown_table(HEADINGS, map(cells, rows), len(WORDS))
    lines += ["", CAPTION, *(f"- {remark}" for remark in remarks)]
    return "\n".join(lines) + "\n"


def cells(row: SweepRow) -> list[str]:
    """Returns the cells of a row, one for each of HEADINGS."""
    label, *numbers = paper_table.cells(row.row)
    valid = terminal.MISSING if row.valid is None else terminal.fraction(row.valid)
    return [row.dataset, row.backbone, label, row.options.replace(",", ", "), valid, *numbers]


def _order(directory: str) -> list[tuple[float, str]]:
    return [natural(part.partition("=")[2]) for part in directory.split(",")]


def natural(value: str) -> tuple[float, str]:
    """Returns a key that sorts numbers by value, 2 before 10, and words after them."""
    try:
        return float(value), ""
    except ValueError:
        return float("inf"), value
