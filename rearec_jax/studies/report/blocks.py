"""The parts that a section of the report is made of, as values; templates/blocks.html draws them.

All texts are plain text: the template escapes them.
"""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any

from rearec_jax.studies.report.drawing import Drawing

Item = Mapping[str, Any]  # an item of a story: id, title, and in lists target and seen


@dataclasses.dataclass(frozen=True)
class Heading:
    """A heading inside a section."""

    text: str


@dataclasses.dataclass(frozen=True)
class Paragraph:
    """A sentence or more."""

    text: str


@dataclasses.dataclass(frozen=True)
class Note:
    """A paragraph in small type about the numbers beside it."""

    text: str


@dataclasses.dataclass(frozen=True)
class Bullets:
    """An unordered list, a text for each entry."""

    lines: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        caption: the text above the table.
        headings: the headings of the columns.
        rows: the cells of each row, from left to right.
        words: the number of columns, from the left, that hold words; the others hold numbers.
        strong: the indices of rows that stand out.
        quiet: the indices of rows that are bounds or references and no results.
    """

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1
    strong: Sequence[int] = ()
    quiet: Sequence[int] = ()


@dataclasses.dataclass(frozen=True)
class Story:
    """One user's history, target and lists.

    Attributes:
        about: the data set and the run.
        told: the story as analysis/stories.json holds it.
        history: a label for the items of the history that are shown at once.
        recent: those items.
        earlier: the items before them, which are folded away.
    """

    about: str
    told: Mapping[str, Any]
    history: str
    recent: Sequence[Item]
    earlier: Sequence[Item]


Block = Heading | Paragraph | Note | Bullets | Table | Story | Drawing
