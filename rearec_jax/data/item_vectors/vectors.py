"""Makes the matrix of item vectors that text backbones read, and keeps it for the next run."""

from collections.abc import Callable, Sequence
import dataclasses
import hashlib
import json
import logging
from pathlib import Path
import shutil

from jaxtyping import Bool, Float32
import numpy as np
import polars as pl

from rearec_jax.config import Config
from rearec_jax.data.interactions import Interactions
from rearec_jax.data.item_vectors import language_model, tfidf, vector_files
from rearec_jax.data.own_files import paths
from rearec_jax.data.prepare import cache_directory
from rearec_jax.errors import UserError
from rearec_jax.run.files import load_array, save_array

FORMAT = 1  # raise it whenever the same texts and options would give other vectors


@dataclasses.dataclass(frozen=True)
class ItemVectors:
    """The vectors of the items, in the order of the catalogue."""

    vectors: Float32[np.ndarray, "N F"]  # the vectors; zeros where an item has none
    has_text: Bool[np.ndarray, "N"]  # whether each item has a vector


def item_vectors(config: Config, data: Interactions) -> ItemVectors:
    """Returns the vectors of the items: from ``text.vectors``, or made of the items' text.

    F is ``text.width`` or less. Vectors of TF-IDF have length 1; those of a language model, and
    any that PCA reduces, are centred and have a mean squared length of 1; those of a user's file
    that are narrow enough stay as they are. The result is kept in ``data.cache_dir`` under a key of
    the texts (or the file) and the options, and memory-mapped (read-only) from there. An item
    whose vector is zero counts as one without text.

    Raises:
        UserError: there is neither text nor a file, none of it belongs to an item, or something in
            it is wrong.
    """
    path = cache_directory(config.data) / f"vectors-{_key(config, data)}.npy"
    vectors = _kept(path, data.num_items)
    if vectors is None:
        vectors = _make(config, data, path)
    return ItemVectors(vectors, np.asarray(vectors.any(axis=1)))


def unit_scale(vectors: Float32[np.ndarray, "N F"]) -> float:
    """Returns the factor that makes the mean square of the elements 1, zero vectors aside.

    Learning rates and initial weights suit inputs of about 1, whatever encoder made the vectors:
    those of TF-IDF have length 1, so elements of 0.04.
    """
    squares = np.einsum("nf,nf->n", vectors, vectors, dtype=np.float64)
    filled = np.count_nonzero(squares)
    return float(np.sqrt(filled * vectors.shape[1] / squares.sum())) if filled else 1.0


def _make(config: Config, data: Interactions, path: Path) -> Float32[np.ndarray, "N F"]:
    """Makes the vectors, and keeps them at ``path``."""
    parts = path.with_suffix(".parts")
    vectors = build(config, data, parts)
    if not vectors.any():
        source = config.text.vectors or f"text.encoder={config.text.encoder}"
        raise UserError(
            f"no item has a vector that tells it from others ({source}); are these the items'"
            " texts?"
        )
    try:
        save_array(path, vectors)
    except OSError as error:
        logging.warning("item vectors are not kept in %s (data.cache_dir): %s", path, error)
        return vectors
    shutil.rmtree(parts, ignore_errors=True)
    return load_array(path)


def build(config: Config, data: Interactions, parts: Path) -> Float32[np.ndarray, "N F"]:
    """Makes the vectors from the file or the texts; ``parts``: the directory of unfinished work."""
    if config.text.vectors:
        given, found = vector_files.read_vectors(config, data.item_ids)
        vectors, width = given[found], config.text.width
        if vectors.shape[1] > width:
            vectors = principal_components(vectors, width)
        return _spread(vectors, found)
    return fit(config, _texts(data), parts)[0]


def fit(
    config: Config, texts: pl.Series, parts: Path
) -> tuple[Float32[np.ndarray, "N F"], Callable[[pl.Series], Float32[np.ndarray, "n F"]]]:
    """Returns the vectors of a catalogue's texts, and a function that encodes others likewise.

    The vector of a null or blank text is zero. ``parts`` is the directory of unfinished work.
    """
    width = config.text.width
    has_text = _has_text(texts)
    written = texts.filter(pl.Series(has_text)).to_list()
    if config.text.encoder == "tfidf":
        vectors, project = tfidf.fit(written, width)
    else:
        vectors, components = fit_components(
            language_model.encode(written, config.text, parts), width
        )

        def project(others: Sequence[str]) -> np.ndarray:
            return components(language_model.encode(others, config.text, parts / "others"))

    def encode(others: pl.Series) -> np.ndarray:
        found = _has_text(others)
        if not found.any():
            return np.zeros((len(others), vectors.shape[1]), np.float32)
        return _spread(project(others.filter(pl.Series(found)).to_list()), found)

    return _spread(vectors, has_text), encode


