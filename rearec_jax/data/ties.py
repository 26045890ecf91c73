"""Interactions of a user at the same time, whose order in the file may be chance (`data.ties`).

Data with days for times order the purchases of a day as the file happens to have them. A held-out
target among them might as well have been one of the others.
"""

import dataclasses

from jaxtyping import Bool, Int64, UInt8
import numpy as np

from rearec_jax.config import DataConfig
from rearec_jax.data.interactions import (
    CONTEXT,
    TEST,
    TRAIN,
    VALIDATION,
    Interactions,
    parts,
)
from rearec_jax.errors import UserError


def tied(data: Interactions) -> Bool[np.ndarray, "total"]:
    """Says of each interaction whether another one of its user has the same time.

    Where the data have no times, none has.
    """
    if data.timestamps is None:
        return np.zeros(len(data.items), bool)
    with_previous = _with_previous(data)
    return with_previous[:-1] | with_previous[1:]


def groups(data: Interactions) -> Int64[np.ndarray, "total"]:
    """Returns the index of the first interaction of the same user and time, for each."""
    first = ~_with_previous(data)[:-1]
    return np.flatnonzero(first)[np.cumsum(first) - 1]


def decided(data: Interactions, config: DataConfig) -> Interactions:
    """Decides what tied interactions may be, as ``data.ties`` says, and counts their users.

    file:     Every target stays, in the order of the file.
    untied:   Tied targets of validation and test are targets no longer.
    expected: Interactions that another order would hold out are no training targets. (How the
        targets are ranked in all orders: `evaluation.orders`.)

    Raises:
        UserError: the data have no times, or no target is left.
    """
    if data.timestamps is None:
        if config.ties == "file":
            return data
        raise UserError(
            f"data.ties={config.ties} needs times, which data.source={config.source} does not give"
            f" here; {_remedy(config)}, or leave data.ties=file, the order of the file"
        )
    tied_users, split = 0, data.split if config.ties == "file" else np.empty_like(data.split)
    lengths = None if config.ties == "file" else data.limits().copy()
    for users, rows in parts(data.offsets):
        part = data.part(users)
        is_tied = tied(part)
        test = np.flatnonzero(is_tied & (part.split == TEST))
        tied_users += len(np.unique(np.searchsorted(part.offsets, test, "right")))
        if config.ties == "untied":
            split[rows] = np.where(is_tied & _held_out(part), CONTEXT, part.split)
        elif lengths is not None:
            leaks = _leaks(part)
            split[rows] = np.where(leaks, CONTEXT, part.split)
            lengths[users] -= np.diff(np.append(0, np.cumsum(leaks))[part.offsets])
    data = dataclasses.replace(data, tied_users=tied_users)
    if lengths is None:
        return data
    _require_targets(data, split, config)
    if config.ties == "untied":
        return dataclasses.replace(data, split=split)
    return dataclasses.replace(data, split=split, training_lengths=lengths)


def _held_out(data: Interactions) -> Bool[np.ndarray, "total"]:
    return (data.split == VALIDATION) | (data.split == TEST)


def _with_previous(data: Interactions) -> Bool[np.ndarray, "total_plus_1"]:
    """Says of each interaction whether it has the time of the one before it, of the same user."""
    shares = np.zeros(len(data.items) + 1, bool)
    if data.timestamps is not None:
        shares[1:-1] = data.timestamps[1:] == data.timestamps[:-1]
    shares[data.offsets] = False
    return shares


def _leaks(data: Interactions) -> Bool[np.ndarray, "total"]:
    """Says of each training position whether it is tied with a held-out one."""
    group = groups(data)
    among_held_out = np.zeros(len(data.items), bool)
    among_held_out[group[_held_out(data)]] = True
    return among_held_out[group] & data.in_training


def _require_targets(
    data: Interactions, split: UInt8[np.ndarray, "total"], config: DataConfig
) -> None:
    """Raises UserError where an option has taken all targets of a split."""
    if config.ties == "expected" and not (split == TRAIN).any():
        raise UserError(
            "data.ties=expected leaves no training target: each has the time of a target of"
            " validation or test; set data.ties=file or give finer times"
        )
    for code, name in ((VALIDATION, "validation"), (TEST, "test")):
        if (data.split == code).any() and not (split == code).any():
            raise UserError(
                f"data.ties=untied leaves no target for {name}: each has the time of another"
                " interaction of its user; set data.ties=expected or file, or give finer times"
            )


def _remedy(config: DataConfig) -> str:
    if config.source == "sequences":
        return "name a file of lines 'user time time ...' in data.times_path"
    return "name the column of times in data.timestamp_column"
