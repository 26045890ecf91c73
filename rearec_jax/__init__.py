"""ReaRec in JAX: a sequential recommender that thinks before it recommends (arXiv 2503.22675)."""

import os
from typing import TYPE_CHECKING

from rearec_jax.version import __version__

if TYPE_CHECKING:
    from rearec_jax.recommend.recommender import Recommender

__all__ = ["__version__", "load"]


def load(path: str | os.PathLike[str]) -> "Recommender":
    """What a work directory or an exported model recommends; see docs/recommending.md.

    Raises:
        rearec_jax.errors.UserError: the path is neither, or something in it is damaged.
    """
    from rearec_jax.recommend import (
        load as opening,  # JAX and Polars: importing the package stays cheap
    )

    return opening.load(path)
