"""Opens work directories: config.json, metrics.jsonl with its TensorBoard mirror, summary.json.

Files appear whole or not at all, except metrics.jsonl, which grows by a line an event and may end
in a line that a crash cut off.
"""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import dataclasses
import hashlib
import json
import math
import os
import pathlib
from typing import Any

from rearec_jax import config as config_lib
from rearec_jax.config import Config
from rearec_jax.config.compare import DATA_OPTIONS, refused, with_defaults
from rearec_jax.errors import UserError
from rearec_jax.run import files, lock


@dataclasses.dataclass(frozen=True)
class Workdir:
    """A work directory.

    path: the directory; the properties are the paths of the files in it.
    """

    path: pathlib.Path

    @property
    def config(self) -> pathlib.Path:
        """The file of all options of the run."""
        return self.path / "config.json"

    @property
    def events(self) -> pathlib.Path:
        """The file of events, one JSON object a line (see `events.EventLog`)."""
        return self.path / "metrics.jsonl"

    @property
    def tensorboard(self) -> pathlib.Path:
        """The directory of the TensorBoard events."""
        return self.path / "tensorboard"

    @property
    def checkpoints(self) -> pathlib.Path:
        """The directory of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def summary(self) -> pathlib.Path:
        """The file of results, written when the run is finished."""
        return self.path / "summary.json"

    @property
    def data(self) -> pathlib.Path:
        """The file of digests of the data that the run was trained on."""
        return self.path / "data.json"

    def check_data(self, digests: Mapping[str, str]) -> None:
        """Records the digests of the data in a new run, and compares them in one that goes on.

        Raises:
            UserError: the data are not those that the run began with.
        """
        if not self.data.exists():
            write_whole(self.data, json.dumps(dict(digests)) + "\n")
        elif _read_json(self.data).get("digest") != digests["digest"]:
            raise UserError(
                f"the data ({', '.join(DATA_OPTIONS)}) are no longer those that {self.path} was"
                " trained on; bring the old files back, or choose another --workdir"
            )

    @property
    def is_trained(self) -> bool:
        """Says whether there is a whole checkpoint, named by a number."""
        return any(path.name.isdigit() for path in self.checkpoints.glob("last/*"))

    def write_summary(self, summary: Mapping[str, Any], path: pathlib.Path | None = None) -> None:
        """Writes summary.json (or ``path``) whole. Raises UserError if it cannot be written."""
        write_whole(path or self.summary, json.dumps(finite(summary), indent=2) + "\n")


def default_path(config: Config) -> str:
    """Returns runs/<data>-<backbone>-<method>-<hash of all options>."""
    kind = f"{config.data.name}-{config.model.backbone}-{config.method.name}"
    return os.path.join("runs", f"{kind}-{config_lib.fingerprint(config)[:6]}")


def named_after(kind: str, names: Sequence[str]) -> str:
    """Returns runs/<kind>-<hash of the names>, the default directory of what is made of runs."""
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:6]
    return os.path.join("runs", f"{kind}-{digest}")


def open_workdir(path: str | os.PathLike[str], config: Config) -> Workdir:
    """Creates the directory and its config.json, or opens an existing one.

    Raises:
        UserError: the directory holds a run of another configuration (the message lists the
            options that differ and may not), or cannot be written.
    """
    workdir = Workdir(files.place(path))
    with explained(workdir.path):
        workdir.path.mkdir(parents=True, exist_ok=True)
    new = config_lib.to_dict(config)
    if workdir.config.exists():
        old = _read_json(workdir.config)
        found = refused(old, new)
        if found:
            raise UserError(
                f"{workdir.path} holds a run with other options; choose another --workdir, or set"
                " them back:\n  " + "\n  ".join(found)
            )
        if old == new:
            return workdir
        if with_defaults(old)["train"]["epochs"] != config.train.epochs:
            workdir.summary.unlink(missing_ok=True)  # which marks a finished run
    write_whole(workdir.config, json.dumps(new, indent=2) + "\n")
    return workdir


@contextlib.contextmanager
def opened(
    path: str | os.PathLike[str], config: Config, more_files: Sequence[str] = ()
) -> Iterator[Workdir]:
    """Opens a work directory for one run; a new run that fails before it saves leaves nothing.

    Args:
        path: the directory.
        config: the options of the run.
        more_files: the names of files that the caller writes into the directory.

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
            with _discarded_if_new(workdir, more_files):
                open_workdir(path, config)
                yield workdir
    except BaseException:
        if is_new_directory:
            with contextlib.suppress(OSError):  # not empty
                workdir.path.rmdir()
        raise


@contextlib.contextmanager
def _discarded_if_new(workdir: Workdir, more_files: Sequence[str]) -> Iterator[None]:
    """Deletes the files of a new run that fails before it saves; what was there before stays."""
    is_new = not workdir.config.exists()
    more = (workdir.path / name for name in more_files)
    written = workdir.config, workdir.events, workdir.data, *more
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
    """Loads the configuration of a run from its work directory.

    Raises:
        UserError: there is no such directory, no config.json in it, or one that is damaged.
    """
    workdir = Workdir(files.place(path))
    if not workdir.path.is_dir():
        raise UserError(f"--workdir={workdir.path} does not exist; train into it first")
    if not workdir.config.exists():
        raise UserError(
            f"{workdir.config} does not exist: {workdir.path} is not the work directory of a run"
        )
    try:
        return config_lib.resolve(with_defaults(_read_json(workdir.config)))
    except UserError as error:
        raise UserError(f"{workdir.config}: {error}") from error


def make_directory(path: pathlib.Path) -> None:
    """Makes a directory and its parents, unless it is there. Raises UserError if that fails."""
    with explained(path):
        path.mkdir(parents=True, exist_ok=True)


def write_whole(path: pathlib.Path, text: str, option: str = "--workdir") -> None:
    """Writes a text file so that it is seen whole or not at all.

    Raises:
        UserError: it cannot be written; the message names ``option`` as the one to change.
    """
    with explained(path, option):
        files.write_whole(path, lambda file: file.write(text.encode()))


@contextlib.contextmanager
def explained(path: pathlib.Path, option: str = "--workdir") -> Iterator[None]:
    """Turns an OSError about writing ``path`` into a UserError that says what to do."""
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
        UserError: it cannot be written (the message names ``option`` as the one to change); what
            was there stays, as after any other exception.
    """
    with explained(directory, option), files.replaced_directory(directory) as new:
        yield new


def _read_json(path: pathlib.Path) -> dict[str, Any]:
    try:
        return files.read_json(path.parent, path.name)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read ({error}); restore it, or choose another --workdir"
        ) from error


def finite(value: Any) -> Any:
    """Returns the same value with null for NaN and infinities, which JSON cannot write."""
    if isinstance(value, Mapping):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
