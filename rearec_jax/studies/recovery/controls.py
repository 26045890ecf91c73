"""The plain models that get, one thing at a time, what a method got besides its reasoning steps."""

from collections.abc import Callable, Sequence
import dataclasses
import math
from typing import NamedTuple

from rearec_jax.config import Config
from rearec_jax.studies.equal import costs
from rearec_jax.studies.grid.cells import Cell
from rearec_jax.studies.grid.variants import Variant, directory_name


class Pair(NamedTuple):
    """A method and the baseline, of the same data set and backbone.

    method:   The options of the method.
    baseline: The options of the baseline.
    epochs:   The epochs of the baseline whose updates take as long as the method's training.
    items:    The items of the catalogue.
    """

    method: Config
    baseline: Config
    epochs: int
    items: int


class Control(NamedTuple):
    """A baseline with something of the method's.

    sentence: What it has of the method's, for the table.
    options:  The options that give it that; none where the method has no more of it.
    """

    sentence: str
    options: Variant


def same_time(pair: Pair) -> Control:
    """Returns the baseline that trains as many seconds as the method did."""
    options = [("train.epochs", str(pair.epochs)), ("train.patience", "0")]
    if pair.baseline.train.max_steps:
        options.append(("train.max_steps", "0"))
    return Control("the same training time", tuple(options))


def same_losses(pair: Pair) -> Control:
    """Returns the baseline that averages its loss over K + 1 dropout masks of the encoder."""
    count = pair.method.method.steps + 1
    options = (("train.dropout_samples", str(count)),)
    return Control(f"{count} losses, of as many dropout masks", options)


def same_parameters(pair: Pair) -> Control:
    """Returns the baseline whose feed-forward layers are wider, until it has as many parameters."""

    def count(config: Config, wider: int = 0) -> int:
        model = dataclasses.replace(config.model, hidden=config.model.hidden + wider)
        return costs.parameters(dataclasses.replace(config, model=model), pair.items)

    plain = count(pair.baseline)
    lacking, per_unit = count(pair.method) - plain, count(pair.baseline, 1) - plain
    if lacking <= 0 or per_unit <= 0:
        return Control("as many parameters", ())
    hidden = pair.baseline.model.hidden + math.ceil(lacking / per_unit)
    return Control("as many parameters", (("model.hidden", str(hidden)),))


# A method that learns from a teacher or a context of its own adds a control here: a function that
# returns the options by which the baseline reads the same.
CONTROLS: tuple[Callable[[Pair], Control], ...] = (same_time, same_losses, same_parameters)


def cells_of(baselines: Sequence[Cell], control: Control) -> list[Cell]:
    """Returns the cells of a control, from those of the baseline."""
    given = tuple(f"--config.{name}={value}" for name, value in control.options)
    made = []
    for cell in baselines:
        name = directory_name(control.options, cell.root)
        made.append(
            dataclasses.replace(
                cell, root=cell.root / name, arguments=cell.arguments + given, variant=name
            )
        )
    return made
