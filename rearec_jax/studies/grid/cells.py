"""The cells of a grid: the experiments, their commands, and what exists of them on disk."""

from collections.abc import Sequence
import dataclasses
import functools
import pathlib
import sys
from typing import Any

from rearec_jax import config as config_lib
from rearec_jax.config import command_line
from rearec_jax.config.compare import clashes
from rearec_jax.errors import UserError
from rearec_jax.run.workdir import Workdir, load_config
from rearec_jax.studies.grid.options import Options
from rearec_jax.studies.grid.variants import Variant, directory_name, variants

PROGRAM = (sys.executable, "-m", "rearec_jax.main")


@dataclasses.dataclass(frozen=True)
class Cell:
    """One experiment."""

    dataset: str  # the data set, the stem of its config file
    backbone: str
    method: str
    seed: int
    root: pathlib.Path  # the directory that holds it: the grid's root, or a variant's below it
    arguments: tuple[str, ...]  # the arguments of the command line, --config=FILE and all overrides
    variant: str = ""  # the name of the variant's directory; "" without --vary

    @property
    def name(self) -> str:
        """The path of the cell below its root, such as beauty/sasrec-erl-seed0."""
        return f"{self.dataset}/{self.backbone}-{self.method}-seed{self.seed}"

    @property
    def workdir(self) -> Workdir:
        """The work directory."""
        return Workdir(self.root / self.name)

    @property
    def lock(self) -> pathlib.Path:
        """The path of the lock file.

        It lies beside the work directory, as a run that fails at its start removes that.
        """
        path = self.workdir.path
        return path.with_name(f".{path.name}.lock")

    @property
    def command(self) -> tuple[str, ...]:
        """The command that starts the cell, and continues it."""
        return (*PROGRAM, f"--workdir={self.workdir.path}", *self.arguments)

    @functools.cached_property
    def options(self) -> dict[str, Any]:
        """All options as config.json will hold them. Raises UserError if one is wrong."""
        return config_lib.to_dict(config_lib.resolve(command_line.load(self.arguments)))

    @property
    def is_done(self) -> bool:
        """Says whether the cell has a summary, which is written last."""
        return self.workdir.summary.exists()


def make_cells(options: Options) -> list[Cell]:
    """Makes all cells, in the order in which they run.

    Seeds vary slowest, then data sets, backbones, methods: cells that are compared run one after
    another, and a whole table with one seed is done before any cell gets a second one.
    """
    return [
        _cell(options, dataset, backbone, method, seed, variant)
        for seed in options.seeds
        for dataset in options.configs
        for backbone in options.backbones
        for method in options.methods
        for variant in variants(method, options.vary)
    ]


def check(cells: Sequence[Cell]) -> None:
    """Reads every cell's options before the first one runs.

    Raises:
        UserError: an option or a config file is wrong, or work directories hold runs with other
            options, finished or not (the message lists what differs in the first of them).
    """
    different = []
    for cell in cells:
        wanted = cell.options
        if cell.workdir.config.exists() or cell.is_done:
            found = config_lib.to_dict(load_config(cell.workdir.path))
            if lines := clashes(found, wanted):
                different.append((cell.workdir.path, lines))
    refuse(different)


def refuse(different: Sequence[tuple[pathlib.Path, list[str]]], why: str = "") -> None:
    """Raises UserError where work directories have other options: the lines tell which.

    ``why`` is the middle of a sentence, which says why that matters.
    """
    if different:
        path, lines = different[0]
        others = f" (and {len(different) - 1} more cells do)" if different[1:] else ""
        raise UserError(
            f"{path} holds a run with other options{others}{why}; choose another --root, or set"
            " them back:\n  " + "\n  ".join(lines)
        )


def _cell(
    options: Options, dataset: str, backbone: str, method: str, seed: int, variant: Variant
) -> Cell:
    arguments = [
        f"--config={options.configs[dataset]}",
        f"--config.model.backbone={backbone}",
        f"--config.method.name={method}",
        f"--config.seed={seed}",
    ]
    if dataset in options.data:
        arguments.append(f"--config.data.path={options.data[dataset]}")
    if dataset in options.text:
        arguments.append(f"--config.data.item_text={options.text[dataset]}")
    arguments += options.overrides
    arguments += [f"--config.{name}={value}" for name, value in variant]
    name = directory_name(variant, options.root) if options.vary else ""
    return Cell(dataset, backbone, method, seed, options.root / name, tuple(arguments), name)
