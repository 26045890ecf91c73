"""HTML from values. Text is escaped here and nowhere else: what is not ``Html`` is text."""

from collections.abc import Iterable, Sequence
import dataclasses
import html
from typing import Final

VOID: Final = frozenset({"br", "col", "hr", "img", "meta"})


class Html(str):
    """Markup that is well formed and safe: made by ``element``, or a drawing of our own."""

    __slots__ = ()


Content = str | Html


def element(tag: str, *children: Content, **attributes: str) -> Html:
    """<tag name="value">children</tag>; ``class_`` and ``aria_label`` lose and swap underscores."""
    pairs = (
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(value)}"'
        for name, value in attributes.items()
    )
    opening = f"<{tag}{''.join(pairs)}>"
    if tag in VOID:
        return Html(opening)
    return Html(f"{opening}{join(children)}</{tag}>")


def join(children: Iterable[Content], between: Content = "") -> Html:
    """All of them one after another."""
    return _safe(between).__class__(_safe(between).join(map(_safe, children)))


def _safe(child: Content) -> Html:
    return child if isinstance(child, Html) else Html(html.escape(str(child)))


@dataclasses.dataclass(frozen=True)
class Table:
    """Cells as text. ``words``: the first columns, which hold words; the others are numbers.

    strong: rows to stand out; quiet: rows that are bounds or references, no results.
    """

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[Content]]
    words: int = 1
    strong: Sequence[int] = ()
    quiet: Sequence[int] = ()


def table(content: Table) -> Html:
    """In a box of its own that scrolls where the page is narrower."""
    head = element(
        "tr",
        *(
            element("th", heading, scope="col", class_=_kind(column, content.words))
            for column, heading in enumerate(content.headings)
        ),
    )
    body = [_row(content, number, cells) for number, cells in enumerate(content.rows)]
    whole = element(
        "table",
        element("caption", element("span", content.caption)),
        element("thead", head),
        element("tbody", *body),
    )
    return element(
        "div", whole, class_="scrolls", tabindex="0", role="region", aria_label=content.caption
    )


def _row(content: Table, number: int, cells: Sequence[Content]) -> Html:
    first, *others = cells
    data = (
        element("td", cell, class_=_kind(column, content.words))
        for column, cell in enumerate(others, start=1)
    )
    kind = "strong" if number in content.strong else "quiet" if number in content.quiet else ""
    attributes = {"class_": kind} if kind else {}
    return element("tr", element("th", first, scope="row", class_="word"), *data, **attributes)


def _kind(column: int, words: int) -> str:
    return "word" if column < words else "number"


def paragraph(*children: Content) -> Html:
    """A sentence or more."""
    return element("p", *children)


def note(*children: Content) -> Html:
    """What a reader has to know beside numbers."""
    return element("p", *children, class_="note")


def bullets(items: Iterable[Content]) -> Html:
    """An unordered list."""
    return element("ul", *(element("li", item) for item in items))
