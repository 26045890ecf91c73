"""A work directory: config.json, metrics.jsonl with its TensorBoard mirror, summary.json.

Nothing here knows what an experiment computes. Files appear whole or not at all, except
metrics.jsonl, which grows by a line an event and forgives a last line cut off by a crash.
"""

from collections.abc import Callable, Iterator, Mapping
import contextlib
import dataclasses
import json
import math
import os
import pathlib
import shutil
import tempfile
from typing import Any

from rearec_jax import config as config_lib
from rearec_jax import files, lock
from rearec_jax.config import Config
from rearec_jax.errors import UserError

# Options that may change when a run is resumed: they say how to look at a run, how often to save
# it, or where its input lies, and leave the weights it computes as they are.
FREE_OPTIONS = (
    "eval.batch_size",
    "eval.score_mib",
    "text.batch_size",
    "train.log_every_steps",
    "train.checkpoint_minutes",
    "data.path",
    "data.cache_dir",
    "data.mirror",
    "data.download_dir",
    "data.tfds_dir",
    "data.hint",
    "analysis.",
    "mesh.",
)

# What a run did that is older than an option, where it isn't what the option's default does now.
BEFORE = {"train": {"rows_multiple": 1}}


@dataclasses.dataclass(frozen=True)
class Workdir:
    """Names of what lies in a work directory."""

    path: pathlib.Path

    @property
    def config(self) -> pathlib.Path:
        """The options of the run, all of them."""
        return self.path / "config.json"

    @property
    def events(self) -> pathlib.Path:
        """One JSON object a line, see ``EventLog``."""
        return self.path / "metrics.jsonl"

    @property
    def tensorboard(self) -> pathlib.Path:
        """Directory of the TensorBoard events."""
        return self.path / "tensorboard"

    @property
    def checkpoints(self) -> pathlib.Path:
        """Directory of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def summary(self) -> pathlib.Path:
        """The results, written when the run is finished."""
        return self.path / "summary.json"

    @property
    def data(self) -> pathlib.Path:
        """What the run was trained on, as digests."""
        return self.path / "data.json"

    def check_data(self, digests: Mapping[str, str]) -> None:
        """Notes `Interactions.digests` in a new run, and compares them in one that goes on.

        Raises:
            UserError: the data are not those that the run began with.
        """
        if not self.data.exists():
            write_whole(self.data, json.dumps(dict(digests)) + "\n")
        elif _read_json(self.data).get("digest") != digests["digest"]:
            raise UserError(
                f"the data (data.path, data.item_text, text.vectors) are no longer those that"
                f" {self.path} was trained on; bring the old files back, or choose another"
                " --workdir"
            )

    @property
    def is_trained(self) -> bool:
        """Does it hold a whole checkpoint? One being written has another name than a number."""
        return any(path.name.isdigit() for path in self.checkpoints.glob("last/*"))

    def write_summary(self, summary: Mapping[str, Any], path: pathlib.Path | None = None) -> None:
        """Writes summary.json (or ``path``) whole. Raises UserError if it cannot be written."""
        write_whole(path or self.summary, json.dumps(_finite(summary), indent=2) + "\n")


def open_workdir(path: str | os.PathLike[str], config: Config) -> Workdir:
    """Creates the directory and its config.json, or takes up an existing one.

    Raises:
        UserError: the directory holds a run of another configuration (the message lists the
            options that differ, those of ``FREE_OPTIONS`` aside), or cannot be written.
    """
    workdir = Workdir(files.place(path))
    with explained(workdir.path):
        workdir.path.mkdir(parents=True, exist_ok=True)
    new = config_lib.to_dict(config)
    if workdir.config.exists():
        old = _read_json(workdir.config)
        found = clashes(_with_defaults(old), new)
        if found:
            raise UserError(
                f"{workdir.path} holds a run with other options; choose another --workdir, or set"
                " them back:\n  " + "\n  ".join(found)
            )
        if old == new:
            return workdir
    write_whole(workdir.config, json.dumps(new, indent=2) + "\n")
    return workdir


def clashes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """``config.difference`` of two runs, without the options that may change when one resumes."""
    lines = config_lib.difference(old, new)
    return [line for line in lines if not line.startswith(FREE_OPTIONS)]


def _with_defaults(old: Mapping[str, Any]) -> dict[str, Any]:
    """An option that is newer than the run had its default then, or what `BEFORE` says."""
    filled = dict(old)
    for key, section in config_lib.to_dict(config_lib.resolve({})).items():
        if isinstance(section, dict):
            filled[key] = {**section, **BEFORE.get(key, {}), **old.get(key, {})}
        else:
            filled[key] = old.get(key, section)
    return filled


@contextlib.contextmanager
def opened(path: str | os.PathLike[str], config: Config) -> Iterator[Workdir]:
    """``open_workdir`` for the time of a run; a new run that fails before it saves leaves nothing.

    Raises:
        UserError: as ``open_workdir``, or another run is there.
    """
    workdir = Workdir(files.place(path))
    is_new_directory = not workdir.path.exists()
    try:
        make_directory(workdir.path)
        with contextlib.ExitStack() as held:
            if not files.is_remote(workdir.path):
                with explained(workdir.path):
                    held.enter_context(lock.alone(workdir.path))
            with _discarded_if_new(workdir):
                open_workdir(path, config)
                yield workdir
    except BaseException:
        if is_new_directory:
            with contextlib.suppress(OSError):  # not empty
                workdir.path.rmdir()
        raise


@contextlib.contextmanager
def _discarded_if_new(workdir: Workdir) -> Iterator[None]:
    """What a new run has written goes if it fails before it saves; what was there before stays."""
    is_new = not workdir.config.exists()
    kept = ("items.parquet", "item_vectors.npy", "samples.parquet")  # see inference/runs.py
    written = workdir.config, workdir.events, workdir.data, *(workdir.path / name for name in kept)
    fresh = [path for path in written if not path.exists()]
    trees = [path for path in (workdir.tensorboard, workdir.checkpoints) if not path.exists()]
    try:
        yield
    except BaseException:
        if is_new and not workdir.is_trained:
            for file in fresh:
                file.unlink(missing_ok=True)
            for directory in trees:
                files.remove_tree(directory)
        raise


def load_config(path: str | os.PathLike[str]) -> Config:
    """Configuration of a run from its work directory.

    Raises:
        UserError: no such directory, no config.json in it, or one that cannot be understood.
    """
    workdir = Workdir(files.place(path))
    if not workdir.path.is_dir():
        raise UserError(f"--workdir={workdir.path} does not exist; train into it first")
    if not workdir.config.exists():
        raise UserError(
            f"{workdir.config} does not exist: {workdir.path} is not the work directory of a run"
        )
    try:
        return config_lib.resolve(_with_defaults(_read_json(workdir.config)))
    except UserError as error:
        raise UserError(f"{workdir.config}: {error}") from error


class EventLog:
    """metrics.jsonl, one JSON object a line, and the same numbers for TensorBoard.

    An event is a dict with an integer "step"; its other values are numbers, strings, or one level
    of dicts of them ("valid": {"ndcg@10": ...}). Numbers that are not finite are written as null.
    """

    def __init__(self, workdir: Workdir, *, tensorboard: bool = True):
        self._workdir = workdir
        self._tensorboard = tensorboard and not files.is_remote(workdir.path)
        self._purge_step: int | None = None
        self._writer: Any = None
        with explained(workdir.events):
            if not files.is_remote(workdir.events):
                _cut_half_line(workdir.events)
            self._file = files.open_to_append(workdir.events)

    def append(self, event: Mapping[str, Any]) -> None:
        """Writes one event, on disk when this returns. Raises UserError if the disk is full."""
        step = int(event["step"])
        with explained(self._workdir.events):
            self._file.write(json.dumps(_finite(event), allow_nan=False) + "\n")
            self._file.flush()
            if self._tensorboard:
                self._mirror(step, event)

    def read(self) -> list[dict[str, Any]]:
        """All events, oldest first."""
        return read_events(self._workdir)

    def truncate_after(
        self, step: int, keep: Callable[[dict[str, Any]], bool] = lambda event: True
    ) -> None:
        """Drops events of later steps, and those that ``keep`` refuses: they will come again."""
        kept = [event for event in self.read() if event["step"] <= step and keep(event)]
        self._file.close()
        write_whole(self._workdir.events, "".join(json.dumps(event) + "\n" for event in kept))
        with explained(self._workdir.events):
            self._file = files.open_to_append(self._workdir.events)
        self._close_writer()
        self._purge_step = step + 1

    def close(self) -> None:
        """Closes both files; later events are an error."""
        self._file.close()
        self._close_writer()

    def __enter__(self) -> "EventLog":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _mirror(self, step: int, event: Mapping[str, Any]) -> None:
        if self._writer is None:
            import tensorboardX  # not needed before the first event

            self._writer = tensorboardX.SummaryWriter(
                str(self._workdir.tensorboard), purge_step=self._purge_step
            )
        for name, value in _scalars(event):
            self._writer.add_scalar(name, value, step)

    def _close_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class NoLog:
    """The log of a process that keeps none: another one does."""

    def append(self, event: Mapping[str, Any]) -> None:
        """Nothing."""

    def truncate_after(
        self, step: int, keep: Callable[[dict[str, Any]], bool] = lambda event: True
    ) -> None:
        """Nothing."""

    def __enter__(self) -> "NoLog":
        return self

    def __exit__(self, *_: object) -> None:
        pass


def read_events(workdir: Workdir) -> list[dict[str, Any]]:
    """Events of metrics.jsonl, oldest first; a last line cut off by a crash is left out.

    Raises:
        UserError: another line that is not an event.
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


