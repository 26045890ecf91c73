"""The page: sections with numbers and a table of contents, in the template of this package."""

from collections.abc import Callable, Iterator, Sequence
import dataclasses
from importlib import resources
import string

from rearec_jax.studies.report import drawing, overview, results, steps, stories, study_section
from rearec_jax.studies.report.drawing import Drawing
from rearec_jax.studies.report.elements import Html, element, join
from rearec_jax.studies.report.sources import DataSet, Sources

Blocks = Sequence[Html | Drawing]


@dataclasses.dataclass(frozen=True)
class Section:
    """A heading, its place in the address bar, and what stands below."""

    name: str
    title: str
    blocks: Blocks


SECTIONS: tuple[tuple[str, str, Callable[[DataSet], Blocks]], ...] = (
    ("data", "Data", overview.data),
    ("runs", "Runs", overview.runs),
    ("options", "Options", overview.options),
    ("training", "Training", overview.training),
    ("accuracy", "Accuracy", results.accuracy),
    ("significance", "Is the difference real?", results.significance),
    ("steps", "Accuracy by reasoning step", steps.by_step),
    ("groups", "Who gains?", results.groups),
    ("trajectories", "How ranks move", steps.trajectories),
    ("states", "What the states do", steps.states),
    ("lists", "What is recommended", steps.lists),
    ("stories", "Single users", stories.stories),
)


def sections(sources: Sources) -> list[Section]:
    """Those that the files allow, in order of reading."""
    found = []
    for name, title, write in SECTIONS:
        blocks: list[Html | Drawing] = []
        for data in sources.data_sets:
            own = list(write(data))
            if own and len(sources.data_sets) > 1:
                blocks.append(element("h3", data.name))
            blocks += own
        if blocks:
            found.append(Section(name, title, blocks))
    for number, study in enumerate(sources.studies, start=1):
        title = f"Study {study.path.name}"
        found.append(Section(f"study-{number}", title, study_section.study(study)))
    return _distinct(found)


def drawings(found: Sequence[Section]) -> Iterator[Drawing]:
    """All figures, in order of reading."""
    for section in found:
        yield from (block for block in section.blocks if isinstance(block, Drawing))


def page(
    title: str, about: str, found: Sequence[Section], files: dict[str, bytes], command: str
) -> str:
    """The whole file.

    files: the SVG of each drawing, by its name.
    """
    numbers = {each.name: number for number, each in enumerate(drawings(found), start=1)}
    inner = join(_section(section, files, numbers) for section in found)
    contents = element(
        "ol", *(element("li", element("a", s.title, href=f"#{s.name}")) for s in found)
    )
    template = string.Template(_text("page.html"))
    return template.substitute(
        title=_escaped(title),
        about=_escaped(about),
        style=_text("style.css"),
        contents=contents,
        body=inner,
        command=_escaped(command),
    )


def _section(section: Section, files: dict[str, bytes], numbers: dict[str, int]) -> Html:
    parts: list[Html] = []
    row: list[Html] = []
    for block in section.blocks:
        if isinstance(block, Drawing):
            row.append(drawing.in_page(block, files[block.name], numbers[block.name]))
            continue
        if row:
            parts.append(element("div", *row, class_="figures"))
            row = []
        parts.append(block)
    if row:
        parts.append(element("div", *row, class_="figures"))
    heading = element("h2", section.title, id=f"{section.name}-title")
    return element(
        "section", heading, *parts, id=section.name, aria_labelledby=f"{section.name}-title"
    )


def _distinct(found: Sequence[Section]) -> list[Section]:
    """Names of files told apart where two labels differ only in what a file name cannot hold."""
    seen: dict[str, int] = {}

    def renamed(block: Html | Drawing) -> Html | Drawing:
        if not isinstance(block, Drawing):
            return block
        key = block.name.lower()  # some file systems do not tell A from a
        seen[key] = seen.get(key, 0) + 1
        if seen[key] == 1:
            return block
        return renamed(dataclasses.replace(block, name=f"{block.name}-{seen[key]}"))

    return [
        dataclasses.replace(each, blocks=[renamed(block) for block in each.blocks])
        for each in found
    ]


def _escaped(text: str) -> Html:
    return join([text])


def _text(name: str) -> str:
    return (resources.files("rearec_jax.studies.report") / name).read_text(encoding="utf-8")
