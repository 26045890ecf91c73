"""Row counts of a recipe, stage by stage, beside those that its authors print."""

from collections.abc import Mapping
import dataclasses

from rich.console import Console


@dataclasses.dataclass(frozen=True)
class Stage:
    """What is left after one step of a recipe. ``authors``: their numbers, where they are known."""

    name: str
    numbers: Mapping[str, int]
    authors: Mapping[str, int]

    @property
    def compared(self) -> list[bool]:
        """For each number of the authors whether ours equals it."""
        return [self.numbers.get(what) == count for what, count in self.authors.items()]

    def __str__(self) -> str:
        parts = ", ".join(self._part(what) for what in self.numbers)
        return f"{self.name}: {parts}"

    def _part(self, what: str) -> str:
        ours, theirs = self.numbers[what], self.authors.get(what)
        if theirs is None:
            return f"{ours:,} {what}"
        return f"{ours:,} {what} (authors: {theirs:,}, {'agrees' if ours == theirs else 'DIFFERS'})"


class Counts:
    """Says each stage as it is reached; keeps all of them."""

    def __init__(self, name: str, authors: Mapping[str, Mapping[str, int]] | None = None):
        """``authors``: stage -> what is counted -> their number."""
        self.name = name
        self.stages: list[Stage] = []
        self._authors = authors or {}
        self._console = Console()

    def add(self, stage: str, **numbers: int) -> None:
        """One more stage is reached; ``numbers``: what is counted -> how many."""
        self.stages.append(Stage(stage, numbers, self._authors.get(stage, {})))
        self.say(str(self.stages[-1]))

    def say(self, text: str) -> None:
        """Prints a line that belongs to the preparation."""
        line = f"{self.name}: {text}"
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def verdict(self) -> str:
        """Whether all numbers agree that the authors tell."""
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
        """For a JSON file."""
        return {
            "stages": [dataclasses.asdict(stage) for stage in self.stages],
            "verdict": self.verdict(),
        }
