"""Shows the row counts of a recipe, stage by stage, beside those that its authors print."""

from collections.abc import Mapping
import dataclasses

from rich.console import Console


@dataclasses.dataclass(frozen=True)
class Stage:
    """The counts after one step of a recipe.

    name:    the name of the step.
    numbers: our counts, by the name of what is counted.
    authors: the authors' counts, where they are known.
    """

    name: str
    numbers: Mapping[str, int]
    authors: Mapping[str, int]

    @property
    def compared(self) -> list[bool]:
        """Says for each of the authors' counts whether ours equals it."""
        return [self.numbers.get(unit) == count for unit, count in self.authors.items()]

    def __str__(self) -> str:
        parts = ", ".join(map(self._part, self.numbers))
        return f"{self.name}: {parts}"

    def _part(self, unit: str) -> str:
        ours, theirs = self.numbers[unit], self.authors.get(unit)
        if theirs is None:
            return f"{ours:,} {unit}"
        return f"{ours:,} {unit} (authors: {theirs:,}, {'agrees' if ours == theirs else 'DIFFERS'})"


class Counts:
    """The stages of a recipe, each printed as it is reached."""

    def __init__(self, name: str, authors: Mapping[str, Mapping[str, int]] | None = None):
        """``authors``: the authors' counts, by stage and the name of what is counted."""
        self.name = name
        self.stages: list[Stage] = []
        self._authors = authors or {}
        self._console = Console()

    def add(self, stage: str, **numbers: int) -> None:
        """Adds a stage; ``numbers``: its counts by the name of what is counted."""
        self.stages.append(Stage(stage, numbers, self._authors.get(stage, {})))
        self.say(str(self.stages[-1]))

    def say(self, text: str) -> None:
        """Prints a line about the preparation."""
        line = f"{self.name}: {text}"
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def verdict(self) -> str:
        """Returns a sentence on whether our counts agree with the authors'."""
        compared = [same for stage in self.stages for same in stage.compared]
        if not compared:
            return "no counts of the authors are known to compare with"
        if all(compared):
            return f"all {len(compared)} counts known from the authors agree"
        return (
            f"{compared.count(False)} of {len(compared)} counts known from the authors differ: the"
            " raw files are probably not the release that they used"
        )

    def to_dict(self) -> dict[str, object]:
        """Returns the stages and the verdict as a value for JSON."""
        return {
            "stages": [dataclasses.asdict(stage) for stage in self.stages],
            "verdict": self.verdict(),
        }
