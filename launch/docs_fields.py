"""An extension of griffe for the API reference: fields of classes as a list, with their comments.

The docstrings of dataclasses describe fields in lines such as ``name:   What it is.``; options have
a comment behind each. Markdown would join the former and lose the latter.
"""

from collections.abc import Iterator
from pathlib import Path
import re
from typing import Any

import griffe

FIELDS = re.compile(r"(?P<names>\*{0,2}\w+(?:, \w+)*):\s+(?P<text>\S.*)")


def as_attributes(text: str, known: set[str]) -> str:
    """Returns a docstring with its lines about ``known`` fields as a section "Attributes"."""
    before: list[str] = []
    fields: list[str] = []
    after: list[str] = []
    inside = False
    for line in text.splitlines():
        match = FIELDS.fullmatch(line)
        if match and set(match["names"].split(", ")) <= known:
            inside = True
            fields += [f"    {name}: {match['text']}" for name in match["names"].split(", ")]
        elif inside and line.startswith(" "):
            fields.append(f"        {line.strip()}")
        else:
            inside = False
            (after if fields else before).append(line)
    if not fields:
        return text
    return "\n".join([*before, "", *after, "", "Attributes:", *fields]).strip()


def comments(lines: list[str], first: int, last: int) -> Iterator[str]:
    """Yields the comments above a field, and behind it, that stands in these lines of a file."""
    above = first - 2
    while above >= 0 and lines[above].strip().startswith("# "):
        above -= 1
    yield from (line.strip().removeprefix("# ") for line in lines[above + 1 : first - 1])
    _, mark, comment = lines[last - 1].partition("  # ")
    if mark and not comment.startswith("noqa"):
        yield comment


class Fields(griffe.Extension):
    """Gives classes a list of their fields, and fields without a docstring their comment."""

    def on_class(self, *, cls: griffe.Class, **kwargs: Any) -> None:
        """Rewrites the docstring of one class and completes its fields."""
        attributes = {name: one for name, one in cls.members.items() if one.is_attribute}
        if cls.docstring:
            cls.docstring.value = as_attributes(cls.docstring.value, set(attributes))
        path = cls.filepath
        if not isinstance(path, Path):
            return
        lines = path.read_text("utf-8").splitlines()
        for one in attributes.values():
            if one.docstring is None and one.lineno and one.endlineno:
                text = " ".join(comments(lines, one.lineno, one.endlineno))
                if text:
                    one.docstring = griffe.Docstring(text, parent=one)
