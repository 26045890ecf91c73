"""Chooses the epochs of runs so that each training costs the same as the baseline's."""

from collections.abc import Sequence
import dataclasses
import json
import pathlib
import statistics
from typing import Any

from rearec_jax import config as config_lib
from rearec_jax.config import Config
from rearec_jax.errors import UserError
from rearec_jax.run.workdir import Workdir
from rearec_jax.studies.analysis.comparable_runs import Group, Run
from rearec_jax.studies.equal.costs import Cost, costs


@dataclasses.dataclass(frozen=True)
class Share:
    """The part of a group of runs in an equal comparison."""

    label: str
    given: float  # the epochs that the runs were trained, the mean over seeds
    epochs: int  # the epochs whose updates cost the same as the baseline's training
    cost: Cost


@dataclasses.dataclass(frozen=True)
class EqualPlan:
    """The epochs of each group of runs; the first is the baseline, which keeps its own."""

    unit: str  # of the costs: seconds or flops
    shares: tuple[Share, ...]

    @property
    def budget(self) -> float:
        """The cost of the baseline's training."""
        return self.shares[0].given * self.shares[0].cost.epoch


def equal_epochs(budget: float, epoch: float) -> int:
    """Returns how many epochs of this cost come nearest to a budget; at least one."""
    return max(1, round(budget / epoch))


def with_epochs(config: Config, epochs: int) -> Config:
    """Returns the options of a training of exactly so many epochs.

    A cosine schedule ends with the last of them, and nothing stops it early: the best epoch is
    still chosen by validation.
    """
    train = dataclasses.replace(config.train, epochs=epochs, max_steps=0, patience=0)
    return dataclasses.replace(config, train=train)


def make_plan(groups: Sequence[Group], unit: str, path: pathlib.Path) -> EqualPlan:
    """Chooses the epochs of each group; costs of the same options in ``path`` are used again.

    Measured seconds differ from time to time: an interrupted comparison goes on with the first.

    Raises:
        UserError: there is one group alone, or data cannot be read.
    """
    if len(groups) < 2:
        raise UserError("--equal compares methods; name a run of a second one in --runs")
    about: dict[str, Any] = {"unit": unit, "options": [_options(group) for group in groups]}
    found = _read(path)
    if {name: found.get(name) for name in about} != about:
        measured = costs([group.runs[0].config for group in groups], unit)
        found = about | {"costs": [list(cost) for cost in measured]}
        Workdir(path.parent).write_summary(found, path)
    made = [Cost(*values) for values in found["costs"]]
    given = [statistics.fmean(map(_epochs, group.runs)) for group in groups]
    budget = given[0] * made[0].epoch
    shares = [
        Share(group.label, own, equal_epochs(budget, cost.epoch), cost)
        for group, own, cost in zip(groups, given, made, strict=True)
    ]
    return EqualPlan(unit, tuple(shares))


def _options(group: Group) -> dict[str, Any]:
    return config_lib.to_dict(group.runs[0].config)


def _epochs(run: Run) -> float:
    """Returns the epochs that a run was trained."""
    summary = json.loads(Workdir(run.path).summary.read_text(encoding="utf-8"))
    try:
        return float(summary["train"]["epochs"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{run.path}: its summary.json does not say how many epochs it was trained; write it"
            f" anew with --mode=evaluate --workdir={run.path}"
        ) from error


def _read(path: pathlib.Path) -> dict[str, Any]:
    """Returns what a file of costs holds; nothing where there is none, or it is damaged."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}
