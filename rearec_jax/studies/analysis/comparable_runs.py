"""Reads runs that are to be compared, refuses unequal ones, and groups those of several seeds."""

from collections.abc import Sequence
import dataclasses
import json
import pathlib

import numpy as np

from rearec_jax import config as config_lib
from rearec_jax.config import Config
from rearec_jax.config.compare import FREE_OPTIONS, clashes, flattened
from rearec_jax.errors import UserError
from rearec_jax.evaluation import rank_file
from rearec_jax.evaluation.rank_file import UserRanks
from rearec_jax.run.workdir import Workdir, load_config

PROTOCOL = (  # options that decide what is ranked among what
    "data.ties",
    "eval.exclude_seen",
    "eval.max_users",
)


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run."""

    path: pathlib.Path  # the work directory
    config: Config  # the options of the run
    ranks: UserRanks  # the ranks of the test targets
    num_items: int  # the number of items in the catalogue


@dataclasses.dataclass(frozen=True)
class Group:
    """Runs that differ only in the seed."""

    label: str
    runs: tuple[Run, ...]


def read(names: Sequence[str]) -> list[Run]:
    """Reads the runs of work directories, in the order given.

    Raises:
        UserError: no directory is named, one is named twice, one holds no finished run, or the
            runs cannot be compared (`check`).
    """
    if not names:
        raise UserError(
            "--mode=compare needs --runs=DIR,DIR,..., work directories of finished runs"
        )
    runs = [_read_one(path) for path in distinct(names)]
    check(runs)
    return runs


def distinct(names: Sequence[str]) -> list[pathlib.Path]:
    """Returns the directories of --runs. Raises UserError where one is named twice."""
    paths = [pathlib.Path(name) for name in names]
    for number, path in enumerate(paths):
        if any(path.resolve() == other.resolve() for other in paths[:number]):
            raise UserError(f"--runs names {path} twice; name it once")
    return paths


def config_of(path: pathlib.Path) -> Config:
    """Returns the options of a run of --runs. Raises UserError where there is no such run."""
    try:
        return load_config(path)
    except UserError as error:
        raise UserError(str(error).replace("--workdir=", "--runs: ", 1)) from error


def _read_one(path: pathlib.Path) -> Run:
    config, summary = config_of(path), Workdir(path).summary
    if not summary.exists():
        raise UserError(f"{path} holds no finished run; run it to its end first")
    try:
        num_items = int(json.loads(summary.read_text(encoding="utf-8"))["data"]["items"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{summary} cannot be read ({error}); write it anew with --mode=evaluate"
            f" --workdir={path}"
        ) from error
    return Run(path, config, rank_file.read(path / "ranks.parquet"), num_items)


def check(runs: Sequence[Run]) -> None:
    """Checks that all runs rank the same targets of the same users among the same items.

    Raises:
        UserError: they do not, or two runs have the same options and the same seed.
    """
    first = runs[0]
    for number, run in enumerate(runs):
        if what := _what_differs(first, run):
            raise UserError(f"{first.path} and {run.path} cannot be compared: {what}")
        for earlier in runs[:number]:
            if not _differences(earlier.config, run.config):
                raise UserError(
                    f"{earlier.path} and {run.path} have the same options and the same seed; name"
                    " one of them"
                )


def _what_differs(one: Run, other: Run) -> str:
    """Returns why two runs cannot be compared, the end of a sentence; "" where they can."""
    options = dict(line.split(": ", 1) for line in _differences(one.config, other.config))
    protocol = [f"{name}: {options[name]}" for name in PROTOCOL if name in options]
    if protocol:
        return f"they are evaluated otherwise ({', '.join(protocol)})"
    data = [f"{name}: {change}" for name, change in options.items() if name.startswith("data.")]
    because = f" (their options differ in {', '.join(data)})" if data else ""
    if one.num_items != other.num_items:
        return f"one ranks {one.num_items:,} items, the other {other.num_items:,}{because}"
    a, b = one.ranks, other.ranks
    if len(a.users) != len(b.users):
        return f"one has {len(a.users):,} test examples, the other {len(b.users):,}{because}"
    if not a.users.equals(b.users):
        return f"their test users differ{because}"
    if not a.targets.equals(b.targets):
        return f"their users' targets differ{because}"
    same = np.array_equal(a.history_length, b.history_length)
    if not same or not np.array_equal(a.popularity, b.popularity):
        return f"the same targets have other histories or training data{because}"
    return ""


def _differences(one: Config, other: Config) -> list[str]:
    """Returns the differences in options that change the model or its ranks.

    `eval.by_step` is not among them, as it only adds the ranks at each step.
    """
    lines = clashes(config_lib.to_dict(one), config_lib.to_dict(other))
    return [line for line in lines if not line.startswith("eval.by_step:")]


def group(runs: Sequence[Run]) -> list[Group]:
    """Groups runs that differ only in the seed, in the order of the groups' first runs."""
    members: list[list[Run]] = []
    for run in runs:
        for known in members:
            names = {line.split(":")[0] for line in _differences(known[0].config, run.config)}
            if names <= {"seed"}:
                known.append(run)
                break
        else:
            members.append([run])
    names = labels([known[0].config for known in members])
    return [Group(name, tuple(known)) for name, known in zip(names, members, strict=True)]


def labels(configs: Sequence[Config]) -> list[str]:
    """Returns a label for each configuration.

    It names the method, the backbone where there are several backbones, and the options in which
    configurations of an otherwise equal label differ.
    """
    with_backbone = len({config.model.backbone for config in configs}) > 1
    plain = [
        f"{config.method.name} on {config.model.backbone}" if with_backbone else config.method.name
        for config in configs
    ]
    flat = [flattened(config_lib.to_dict(config)) for config in configs]
    found = []
    for number, label in enumerate(plain):
        equals = [other for n, other in enumerate(flat) if plain[n] == label and n != number]
        own = flat[number]
        names = [key for key in own if any(other[key] != own[key] for other in equals)]
        names = [key for key in names if key != "seed" and not key.startswith(FREE_OPTIONS)]
        shown = ", ".join(f"{key}={own[key]}" for key in names)
        found.append(f"{label} ({shown})" if shown else label)
    return found
