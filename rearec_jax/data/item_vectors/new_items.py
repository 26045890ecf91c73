"""Computes vectors of new items' text as those of the catalogue were computed."""

from collections.abc import Callable, Sequence
import dataclasses
import functools
from pathlib import Path
import tempfile

from jaxtyping import Float32
import numpy as np
import polars as pl

from rearec_jax.config import Config
from rearec_jax.data.item_vectors import vectors
from rearec_jax.errors import UserError

TOLERANCE = 1e-4  # of a component: other machines may sum in another order


@dataclasses.dataclass(frozen=True)
class TextEncoder:
    """The encoder of texts, into the space of the vectors that the model was trained with.

    It is fitted to the catalogue's texts again when it is first needed. Fitting is deterministic;
    it is checked that the vectors are the same.
    """

    config: Config  # the options of the encoder
    texts: pl.Series  # the texts of the items that the model was trained on
    trained: Float32[np.ndarray, "N F"]  # their vectors

    def __call__(self, texts: Sequence[str | None]) -> Float32[np.ndarray, "n F"]:
        """Returns the vectors of texts, zeros for None and blank texts.

        Raises:
            UserError: the encoder no longer gives the vectors that the model was trained with.
        """
        return self._fitted(pl.Series("text", list(texts), pl.String))

    @functools.cached_property
    def _fitted(self) -> Callable[[pl.Series], Float32[np.ndarray, "n F"]]:
        with tempfile.TemporaryDirectory() as parts:
            again, encode = vectors.fit(self.config, self.texts, Path(parts))
        if again.shape != self.trained.shape or np.abs(again - self.trained).max() > TOLERANCE:
            raise UserError(
                "the items' text no longer gives the vectors that the model was trained with"
                " (another version of scikit-learn or of the language model?); give vectors="
            )
        return encode
