"""Section of a report: single users, with the titles of their items."""

from collections.abc import Mapping
import html
from typing import Any

from rearec_jax.studies.report.blocks import Item, Note, Story
from rearec_jax.studies.report.sources import DataSet

RECENT = 8  # items of the history that are shown at once
NOTE = Note(
    "The most improved and most worsened examples were looked for, so they are no evidence of"
    " what is usual; those called random were drawn. Marked: the target. Italic: items that the"
    " user had already."
)


def stories(data: DataSet) -> list[Note | Story]:
    """Returns every story of every run that reasons, after a note on how they were chosen."""
    found = [
        _story(told, f"{data.name}, {run.label}")
        for run in data.runs
        if run.steps
        for told in run.stories
    ]
    return [NOTE, *found] if found else []


def _story(told: Mapping[str, Any], about: str) -> Story:
    items = told["history"]
    recent, earlier = items[-RECENT:], items[:-RECENT]
    label = f"Last {len(recent)} of {told['history_length']:,} items"
    if told["history_length"] == len(recent):
        label = f"{len(recent)} items" if len(recent) > 1 else "One item"
    return Story(about, told, label, recent, earlier)


def item_name(item: Item) -> str:
    """Returns an item's title, or its id where it has none.

    Many files hold "&amp;" for "&": the title is unescaped once, and the page escapes it again.
    """
    return html.unescape(item["title"]) if item["title"] else str(item["id"])
