"""A trained run with its data and the parameters of its best epoch."""

import dataclasses
import os
from typing import Any, cast

import jax
import numpy as np

from rearec_jax import config as config_lib
from rearec_jax.config import Config
from rearec_jax.config.compare import FREE_OPTIONS
from rearec_jax.data.interactions import Interactions
from rearec_jax.data.read import read_data
from rearec_jax.devices import hosts
from rearec_jax.errors import UserError
from rearec_jax.evaluation.evaluator import Evaluator
from rearec_jax.models import backbones
from rearec_jax.models.backbones import Backbone, Variables
from rearec_jax.run import files
from rearec_jax.run.checkpoint import Checkpoints
from rearec_jax.run.workdir import Workdir, load_config
from rearec_jax.training import optimizer
from rearec_jax.training.history import History
from rearec_jax.training.loop import abstract_state
from rearec_jax.training.setup import make_setup
from rearec_jax.training.step import TrainState, initial_state
from rearec_jax.training.task import Task
from rearec_jax.types import Catalogue, Features


@dataclasses.dataclass(frozen=True)
class Restored:
    """A trained run at its best epoch.

    workdir:   Its work directory.
    config:    Its options, with those of `eval` that are to be used now.
    changes:   The `eval` options that differ from the run's, as "option=value"; "unfinished" comes
        first where its training is not at its end.
    data:      The data that it was trained on.
    model:     Its backbone.
    variables: The parameters of its best epoch.
    history:   The progress up to its last epoch.
    validate:  The evaluator of its validation split.
    """

    workdir: Workdir
    config: Config
    changes: list[str]
    data: Interactions
    model: Backbone
    variables: Variables
    history: History
    validate: Evaluator


def restore(path: str, given: Config | None) -> Restored:
    """Reads the best checkpoint of a run, with its data.

    Raises:
        UserError: no such run, no checkpoint, or options other than ``eval`` that differ.
    """
    trained = load_config(path)
    config = given or trained
    changes = _changes(trained, config)
    workdir = Workdir(files.place(path))
    if not workdir.is_trained:
        raise _no_epoch(workdir)
    data = hosts.first_then_others(lambda: read_data(config))
    workdir.check_data(data.digests())
    setup = make_setup(config, data)
    variables, history = _best(workdir, abstract_state(setup))
    if not setup.ends(setup.step_after(history.epochs), history):
        changes = ["unfinished", *changes]
    model = backbones.build(config, data.num_items)
    return Restored(workdir, config, changes, data, model, variables, history, setup.validate)


def _changes(trained: Config, given: Config) -> list[str]:
    """Returns "option=value" for each ``eval`` option that gives other numbers than the run's."""
    lines = config_lib.difference(config_lib.to_dict(trained), config_lib.to_dict(given))
    changed = [line.split(": ")[0] for line in lines]
    refused = [
        line
        for line, name in zip(lines, changed, strict=True)
        if not name.startswith((*FREE_OPTIONS, "eval."))
    ]
    if refused:
        raise UserError(
            "only a new training changes these options; leave them out, or train with them into"
            " another --workdir:\n  " + "\n  ".join(refused)
        )
    names = [name.removeprefix("eval.") for name in changed if not name.startswith(FREE_OPTIONS)]
    return [f"{name}={_plain(getattr(given.eval, name))}" for name in names]


def _plain(value: object) -> str:
    """Formats an option's value so that a file's name may hold it."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def best_parameters(
    path: str | os.PathLike[str],
    config: Config,
    num_items: int,
    text: np.ndarray | Features | None,
) -> Variables:
    """Reads the parameters of the best epoch of a run, without its data.

    Args:
        path: the work directory.
        config: of the run.
        num_items: N.
        text: vectors of the items' text, or their features, where the backbone reads them.

    Raises:
        UserError: there is no finished epoch, or it is of another model.
    """
    # Its state has the same shapes whatever the length of the run and its batches.
    transform = optimizer.build(config.train, total_steps=config.train.warmup_steps + 1)
    shapes = jax.tree.map(lambda part: jax.ShapeDtypeStruct(part.shape, part.dtype), text)
    task = Task(config, num_items, rows=1, queries=1)
    state = jax.eval_shape(
        lambda catalogue: initial_state(task, transform, catalogue),
        Catalogue(text=cast(Any, shapes)),
    )
    return _best(Workdir(files.place(path)), state)[0]


def _best(workdir: Workdir, state: TrainState) -> tuple[Variables, History]:
    """Reads the best epoch's parameters, and the history up to the last epoch.

    Args:
        workdir: of the run.
        state: shapes, types and places of what is read.
    """
    if not workdir.is_trained:
        raise _no_epoch(workdir)
    with Checkpoints(workdir.checkpoints) as checkpoints:
        found = checkpoints.restore_best(state)
        last = checkpoints.last_progress()
    if found is None:
        raise _no_epoch(workdir)
    return found[0].variables, History(**(last or found[1]))


def _no_epoch(workdir: Workdir) -> UserError:
    return UserError(f"{workdir.path} holds no finished epoch yet; train it first")
