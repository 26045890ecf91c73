"""Turns figures into SVG and PDF files, and into SVG inside a page."""

from __future__ import annotations

import dataclasses
import io
import re
from typing import TYPE_CHECKING, Any, NamedTuple
import warnings

from rearec_jax.studies.report import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IN_PAGE = {  # colours of figures -> colours of the page, which follow light and dark
    style.INK: "currentColor",
    style.MUTED: "var(--muted)",
    style.RULE: "var(--rule)",
    style.PAPER: "var(--card)",
    style.COLOURS[0]: "var(--blue)",  # too dark on a dark page
    style.COLOURS[5]: "var(--sky)",
}


@dataclasses.dataclass(frozen=True)
class Drawing:
    """A figure with its texts."""

    name: str  # the name of its files: letters, digits, - and _
    figure: Figure
    caption: str
    alt: str  # the text that is read aloud in place of the figure: its axes, and what it shows


def svg(drawing: Drawing) -> bytes:
    """Returns an SVG file whose text is text; the same figure gives the same bytes."""
    return _saved(drawing, "svg", {"Date": None, "Title": drawing.caption})


def pdf(drawing: Drawing) -> bytes:
    """Returns a PDF file with its fonts."""
    return _saved(drawing, "pdf", {"CreationDate": None, "Title": drawing.caption})


def _saved(drawing: Drawing, form: str, metadata: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    with style.context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a box in the PDF, no harm
        style.require().rcParams["svg.hashsalt"] = drawing.name
        drawing.figure.savefig(buffer, format=form, transparent=True, metadata=metadata)
    return buffer.getvalue()


class Inline(NamedTuple):
    """The parts of an SVG file for use inside the page."""

    view_box: str  # the value of the attribute viewBox
    shapes: str  # all between <svg> and </svg>, as markup


def inline(drawing: Drawing, file: bytes) -> Inline:
    """Returns the parts of the SVG file that ``svg(drawing)`` has written.

    They have no header, the page's font and colours, and ids that start with the drawing's name,
    so that two drawings in a page do not share any; nothing in them has to be fetched.
    """
    text = re.sub(r"<(metadata|style|title)\b.*?</\1>", "", file.decode(), flags=re.DOTALL)
    shapes = text[text.index("<svg") :].split(">", 1)[1].strip().removesuffix("</svg>")
    shapes = re.sub(r"font-family: [^;\"]*; ?", "", shapes).replace("xlink:href", "href")
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', shapes))

    def with_name(found: re.Match[str]) -> str:
        return f' id="{drawing.name}-{found[1]}"' if found[1] in used else ""

    shapes = re.sub(r' id="([^"]+)"', with_name, shapes)
    shapes = re.sub(r'(href="#|url\(#)', rf"\1{drawing.name}-", shapes)
    for colour, in_page in IN_PAGE.items():
        shapes = shapes.replace(colour, in_page)
    box = re.search(r'viewBox="([^"]*)"', text)
    return Inline(box[1] if box else "", shapes)
