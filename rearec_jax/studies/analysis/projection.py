"""Projects states onto two dimensions: the principal components of all steps together."""

from typing import NamedTuple

from jaxtyping import Float
import numpy as np


class Projection(NamedTuple):
    """A projection of states onto two axes."""

    points: Float[np.ndarray, "n S 2"]  # the coordinates of each state
    explained: Float[np.ndarray, " 2"]  # the share of the variance that each axis holds


def project(states: Float[np.ndarray, "n S D"]) -> Projection:
    """Projects states onto their first two principal components.

    The coordinates are zeros where the states have fewer components.

    The sign of an axis is arbitrary in mathematics; here the largest weight is positive, so that
    two runs over the same states draw the same picture.
    """
    flat = states.reshape(-1, states.shape[-1]).astype(np.float64)
    centred = flat - flat.mean(axis=0)
    _, singular, axes = np.linalg.svd(centred, full_matrices=False)
    kept = axes[:2]
    largest = np.abs(kept).argmax(axis=1)
    kept = kept * np.where(kept[np.arange(len(kept)), largest] < 0, -1.0, 1.0)[:, None]
    points = np.zeros((len(flat), 2))
    points[:, : len(kept)] = centred @ kept.T
    explained = np.zeros(2)
    explained[: len(kept)] = singular[:2] ** 2 / max(float((singular**2).sum()), 1e-300)
    return Projection(points.reshape(*states.shape[:2], 2), explained)
