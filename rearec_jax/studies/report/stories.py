"""Section of a report: single users, with titles, which are text and never markup."""

from collections.abc import Mapping
import html
from typing import Any

from rearec_jax.studies.report.elements import Html, element, join, note
from rearec_jax.studies.report.sources import DataSet

RECENT = 8  # items of the history that are shown at once
Item = Mapping[str, Any]


def stories(own: DataSet) -> list[Html]:
    """Every story of every run that reasons."""
    told = [
        _story(story, f"{own.name}, {run.label}")
        for run in own.runs
        if run.steps
        for story in run.stories
    ]
    if not told:
        return []
    words = (
        "The most improved and most worsened examples were looked for, so they are no evidence of"
        " what is usual; those called random were drawn. Marked: the target. Italic: items that the"
        " user had already."
    )
    return [note(words), *told]


def _story(story: Mapping[str, Any], about: str) -> Html:
    heading = element(
        "h4",
        f"User {story['user']} ",
        element("small", f"{story['chosen']} · {about}"),
    )
    target = element("p", element("b", "Next: "), element("mark", _name(story["target"])))
    steps = [_step(step) for step in story["steps"]]
    return element(
        "article",
        heading,
        *_history(story),
        target,
        element("div", *steps, class_="lists"),
        class_="story",
    )


def _history(story: Mapping[str, Any]) -> list[Html]:
    items = story["history"]
    recent, earlier = items[-RECENT:], items[:-RECENT]
    label = f"Last {len(recent)} of {story['history_length']:,} items: "
    if story["history_length"] == len(recent):
        label = f"{len(recent)} items: " if len(recent) > 1 else "One item: "
    shown = element("p", element("b", label), _listed(recent))
    if not earlier:
        return [shown]
    more = element("summary", f"{len(earlier)} earlier ones that the model sees")
    return [shown, element("details", more, element("p", _listed(earlier)))]


def _listed(items: list[Item]) -> Html:
    return join((element("span", _name(item), class_="item") for item in items), " → ")


def _step(step: Mapping[str, Any]) -> Html:
    rank = step["target_rank"]
    place = "" if rank is None else f"target ranks {rank:,}"
    heading = element("h5", f"{step['representation']} ".capitalize(), element("small", place))
    return element("section", heading, element("ol", *map(_recommended, step["top"])))


def _recommended(item: Item) -> Html:
    name = _name(item)
    if item["target"]:
        return element("li", element("mark", name))
    return element("li", element("i", name) if item["seen"] else name)


def _name(item: Item) -> str:
    """The title as it was meant: many files hold "&amp;" for "&". The page escapes it again."""
    return html.unescape(item["title"]) if item["title"] else str(item["id"])
