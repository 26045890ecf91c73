"""The protocol of all that is told of a training: logs, progress, and functions of a user's."""

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import importlib
import importlib.util
import inspect
import os
import pathlib
from typing import Any, NamedTuple

from rearec_jax.errors import UserError
from rearec_jax.run.files import expanded

SELECTION, SELECTION_CUTOFF = "ndcg@20", 20  # the validation metric that chooses the best epoch
LOGGERS = {"wandb": "rearec_jax.run.loggers:WandB", "mlflow": "rearec_jax.run.loggers:MLflow"}


class Start(NamedTuple):
    """The beginning of a training, or the place where it goes on.

    workdir:         The work directory.
    options:         All options of the run by their full names, such as "train.epochs".
    step:            The updates that are done.
    epochs:          The epochs that are finished.
    total_steps:     The updates of the whole run if it does not stop early.
    steps_per_epoch: The updates of an epoch.
    """

    workdir: pathlib.Path
    options: Mapping[str, Any]
    step: int
    epochs: int
    total_steps: int
    steps_per_epoch: int


class Update(NamedTuple):
    """A finished update.

    step:               Its number in the whole run, from 1.
    epoch:              The epoch that it belongs to, from 1.
    parts:              The loss and its parts, by name.
    targets_per_second: The recent speed; 0 until it is known.
    seconds_per_step:   The recent seconds of an update; 0 until they are known.
    is_logged:          Whether it is one of those that logs keep (`train.log_every_steps`).
    """

    step: int
    epoch: int
    parts: Mapping[str, float]
    targets_per_second: float = 0.0
    seconds_per_step: float = 0.0
    is_logged: bool = True

    @property
    def event(self) -> dict[str, Any]:
        """The update as a line of metrics.jsonl."""
        return {
            "step": self.step,
            "epoch": self.epoch,
            "kind": "training",
            "parts": dict(self.parts),
            "targets_per_second": self.targets_per_second,
        }


class Callback:
    """Something that is told of a training; a method that is not overridden does nothing."""

    def on_start(self, start: Start) -> None:
        """Takes note of a training that begins or goes on."""

    def on_update(self, update: Update) -> None:
        """Takes note of an update, of which there may be hundreds a second."""

    def on_epoch(self, event: Mapping[str, Any]) -> None:
        """Takes note of a validated epoch: {"step", "epoch", "valid": {...}, "best": {...}, ...}.

        The epoch's line in metrics.jsonl is the same.
        """

    def on_end(self, summary: Mapping[str, Any]) -> None:
        """Takes note of the results, as summary.json will hold them."""

    def close(self) -> None:
        """Gives back files and the like; nothing follows. It may come without ``on_end``."""


class Callbacks(Callback):
    """Several callbacks, of which each is told in turn."""

    def __init__(self, each: Sequence[Callback]):
        self._each = each

    def on_start(self, start: Start) -> None:
        for one in self._each:
            one.on_start(start)

    def on_update(self, update: Update) -> None:
        for one in self._each:
            one.on_update(update)

    def on_epoch(self, event: Mapping[str, Any]) -> None:
        for one in self._each:
            one.on_epoch(event)

    def on_end(self, summary: Mapping[str, Any]) -> None:
        for one in self._each:
            one.on_end(summary)

    def close(self) -> None:
        with contextlib.ExitStack() as stack:  # all of them, also where one raises
            for one in self._each:
                stack.callback(one.close)


class EachEpoch(Callback):
    """A plain function that is called with the event of each epoch."""

    def __init__(self, function: Callable[[Mapping[str, Any]], object]):
        self._function = function

    def on_epoch(self, event: Mapping[str, Any]) -> None:
        self._function(event)


def callback(given: Any) -> Callback:
    """Returns the callback that is given: itself, as a class of one, as a function, or by name.

    A name is one of `LOGGERS`, FILE.py:NAME or MODULE:NAME, as in the option train.callbacks.

    Raises:
        UserError: it is none of these.
    """
    found = _named(given) if isinstance(given, str) else given
    if inspect.isclass(found) and issubclass(found, Callback):
        return found()
    if isinstance(found, Callback):
        return found
    if callable(found) and not inspect.isclass(found):
        return EachEpoch(found)
    raise UserError(
        f"{given!r} is no callback: give a function of an epoch's event, or a"
        " rearec_jax.run.callbacks.Callback"
    )


def _named(name: str) -> Any:
    place, _, attribute = LOGGERS.get(name, name).rpartition(":")
    if not place:
        raise UserError(
            f"train.callbacks: {name!r} must be {', '.join(LOGGERS)}, FILE.py:NAME or MODULE:NAME"
        )
    try:
        module = _of_file(place) if place.endswith(".py") else importlib.import_module(place)
        return getattr(module, attribute)
    except (ImportError, OSError, AttributeError) as error:
        raise UserError(f"train.callbacks: {name!r} cannot be read: {error}") from error


def _of_file(path: str) -> Any:
    """Runs a file as a module that only its caller knows."""
    path = os.path.abspath(expanded(path))
    spec = importlib.util.spec_from_file_location("rearec_jax_callback", path)
    assert spec is not None and spec.loader is not None  # it ends in .py
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def scalars(event: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yields the numbers of an event by name: ("valid/ndcg_at_10", 0.04); loggers allow no "@"."""
    for key, value in event.items():
        if isinstance(value, Mapping):
            yield from scalars(value, f"{prefix}{key}/")
        elif isinstance(value, int | float) and (prefix or key != "step"):
            yield prefix + key.replace("@", "_at_"), float(value)
