"""Runs to be compared: reads them, refuses unequal ones, groups those of several seeds."""

from collections.abc import Mapping, Sequence
import dataclasses
import json
import pathlib
from typing import Any

import numpy as np

from rearec_jax import config as config_lib
from rearec_jax.config import Config
from rearec_jax.config.compare import FREE_OPTIONS, clashes
from rearec_jax.errors import UserError
from rearec_jax.evaluation import rank_file
from rearec_jax.evaluation.rank_file import UserRanks
from rearec_jax.run.workdir import Workdir, load_config

PROTOCOL = ("eval.exclude_seen", "eval.max_users")


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run."""

    path: pathlib.Path
    config: Config
    ranks: UserRanks
    num_items: int


@dataclasses.dataclass(frozen=True)
class Group:
    """Runs that differ only in the seed."""

    label: str
    runs: tuple[Run, ...]


def read(names: Sequence[str]) -> list[Run]:
    """The runs of work directories, in the order given.

    Raises:
        UserError: none, one named twice, one that is no finished run, or runs that cannot be
            compared (``check``).
    """
    paths = [pathlib.Path(name) for name in names]
    if not paths:
        raise UserError(
            "--mode=compare needs --runs=DIR,DIR,..., work directories of finished runs"
        )
    resolved = [path.resolve() for path in paths]
    for number, path in enumerate(paths):
        if resolved[number] in resolved[:number]:
            raise UserError(f"--runs names {path} twice; name each run once")
    runs = [_read_one(path) for path in paths]
    check(runs)
    return runs


def _read_one(path: pathlib.Path) -> Run:
    try:
        config = load_config(path)
    except UserError as error:
        raise UserError(str(error).replace("--workdir=", "--runs: ", 1)) from error
    workdir = Workdir(path)
    if not workdir.summary.exists():
        raise UserError(f"{path} holds no finished run; run it to its end first")
    try:
        num_items = int(json.loads(workdir.summary.read_text(encoding="utf-8"))["data"]["items"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{workdir.summary} cannot be read ({error}); write it anew with --mode=evaluate"
            f" --workdir={path}"
        ) from error
    return Run(path, config, rank_file.read(path / "ranks.parquet"), num_items)


def check(runs: Sequence[Run]) -> None:
    """Raises UserError unless all rank the same targets of the same users among the same items."""
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
    """Why they cannot be compared: the end of a sentence; empty where they can."""
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
    """Options that make another model or other ranks; ranks at each step come besides."""
    lines = clashes(config_lib.to_dict(one), config_lib.to_dict(other))
    return [line for line in lines if not line.startswith("eval.by_step:")]


def group(runs: Sequence[Run]) -> list[Group]:
    """Runs that differ only in the seed together, in the order of their first."""
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
    """The method, the backbone where there are several, and the options that tell equals apart."""
    with_backbone = len({config.model.backbone for config in configs}) > 1
    plain = [
        f"{config.method.name} on {config.model.backbone}" if with_backbone else config.method.name
        for config in configs
    ]
    flat = [flattened(config_lib.to_dict(config)) for config in configs]
    told = []
    for number, label in enumerate(plain):
        equals = [other for n, other in enumerate(flat) if plain[n] == label and n != number]
        own = flat[number]
        names = [key for key in own if any(other[key] != own[key] for other in equals)]
        names = [key for key in names if key != "seed" and not key.startswith(FREE_OPTIONS)]
        shown = ", ".join(f"{key}={own[key]}" for key in names)
        told.append(f"{label} ({shown})" if shown else label)
    return told


def flattened(tree: Mapping[str, Any]) -> dict[str, Any]:
    """{"method.steps": 2, ..., "seed": 0} of ``to_dict``."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= {f"{key}.{name}": inner for name, inner in value.items()}
        else:
            flat[key] = value
    return flat
