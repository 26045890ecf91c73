"""ReaRec in JAX: a sequential recommender that thinks before it recommends (arXiv 2503.22675)."""

import os
from typing import TYPE_CHECKING

from rearec_jax.version import __version__

if TYPE_CHECKING:
    from rearec_jax.recommend.recommender import Recommender

__all__ = ["__version__", "load"]


def load(path: str | os.PathLike[str]) -> "Recommender":
    """Loads the recommender of a work directory or an exported model; see docs/recommending.md.

    Raises:
        rearec_jax.errors.UserError: the path is neither, or something in it is damaged.
    """
    # Here, because importing the package must not import JAX and Polars.
    from rearec_jax.recommend import model_directory

    return model_directory.load(path)
