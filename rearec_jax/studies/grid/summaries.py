"""Reads what a grid's root holds: its cells' summaries, and the commands that filled it."""

from collections.abc import Iterator, Mapping, Sequence
import dataclasses
import itertools
import json
import pathlib
import re
import shlex
from typing import Any

from rearec_jax import config as config_lib
from rearec_jax.errors import UserError
from rearec_jax.run.workdir import Workdir, explained, load_config
from rearec_jax.studies.grid import variants

_CELL = re.compile(r"([a-z0-9_]+)-([a-z0-9_]+)-seed(\d+)")


@dataclasses.dataclass(frozen=True)
class Result:
    """A finished cell."""

    dataset: str
    backbone: str
    method: str
    seed: int
    summary: Mapping[str, Any]  # the contents of summary.json
    options: Mapping[str, Any]  # the contents of config.json; empty where that cannot be read
    data: str = ""  # the digest of interactions and text vectors; "" where it is unknown

    @property
    def name(self) -> str:
        """The path of the cell below the root or the variant's directory."""
        return f"{self.dataset}/{self.backbone}-{self.method}-seed{self.seed}"


def read(root: pathlib.Path) -> tuple[list[Result], list[str]]:
    """Reads all finished cells directly below a root.

    Returns:
        The cells, and a sentence for each summary that cannot be read.
    """
    results, notes = [], []
    for path in sorted(root.glob("*/*/summary.json")):
        name = _CELL.fullmatch(path.parent.name)
        if name is None:
            continue
        try:
            summary = _read_summary(path)
        except (OSError, ValueError) as error:
            notes.append(f"{path} cannot be read ({error}); delete it and run the grid again")
            continue
        if not isinstance(summary.get("test"), dict):
            notes.append(f"{path} has no results of a test, so it is in no table")
            continue
        dataset = path.parent.parent.name
        found = _read_options(path.parent), _read_digest(path.parent)
        results.append(Result(dataset, name[1], name[2], int(name[3]), summary, *found))
    return results, notes


def by_variant(root: pathlib.Path) -> Iterator[tuple[str, list[Result], list[str]]]:
    """Yields the name of each variant's directory with `read` of it; first the root's, named ""."""
    names = [path.name for path in root.iterdir()] if root.is_dir() else []
    for name in ["", *sorted(filter(variants.is_directory_name, names))]:
        yield name, *read(root / name)


def note_command(root: pathlib.Path, arguments: Sequence[str]) -> None:
    """Adds the grid's command to ROOT/commands.txt, once. Raises UserError if it cannot."""
    kept = [  # all but --markdown, which changes nothing in the results: it makes no other command
        argument
        for previous, argument in itertools.pairwise(["", *arguments])
        if "--markdown" not in (previous, argument.partition("=")[0])
    ]
    line = shlex.join(["python", "-m", "rearec_jax.studies.grid", *kept])
    if line in read_commands(root):
        return
    path = root / "commands.txt"
    with explained(path, "--root"):
        root.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def read_commands(root: pathlib.Path) -> list[str]:
    """Returns the commands that filled a root, oldest first."""
    path = root / "commands.txt"
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _read_summary(path: pathlib.Path) -> dict[str, Any]:
    summary = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(summary, dict):
        raise ValueError("it holds no results")
    return summary


def _read_options(path: pathlib.Path) -> dict[str, Any]:
    """Returns the options of a run; those that are newer than the run are at their defaults."""
    if not Workdir(path).config.exists():
        return {}
    try:
        return config_lib.to_dict(load_config(path))
    except UserError:
        return {}  # they serve a remark only; starting the cell again names the mistake


def _read_digest(path: pathlib.Path) -> str:
    try:
        return str(json.loads(Workdir(path).data.read_text(encoding="utf-8"))["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""  # as above
