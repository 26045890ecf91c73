"""Loads the recommender of a directory, a run's or an export, and says which model is there."""

import hashlib
import logging
import pathlib

from rearec_jax.errors import UserError, shown
from rearec_jax.recommend import from_export
from rearec_jax.recommend.arguments import Given
from rearec_jax.recommend.manifest import MANIFEST
from rearec_jax.recommend.recommender import Recommender
from rearec_jax.run import files

RENEW = "renew it: --mode=export --workdir={0} --output={0}, or from its run"

_log = logging.getLogger(__name__)


def load(path: Given) -> Recommender:
    """Loads the best epoch of the run in a work directory, or an export.

    An export whose programs this JAX does not read is made from its arrays, with a warning, where
    Flax is installed.

    Raises:
        UserError: the path is neither, or something in it is missing or damaged.
    """
    try:
        path = pathlib.Path(files.expanded(path))
    except TypeError as error:
        raise UserError(
            f"{shown(path)} is no path; give the work directory of a run or an exported model"
        ) from error
    if not from_export.is_export(path):
        from rearec_jax.recommend import from_run  # imports Flax and Orbax; an export needs neither

        return from_run.load(path)
    contents = from_export.read_contents(path)
    try:
        found = from_export.load(contents)
    except from_export.UnreadableProgramError as error:
        return _rebuilt(path, contents, error)
    if contents.manifest.is_overdue:
        _log.warning(
            "%s was exported more than six months ago: a newer JAX may refuse its programs; %s",
            path,
            RENEW.format(path),
        )
    return found


def _rebuilt(path: pathlib.Path, contents: from_export.Contents, error: UserError) -> Recommender:
    """Makes the model of an export from its arrays, because of the error of its programs."""
    try:
        from rearec_jax.recommend import from_arrays  # imports Flax
    except ImportError as lacking:
        raise UserError(
            f"{error}; {RENEW.format(path)}, where all packages of requirements.txt are installed"
            f" ({lacking})"
        ) from error
    try:
        found = from_arrays.run_of(contents).recommender
    except UserError as older:
        raise UserError(f"{error}; {older}") from error
    _log.warning("%s; it was made from its arrays; %s", error, RENEW.format(path))
    return found


Stamp = tuple[object, ...]


def identity(path: pathlib.Path) -> Stamp | None:
    """Returns a value that changes when the model in ``path`` does; None while there is none.

    A copy of an export is the same model: its manifest has the digests of all files.
    """
    try:
        if (path / MANIFEST).exists():
            manifest = files.inside(path, MANIFEST).read_bytes()
            return ("export", hashlib.sha256(manifest).hexdigest())
    except (OSError, ValueError):
        return None
    found = stamp(path)
    return found and (str(path.absolute()), found)


def stamp(path: pathlib.Path) -> Stamp | None:
    """Returns a value that changes whenever a model is put into ``path``; None while there is none.

    Also another copy of the same model changes it, which may be whole where this one is not. It is
    made of an export's manifest or of a run's best checkpoint; both appear whole.
    """
    try:
        if (path / MANIFEST).exists():
            return _file_stamp(path / MANIFEST)
        best = sorted(child for child in path.glob("checkpoints/best/*") if child.name.isdigit())
        return tuple((child.name, *_file_stamp(child)) for child in best) or None
    except OSError:
        return None


def _file_stamp(path: pathlib.Path) -> Stamp:
    state = path.stat()
    return state.st_ino, state.st_mtime_ns, state.st_size
