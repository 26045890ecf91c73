"""Loads the recommender of a run from its work directory, also where its data are gone."""

import os
import pathlib
from typing import NamedTuple

import numpy as np
import polars as pl

from rearec_jax.config import Config
from rearec_jax.data import item_features
from rearec_jax.data.interactions import Interactions
from rearec_jax.data.item_vectors.new_items import TextEncoder
from rearec_jax.data.read import read_data
from rearec_jax.errors import UserError
from rearec_jax.models.backbones import Variables
from rearec_jax.recommend import trained
from rearec_jax.recommend.items import ITEMS_FILE, Items, items_of_data, load_items, save_items
from rearec_jax.recommend.recommender import Recommender
from rearec_jax.recommend.samples import SAMPLES_FILE, load_samples, samples_of_data, save_samples
from rearec_jax.run.files import inside, load_array, save_array
from rearec_jax.run.workdir import Workdir, explained, load_config
from rearec_jax.training.restored import best_parameters
from rearec_jax.types import Features

VECTORS = "item_vectors.npy"
FEATURES = "item_features.parquet"
FILES = (ITEMS_FILE, VECTORS, FEATURES, SAMPLES_FILE)  # those of ``keep_items``


def keep_items(workdir: Workdir, data: Interactions) -> None:
    """Writes the files that recommending needs of the data, unless they are there already.

    The file items.parquet has the raw id, title and count of each item, item_vectors.npy the
    vectors of their text, where the backbone reads them, item_features.parquet their features, and
    samples.parquet sample histories.

    Raises:
        UserError: a file cannot be written.
    """
    items, vectors = workdir.path / ITEMS_FILE, workdir.path / VECTORS
    samples = workdir.path / SAMPLES_FILE
    with explained(items):
        if data.item_vectors is not None and not vectors.exists():
            save_array(vectors, np.asarray(data.item_vectors))
        if data.item_features is not None and not (workdir.path / FEATURES).exists():
            item_features.save(data.item_features, workdir.path / FEATURES)
        if not samples.exists():
            save_samples(samples_of_data(data), samples)
        if not items.exists():  # written last: where it is, all are there
            save_items(items_of_data(data), items)


class Kept(NamedTuple):
    """The part of a run's best epoch that recommending needs.

    config:    The run's options.
    items:     Its catalogue.
    vectors:   The vectors of the items' text, where its backbone reads them.
    features:  The items' features (see `item_features.read`), where there are any.
    variables: The parameters of the epoch.
    """

    config: Config
    items: Items
    vectors: np.ndarray | None
    features: pl.DataFrame | None
    variables: Variables

    @property
    def inputs(self) -> np.ndarray | Features | None:
        """The input of the item encoder: features, vectors of text, or None."""
        if self.features is None:
            return self.vectors
        return item_features.numbered(self.features, len(self.items))


class Run(NamedTuple):
    """The best epoch of a run.

    config:      The run's options.
    variables:   The parameters of the epoch.
    recommender: The recommender that they make.
    """

    config: Config
    variables: Variables
    recommender: Recommender


def load(path: str | os.PathLike[str]) -> Recommender:
    """Loads the recommender of the run in ``path``; raises as ``load_run``."""
    return load_run(path).recommender


def load_run(path: str | os.PathLike[str]) -> Run:
    """Loads the best epoch of the run in ``path``.

    Raises:
        UserError: there is no such run or no finished epoch, or a file is damaged.
    """
    kept = load_kept(path)
    config, items, vectors, variables = kept.config, kept.items, kept.vectors, kept.variables
    engine = trained.engine_of_model(config, variables, len(items), kept.inputs)
    text = None
    if vectors is not None and not config.text.vectors:
        text = TextEncoder(config, items.titles, vectors)
    samples = load_samples(pathlib.Path(path) / SAMPLES_FILE)
    return Run(config, variables, Recommender(engine, items, text, samples))


def load_kept(path: str | os.PathLike[str]) -> Kept:
    """Reads the best epoch of the run in ``path`` with its catalogue; raises as ``load_run``."""
    config = load_config(path)
    found = _items(pathlib.Path(path), config)
    variables = best_parameters(path, config, len(found.items), found.inputs)
    return found._replace(variables=variables)


def _items(path: pathlib.Path, config: Config) -> Kept:
    """Returns the items, from the run's files or, without them, its data; no variables yet."""
    if not (path / ITEMS_FILE).exists():
        data = read_data(config)
        if Workdir(path).data.exists():
            Workdir(path).check_data(data.digests())
        vectors = None if data.item_vectors is None else np.asarray(data.item_vectors)
        return Kept(config, items_of_data(data), vectors, data.item_features, {})
    try:
        items = load_items(path / ITEMS_FILE)
    except UserError as error:
        raise UserError(f"{error}; delete it, and it is made from the data again") from error
    reads_text, has_features = config.model.items != "ids", config.data.item_features
    vectors = kept_vectors(path / VECTORS, len(items)) if reads_text else None
    features = item_features.load(path / FEATURES, len(items)) if has_features else None
    return Kept(config, items, vectors, features, {})


def kept_vectors(path: pathlib.Path, items: int) -> np.ndarray:
    """Reads the vectors that ``keep_items`` wrote of so many items.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        vectors = load_array(inside(path.parent, path.name), mmap=False)
        if vectors.dtype != np.float32 or vectors.ndim != 2 or len(vectors) != items:
            raise ValueError(f"it holds {vectors.dtype} of shape {vectors.shape}")
        if vectors.size and not np.isfinite((vectors.min(), vectors.max())).all():
            raise ValueError("it holds a value that is not a finite number")
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read ({error}); delete it and {ITEMS_FILE} beside it, to make"
            " both from the data again"
        ) from error
    return vectors