def _has_text(texts: pl.Series) -> Bool[np.ndarray, "N"]:
    return (texts.is_not_null() & (texts.str.strip_chars() != "")).fill_null(False).to_numpy()


def principal_components(
    vectors: Float32[np.ndarray, "M D"], width: int
) -> Float32[np.ndarray, "M F"]:
    """Computes the paper's PCA: the ``width`` directions of largest variance of the vectors.

    The result is centred and has a mean squared length of 1. F is less than ``width`` where there
    are fewer dimensions or vectors.
    """
    return fit_components(vectors, width)[0]


def fit_components(
    vectors: Float32[np.ndarray, "M D"], width: int
) -> tuple[Float32[np.ndarray, "M F"], Callable[[np.ndarray], Float32[np.ndarray, "n F"]]]:
    """Returns ``principal_components``, and a function that turns other vectors likewise."""
    from sklearn.decomposition import PCA  # takes a second, and most commands need no vectors

    width = min(width, *vectors.shape)
    # Centred here, because PCA multiplies uncentred values, which loses digits in float32.
    mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = vectors - mean
    mean_square = float(np.mean(np.sum(np.square(centred, dtype=np.float64), axis=1)))
    if not mean_square:  # all are equal
        zeros = lambda others: np.zeros((len(others), width), np.float32)  # noqa: E731
        return zeros(vectors), zeros
    pca = PCA(width, svd_solver="covariance_eigh")  # pyrefly: ignore[bad-argument-type]
    scale = np.float32(np.sqrt(mean_square))
    reduced = pca.fit_transform(centred / scale)
    length = np.sqrt(np.mean(np.sum(np.square(reduced), axis=1)))

    def project(others: np.ndarray) -> np.ndarray:
        return (pca.transform((others - mean) / scale) / length).astype(np.float32)

    return (reduced / length).astype(np.float32), project


def _spread(
    vectors: Float32[np.ndarray, "M F"], found: Bool[np.ndarray, "N"]
) -> Float32[np.ndarray, "N F"]:
    """Returns a row for every item: the vectors of those found, zeros for the others."""
    if found.all():
        return vectors
    spread = np.zeros((len(found), vectors.shape[1]), np.float32)
    spread[found] = vectors
    return spread


def _texts(data: Interactions) -> pl.Series:
    if data.item_text is None or data.item_text.null_count() == data.num_items:
        raise UserError(
            "the items have no text; name a table of item ids and texts with data.item_text=FILE,"
            " or your own vectors with text.vectors=FILE"
        )
    return data.item_text


def _kept(path: Path, items: int) -> Float32[np.ndarray, "N F"] | None:
    """Loads the matrix of an earlier run; returns None if there is none, or a damaged one."""
    if not path.exists():
        return None
    try:
        vectors = load_array(path)
        if vectors.dtype == np.float32 and vectors.ndim == 2 and len(vectors) == items:
            return vectors
        reason = f"it holds {vectors.dtype} of shape {vectors.shape}"
    except (OSError, ValueError) as error:
        reason = str(error)
    logging.warning("making the item vectors again: %s is damaged (%s)", path, reason)
    return None


def _key(config: Config, data: Interactions) -> str:
    """Returns a key that changes with the texts, or the file and the ids, and with the options."""
    text = config.text
    recipe: list[object] = [FORMAT, text.width]
    if text.vectors:
        path = paths.existing_file(text.vectors, "text.vectors")
        recipe += [_digest(path), _digest(path.with_suffix(".ids.txt")), path.suffix]
        recipe += [text.vectors_column, config.data.text_id_column, data.item_ids.to_list()]
    elif text.encoder == "tfidf":
        recipe += [text.encoder, tfidf.TERMS, _texts(data).to_list()]
    else:
        model = language_model.identity(text.model_path)
        recipe += [text.encoder, model, text.max_tokens, _texts(data).to_list()]
    return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:32]


def _digest(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
