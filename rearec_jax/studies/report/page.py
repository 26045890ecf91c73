"""The page of a report: its sections, from the files read to the text of the HTML file."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import dataclasses
import itertools
from typing import Any, NamedTuple

from rearec_jax.studies.report import answer, drawing, overview, results, steps, stories, style
from rearec_jax.studies.report.blocks import Block, Heading
from rearec_jax.studies.report.drawing import Drawing
from rearec_jax.studies.report.sources import DataSet, Sources
from rearec_jax.studies.report.study_section import study


class About(NamedTuple):
    """The page's texts about itself."""

    title: str
    about: str  # the line below the title
    command: str  # the command that makes the page again; "" where it is not shown


@dataclasses.dataclass(frozen=True)
class Section:
    """A section of the page."""

    name: str  # the name in the address bar
    title: str  # the heading
    blocks: Sequence[Block]  # all that stands below the heading

    @property
    def rows(self) -> list[tuple[bool, list[Block]]]:
        """The blocks in groups of neighbours that are all drawings (True) or all not (False)."""
        groups = itertools.groupby(self.blocks, key=lambda block: isinstance(block, Drawing))
        return [(are_drawings, list(group)) for are_drawings, group in groups]


SECTIONS: tuple[tuple[str, str, Callable[[DataSet], Iterable[Block]]], ...] = (
    ("answer", "In short", answer.answer),
    ("accuracy", "Accuracy", results.accuracy),
    ("significance", "Is the difference real?", results.significance),
    ("steps", "Accuracy by reasoning step", steps.by_step),
    ("groups", "Who gains?", results.groups),
    ("trajectories", "How ranks move", steps.trajectories),
    ("states", "What the states do", steps.states),
    ("lists", "What is recommended", steps.lists),
    ("stories", "Single users", stories.stories),
    ("training", "Training", overview.training),
)
LAST: tuple[tuple[str, str, Callable[[DataSet], Iterable[Block]]], ...] = (  # after the studies
    ("data", "Data", overview.data),
    ("runs", "Runs", overview.runs),
    ("options", "Options", overview.options),
)


def sections(sources: Sources) -> list[Section]:
    """Returns the sections that the files allow, in order of reading."""
    found = _of_runs(SECTIONS, sources)
    for number, source in enumerate(sources.studies, start=1):
        title = f"Study {source.path.name}"
        found.append(Section(f"study-{number}", title, list(study(source))))
    return _distinct(found + _of_runs(LAST, sources))


def _of_runs(kinds: Iterable[Any], sources: Sources) -> list[Section]:
    """Returns the sections of these kinds that the runs of any data set have."""
    found = []
    for name, title, write in kinds:
        blocks: list[Block] = []
        for data in sources.data_sets:
            written = list(write(data))
            if written and len(sources.data_sets) > 1:
                blocks.append(Heading(data.name))
            blocks += written
        if blocks:
            found.append(Section(name, title, blocks))
    return found


def drawings(found: Sequence[Section]) -> Iterator[Drawing]:
    """Yields all figures, in order of reading."""
    for section in found:
        yield from (block for block in section.blocks if isinstance(block, Drawing))


def page(about: About, found: Sequence[Section], files: Mapping[str, bytes]) -> str:
    """Returns the whole HTML file. ``files`` holds the SVG file of each drawing, by its name."""
    figures = {
        each.name: (number, drawing.inline(each, files[each.name]))
        for number, each in enumerate(drawings(found), start=1)
    }
    template = templates().get_template("page.html")
    return template.render(**about._asdict(), sections=found, figures=figures)


def templates() -> Any:
    """Returns jinja2's environment of this package's templates, in which all text is escaped.

    Raises:
        UserError: jinja2 is not installed; the message says how to install it.
    """
    jinja2 = style.require("jinja2", "writes its page")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("rearec_jax.studies.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["class_name"] = lambda block: type(block).__name__
    return environment


def _distinct(found: Sequence[Section]) -> list[Section]:
    """Returns the sections with distinct names of figures.

    Two labels may differ only in characters that a file name cannot hold.
    """
    seen: dict[str, int] = {}

    def renamed(block: Block) -> Block:
        if not isinstance(block, Drawing):
            return block
        key = block.name.lower()  # for some file systems A is a
        seen[key] = seen.get(key, 0) + 1
        if seen[key] == 1:
            return block
        return renamed(dataclasses.replace(block, name=f"{block.name}-{seen[key]}"))

    return [
        dataclasses.replace(each, blocks=[renamed(block) for block in each.blocks])
        for each in found
    ]
