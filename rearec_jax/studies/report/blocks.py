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
class Lead:
    """A sentence in larger type that a reader takes away."""

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
    """A table."""

    caption: str  # the text above the table
    headings: Sequence[str]  # the headings of the columns
    rows: Sequence[Sequence[str]]  # the cells of each row, from left to right
    words: int = 1  # the number of columns, from the left, that hold words; the others hold numbers
    strong: Sequence[int] = ()  # the indices of rows that stand out
    quiet: Sequence[int] = ()  # the indices of rows that are bounds or references and no results


@dataclasses.dataclass(frozen=True)
class Story:
    """One user's history, target and lists."""

    about: str  # the data set and the run
    told: Mapping[str, Any]  # the story as analysis/stories.json holds it
    history: str  # a label for the items of the history that are shown at once
    recent: Sequence[Item]  # those items
    earlier: Sequence[Item]  # the items before them, which are folded away


Block = Heading | Lead | Paragraph | Note | Bullets | Table | Story | Drawing