def make_directory(path: pathlib.Path) -> None:
    """With its parents; no error if it is there. Raises UserError if it cannot be made."""
    with explained(path):
        path.mkdir(parents=True, exist_ok=True)


def write_whole(path: pathlib.Path, text: str, option: str = "--workdir") -> None:
    """Writes a text file so that it is seen whole or not at all.

    Raises:
        UserError: it cannot be written; ``option`` is what the message says to change.
    """
    with explained(path, option):
        files.write_whole(path, lambda file: file.write(text.encode()))


@contextlib.contextmanager
def explained(path: pathlib.Path, option: str = "--workdir") -> Iterator[None]:
    """What keeps ``path`` from being written becomes a UserError that says what to do."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror or error}; make room and permission there, or"
            f" choose another {option}"
        ) from error


@contextlib.contextmanager
def replaced(directory: pathlib.Path, option: str = "--workdir") -> Iterator[pathlib.Path]:
    """Yields an empty directory to be filled, which then takes the place of ``directory``.

    Raises:
        UserError: it cannot be written (``option`` is what the message says to change); what was
            there stays, as after any other exception.
    """
    with explained(directory, option):
        scratch = pathlib.Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
        try:
            new = scratch / "new"
            new.mkdir()
            yield new
            _swap(new, directory, scratch / "old")
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _swap(new: pathlib.Path, place: pathlib.Path, old: pathlib.Path) -> None:
    """``os.rename`` replaces no directory that has files; what was there comes back on failure."""
    if place.exists():
        os.rename(place, old)
    try:
        os.rename(new, place)
    except BaseException:
        if old.exists():
            os.rename(old, place)
        raise


def _read_json(path: pathlib.Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, dict):
            raise ValueError("not a JSON object")
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read ({error}); restore it, or choose another --workdir"
        ) from error
    return value


def _cut_half_line(path: pathlib.Path) -> None:
    """Removes what a crash left after the last newline, so that the next event starts a line."""
    if path.exists():
        text = path.read_bytes()
        whole = text.rfind(b"\n") + 1
        if whole < len(text):
            os.truncate(path, whole)


def _finite(value: Any) -> Any:
    """The same value with null for NaN and infinities, which JSON has no word for."""
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _scalars(event: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, value in event.items():
        if isinstance(value, Mapping):
            yield from _scalars(value, f"{prefix}{key}/")
        elif isinstance(value, int | float) and (prefix or key != "step"):
            yield prefix + key.replace("@", "_at_"), float(value)  # TensorBoard allows no "@"
