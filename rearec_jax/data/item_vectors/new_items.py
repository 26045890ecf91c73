"""Vectors of new items' text, made as those of the catalogue were."""

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

TOLERANCE = 1e-4  # of a component: other machines add in another order


@dataclasses.dataclass(frozen=True)
class TextEncoder:
    """Texts to vectors, in the space of the vectors that the model was trained with.

    The encoder is fitted to the catalogue's own texts again when it is first needed. Fitting is
    deterministic; that the result is the same is checked, not hoped for.
    """

    config: Config
    texts: pl.Series  # of the items that the model was trained on
    trained: Float32[np.ndarray, "N F"]  # their vectors

    def __call__(self, texts: Sequence[str | None]) -> Float32[np.ndarray, "n F"]:
        """Vectors of texts, zeros for those without any.

        Raises:
            UserError: the encoder no longer makes the vectors that the model was trained with.
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
