"""Computes vectors of texts without a language model: TF-IDF, and truncated SVD of it."""

from collections.abc import Callable, Sequence
from typing import Any, cast

from jaxtyping import Float32
import numpy as np

# Rarer words and pairs relate no items to each other, and cost time; see docs/design.md.
TERMS = 20_000
_POWER_ITERATIONS = 2  # more of them change the vectors, but make them no better


Project = Callable[[Sequence[str]], Float32[np.ndarray, "n F"]]


def encode(texts: Sequence[str], width: int) -> Float32[np.ndarray, "M F"]:
    """Returns vectors of length 1, most important component first; the same for the same texts.

    Terms are words (of two letters or more) and pairs of neighbouring words. F is ``width``, or
    less where there are fewer terms or texts. A text without any term has a vector of zeros.
    """
    return fit(texts, width)[0]


def fit(texts: Sequence[str], width: int) -> tuple[Float32[np.ndarray, "M F"], Project]:
    """Returns the vectors of ``encode``, and a function that encodes other texts likewise.

    Of the texts themselves the function gives the same vectors again.
    """
    # Here, because they take a second to import, and most commands need no vectors.
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize
    from threadpoolctl import threadpool_limits

    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2), max_features=TERMS, sublinear_tf=True, dtype=np.float32
    )
    try:
        weights = cast(Any, vectorizer.fit_transform(texts))  # a sparse matrix
    except ValueError:  # no text has a term
        return _zeros(texts), _zeros
    if weights.shape[1] == 1:  # too few for an SVD
        return weights.toarray(), lambda texts: cast(Any, vectorizer.transform(texts)).toarray()
    width = min(width, *weights.shape)
    svd = TruncatedSVD(width, n_iter=_POWER_ITERATIONS, random_state=0)

    def reduced(weights: Any, reduce: Callable[[Any], np.ndarray]) -> np.ndarray:
        # One thread: the same bits on any number of cores, and 3 times faster where cores are
        # shared. errstate: equal texts have no variance, and scikit-learn divides by it.
        with threadpool_limits(1, user_api="blas"), np.errstate(invalid="ignore"):
            vectors = normalize(reduce(weights)).astype(np.float32)
        vectors[weights.getnnz(axis=1) == 0] = 0
        return vectors

    def project(texts: Sequence[str]) -> np.ndarray:
        return reduced(vectorizer.transform(texts), svd.transform)

    return reduced(weights, svd.fit_transform), project


def _zeros(texts: Sequence[str]) -> Float32[np.ndarray, "M 1"]:
    return np.zeros((len(texts), 1), np.float32)
