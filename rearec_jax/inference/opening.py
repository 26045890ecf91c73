"""`rearec_jax.load`: a work directory or an exported model, ready to recommend."""

import logging
import os
import pathlib

from rearec_jax.errors import UserError
from rearec_jax.inference import exported
from rearec_jax.inference.recommender import Recommender

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
    if not exported.is_export(place):
        from rearec_jax.inference import runs  # Flax, Orbax: an export needs neither

        return runs.load(place)
    try:
        found = exported.load(place)
    except exported.UnreadableProgramError as error:
        return _rebuilt(place, error)
    if exported.is_overdue(place):
        _log.warning(
            "%s was exported more than six months ago: a newer JAX may refuse its programs; %s",
            place,
            RENEW.format(place),
        )
    return found


def _rebuilt(place: pathlib.Path, error: UserError) -> Recommender:
    try:
        from rearec_jax.inference import rebuilt  # Flax, as above
    except ImportError as lacking:
        raise UserError(
            f"{error}; {RENEW.format(place)}, where all packages of requirements.txt are installed"
            f" ({lacking})"
        ) from error
    try:
        found = rebuilt.open_export(place.resolve()).recommender
    except UserError as older:
        raise UserError(f"{error}; {older}") from error
    _log.warning("%s; it was made from its arrays; %s", error, RENEW.format(place))
    return found
