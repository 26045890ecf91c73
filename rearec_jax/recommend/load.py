"""`rearec_jax.load`: a work directory or an exported model, ready to recommend."""

import hashlib
import logging
import os
import pathlib

from rearec_jax.errors import UserError
from rearec_jax.recommend import from_export
from rearec_jax.recommend.from_export import MANIFEST
from rearec_jax.recommend.recommender import Recommender

RENEW = "renew it: --mode=export --workdir={0} --output={0}, or from its run"

_log = logging.getLogger(__name__)


def load(path: str | os.PathLike[str]) -> Recommender:
    """Loads the best epoch of the run in a work directory, or what ``--mode=export`` wrote.

    An export whose programs this JAX does not read is made from its arrays, where Flax is
    installed, with a warning.

    Raises:
        UserError: the path is neither, or something in it is missing or damaged.
    """
    place = pathlib.Path(path)
    if not from_export.is_export(place):
        from rearec_jax.recommend import from_run  # Flax, Orbax: an export needs neither

        return from_run.load(place)
    try:
        found = from_export.load(place)
    except from_export.UnreadableProgramError as error:
        return _rebuilt(place, error)
    if from_export.is_overdue(place):
        _log.warning(
            "%s was exported more than six months ago: a newer JAX may refuse its programs; %s",
            place,
            RENEW.format(place),
        )
    return found


def _rebuilt(place: pathlib.Path, error: UserError) -> Recommender:
    try:
        from rearec_jax.recommend import from_arrays  # Flax, as above
    except ImportError as lacking:
        raise UserError(
            f"{error}; {RENEW.format(place)}, where all packages of requirements.txt are installed"
            f" ({lacking})"
        ) from error
    try:
        found = from_arrays.open_export(place.resolve()).recommender
    except UserError as older:
        raise UserError(f"{error}; {older}") from error
    _log.warning("%s; it was made from its arrays; %s", error, RENEW.format(place))
    return found


Stamp = tuple[object, ...]


def identity(path: pathlib.Path) -> Stamp | None:
    """Returns a value that changes when the model in ``path`` does; None while there is none.

    A copy of an export is the same model: its manifest has the digests of all files.
    """
    manifest = path / MANIFEST
    try:
        if manifest.exists():
            return ("export", hashlib.sha256(manifest.read_bytes()).hexdigest())
    except OSError:
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
