"""Logs the events of a run: metrics.jsonl, and the same numbers for TensorBoard."""

from collections.abc import Callable, Mapping
import json
import os
import pathlib
from typing import Any

from rearec_jax.errors import UserError
from rearec_jax.run import files
from rearec_jax.run.callbacks import Callback, Start, Update, scalars
from rearec_jax.run.workdir import Workdir, explained, finite, write_whole


class EventLog(Callback):
    """The log of a run: metrics.jsonl, one JSON object a line.

    An event is a dict with an integer "step"; its other values are numbers, strings, or one level
    of dicts of them ("valid": {"ndcg@10": ...}). Numbers that are not finite are written as null.
    """

    def __init__(self, workdir: Workdir):
        self._workdir = workdir
        with explained(workdir.events):
            if not files.is_remote(workdir.events):
                _cut_half_line(workdir.events)
            self._file = files.open_to_append(workdir.events)

    def on_start(self, start: Start) -> None:
        """Drops the events that the training will log again."""
        self.truncate_after(
            start.step,
            lambda event: event["kind"] == "training" or event["epoch"] <= start.epochs,
        )

    def on_update(self, update: Update) -> None:
        if update.is_logged:
            self.append(update.event)

    def on_epoch(self, event: Mapping[str, Any]) -> None:
        self.append(event)

    def append(self, event: Mapping[str, Any]) -> None:
        """Writes one event to the file at once. Raises UserError if the disk is full."""
        int(event["step"])
        with explained(self._workdir.events):
            self._file.write(json.dumps(finite(event), allow_nan=False) + "\n")
            self._file.flush()

    def read(self) -> list[dict[str, Any]]:
        """Returns all events, oldest first."""
        return read_events(self._workdir)

    def truncate_after(
        self, step: int, keep: Callable[[dict[str, Any]], bool] = lambda event: True
    ) -> None:
        """Drops the events of later steps, and those for which ``keep`` is False."""
        kept = [event for event in self.read() if event["step"] <= step and keep(event)]
        self._file.close()
        write_whole(self._workdir.events, "".join(json.dumps(event) + "\n" for event in kept))
        with explained(self._workdir.events):
            self._file = files.open_to_append(self._workdir.events)

    def close(self) -> None:
        """Closes the file; no event may follow."""
        self._file.close()

    def __enter__(self) -> "EventLog":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class TensorBoard(Callback):
    """The numbers of the events for TensorBoard; none in a bucket."""

    def __init__(self, workdir: Workdir):
        self._workdir = workdir
        self._purge_step: int | None = None
        self._writer: Any = None

    def on_start(self, start: Start) -> None:
        self.close()
        self._purge_step = start.step + 1

    def on_update(self, update: Update) -> None:
        if update.is_logged:
            self.on_epoch(update.event)

    def on_epoch(self, event: Mapping[str, Any]) -> None:
        if files.is_remote(self._workdir.path):
            return
        with explained(self._workdir.tensorboard):
            if self._writer is None:
                import tensorboardX  # not needed before the first event

                self._writer = tensorboardX.SummaryWriter(
                    str(self._workdir.tensorboard), purge_step=self._purge_step
                )
            for name, value in scalars(event):
                self._writer.add_scalar(name, value, event["step"])

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def read_events(workdir: Workdir) -> list[dict[str, Any]]:
    """Reads the events of metrics.jsonl, oldest first, without a last line that a crash cut off.

    Raises:
        UserError: another line is not an event.
    """
    if not workdir.events.exists():
        return []
    lines = workdir.events.read_bytes().split(b"\n")[:-1]  # the part after the last newline is cut
    events = []
    for number, line in enumerate(lines, start=1):
        try:
            event = json.loads(line)
            int(event["step"])
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{workdir.events} line {number} is damaged; delete that line and start again"
            ) from error
        events.append(event)
    return events


def _cut_half_line(path: pathlib.Path) -> None:
    """Removes the bytes that a crash left after the last newline: the next event starts a line."""
    if path.exists():
        text = path.read_bytes()
        whole = text.rfind(b"\n") + 1
        if whole < len(text):
            os.truncate(path, whole)
