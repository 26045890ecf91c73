"""Reads the options that a caller of Python gives, by the names of the command line."""

from collections.abc import Mapping
import dataclasses
import difflib
import os
from typing import Any

from ml_collections import config_dict
import numpy as np

from rearec_jax import config as config_lib
from rearec_jax.config import Config, command_line
from rearec_jax.config.compare import flattened
from rearec_jax.errors import UserError
from rearec_jax.run.files import expanded

OWN_DATA = {  # as configs/own_data.py
    "data.name": "own_data",
    "data.core": 5,
    "model.width": 64,
    "method.name": "erl",
    "train.patience": 5,
    "eval.list_length": 10,
}
SHORT = {  # the options that may be given without their group
    "method": "method.name",
    "steps": "method.steps",
    "backbone": "model.backbone",
    "layer": "model.layer",
    "width": "model.width",
    "max_length": "model.max_length",
    "batch_size": "train.batch_size",
    "learning_rate": "train.learning_rate",
    "epochs": "train.epochs",
    "patience": "train.patience",
    "core": "data.core",
    "split": "data.split",
    "user_column": "data.user_column",
    "item_column": "data.item_column",
    "timestamp_column": "data.timestamp_column",
    "rating_column": "data.rating_column",
    "rating_above": "data.rating_above",
    "start_from": "train.start_from",
    "seed": "seed",
}


def read(config: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns all options by their full names ("train.epochs"), not yet checked together.

    Args:
        config: where they start: the path of a configuration file, what its get_config() returns,
            a `Config`, or None for those of configs/own_data.py.
        given: further options by their full names, or by those in ``SHORT``.

    Raises:
        UserError: the file is wrong, or an option is unknown.
    """
    options = flattened(config_lib.default().to_dict())
    start = OWN_DATA if config is None else flattened(_tree(config))
    short = {SHORT.get(name, name): _plain(value) for name, value in given.items()}
    for name, value in {**start, **short}.items():
        if name not in options:
            near = difflib.get_close_matches(name, [*SHORT, *options], n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"short names: {', '.join(SHORT)}"
            raise UserError(f"unknown option {name}; {hint}")
        options[name] = value
    return options


def group(options: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Returns the options of a group by their last names: {"path": ...} for "data"."""
    start = f"{name}."
    return {key.removeprefix(start): v for key, v in options.items() if key.startswith(start)}


def nested(options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns {"train": {"epochs": 5}} for {"train.epochs": 5}."""
    tree: dict[str, Any] = {}
    for name, value in options.items():
        *groups, last = name.split(".")
        place = tree
        for each in groups:
            place = place.setdefault(each, {})
        place[last] = value
    return tree


def _tree(config: Any) -> Mapping[str, Any]:
    if isinstance(config, str | os.PathLike):
        return command_line.load([f"--config={expanded(config)}"]).to_dict()
    if isinstance(config, Config):
        return dataclasses.asdict(config)
    if isinstance(config, config_dict.ConfigDict):
        return config.to_dict()
    if isinstance(config, Mapping):
        return config
    raise UserError(f"config is a {type(config).__name__}; give a path or the options themselves")


def _plain(value: Any) -> Any:
    """Returns a scalar of NumPy as Python's, and a path or a `Model` as text."""
    if isinstance(value, os.PathLike):
        return expanded(value)
    return value.item() if isinstance(value, np.generic) else value
