"""From a figure to SVG and PDF files, and to SVG inside a page."""

from __future__ import annotations

import dataclasses
import html
import io
import re
from typing import TYPE_CHECKING, Any
import warnings

from rearec_jax.studies.report import style
from rearec_jax.studies.report.elements import Html, element

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IN_PAGE = {  # what follows the page's colours
    style.INK: "currentColor",
    style.MUTED: "var(--muted)",
    style.RULE: "var(--rule)",
    style.PAPER: "var(--card)",
    style.COLOURS[0]: "var(--blue)",  # too dark on a dark page
    style.COLOURS[5]: "var(--sky)",
}


@dataclasses.dataclass(frozen=True)
class Drawing:
    """A figure with its file name (letters, digits, - and _), caption, and what it shows in words.

    alt: read aloud in place of the figure: what the axes are and what is to be seen.
    """

    name: str
    figure: Figure
    caption: str
    alt: str


def svg(drawing: Drawing) -> bytes:
    """A file: text as text, the same bytes for the same figure."""
    return _saved(drawing, "svg", {"Date": None, "Title": drawing.caption})


def pdf(drawing: Drawing) -> bytes:
    """A file with its fonts."""
    return _saved(drawing, "pdf", {"CreationDate": None, "Title": drawing.caption})


def _saved(drawing: Drawing, form: str, metadata: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    with style.context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a box in the PDF, no harm
        style.require().rcParams["svg.hashsalt"] = drawing.name
        drawing.figure.savefig(buffer, format=form, transparent=True, metadata=metadata)
    return buffer.getvalue()


def in_page(drawing: Drawing, file: bytes, number: int) -> Html:
    """<figure> with the drawing of ``svg(drawing)``, its caption and links to the files."""
    links = [
        element("a", form.upper(), href=f"{drawing.name}.{form}", download=f"{drawing.name}.{form}")
        for form in ("svg", "pdf")
    ]
    files = element("span", " ", links[0], " ", links[1], class_="files")
    label = element("b", f"Figure {number}. ")
    return element(
        "figure",
        _inline(drawing, file.decode()),
        element("figcaption", label, drawing.caption, files),
        id=f"figure-{drawing.name}",
    )


def _inline(drawing: Drawing, text: str) -> Html:
    """The <svg> alone: no header, ids of its own, the page's font and colours, nothing to fetch."""
    text = re.sub(r"<(metadata|style|title)\b.*?</\1>", "", text, flags=re.DOTALL)
    inner = text[text.index("<svg") :].split(">", 1)[1].strip()
    inner = re.sub(r"font-family: [^;\"]*; ?", "", inner).replace("xlink:href", "href")
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', inner))

    own = drawing.name
    inner = re.sub(r' id="([^"]+)"', lambda m: f' id="{own}-{m[1]}"' if m[1] in used else "", inner)
    inner = re.sub(r'(href="#|url\(#)', rf"\1{own}-", inner)
    for colour, page in IN_PAGE.items():
        inner = inner.replace(colour, page)
    box = re.search(r'viewBox="([^"]*)"', text)
    words = html.escape(drawing.alt)
    shape = box[1] if box else ""
    return Html(f'<svg viewBox="{shape}" role="img" aria-label="{words}">{inner}')
