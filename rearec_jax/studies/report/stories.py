"""Section of a report: single users, with the titles of their items."""

from collections.abc import Iterator

from rearec_jax.studies.report.blocks import Block, Note, Story
from rearec_jax.studies.report.sources import DataSet

RECENT = 8  # items of the history that are shown at once
NOTE = Note(
    "The most improved and most worsened examples were looked for, so they are no evidence of"
    " what is usual; those called random were drawn. Marked: the target. Italic: items that the"
    " user had already."
)


def stories(data: DataSet) -> Iterator[Block]:
    """Tells every story of every run that reasons, after a note on how they were chosen."""
    found = [(run, told) for run in data.runs if run.steps for told in run.stories]
    if found:
        yield NOTE
    for run, told in found:
        items, length = told["history"], told["history_length"]
        recent, earlier = items[-RECENT:], items[:-RECENT]
        label = f"Last {len(recent)} of {length:,} items"
        if length == len(recent):
            label = f"{length} items" if length > 1 else "One item"
        yield Story(f"{data.name}, {run.label}", told, label, recent, earlier)
