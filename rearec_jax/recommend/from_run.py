"""The work directory of a run as a recommender, also when the data are no longer there."""

import dataclasses
import os
import pathlib
from typing import NamedTuple

import numpy as np

from rearec_jax.config import Config
from rearec_jax.data.interactions import Interactions
from rearec_jax.data.item_vectors.new_items import TextEncoder
from rearec_jax.data.item_vectors.vectors import item_vectors
from rearec_jax.data.prepare import prepare
from rearec_jax.errors import UserError
from rearec_jax.models.backbones import Variables
from rearec_jax.recommend import items as catalogue
from rearec_jax.recommend import samples, trained
from rearec_jax.recommend.items import Items
from rearec_jax.recommend.recommender import Recommender
from rearec_jax.run.files import save_array
from rearec_jax.run.workdir import Workdir, explained, load_config
from rearec_jax.training.restored import best_parameters

VECTORS = "item_vectors.npy"
FILES = (catalogue.FILE, VECTORS, samples.FILE)  # those of ``keep_items``


def keep_items(workdir: Workdir, data: Interactions) -> None:
    """Writes what recommending needs of the data into the work directory, unless it is there.

    items.parquet: raw id, title and count of each item; item_vectors.npy: the vectors of their
    text, where the backbone reads them; samples.parquet: histories of a few test users.

    Raises:
        UserError: they cannot be written.
    """
    items, vectors = workdir.path / catalogue.FILE, workdir.path / VECTORS
    tried = workdir.path / samples.FILE
    with explained(items):
        if data.item_vectors is not None and not vectors.exists():
            save_array(vectors, np.asarray(data.item_vectors))
        if not tried.exists():
            samples.save(samples.of_data(data), tried)
        if not items.exists():  # written last: it says that all are there
            catalogue.save(catalogue.of_data(data), items)


class Run(NamedTuple):
    """The best epoch of a run."""

    config: Config
    variables: Variables
    recommender: Recommender


def load(path: str | os.PathLike[str]) -> Recommender:
    """The best epoch of the run in ``path``, ready to recommend; raises as ``open_run``."""
    return open_run(path).recommender


def open_run(path: str | os.PathLike[str]) -> Run:
    """The best epoch of the run in ``path``.

    Raises:
        UserError: no such run, no finished epoch, or a file of it is damaged.
    """
    config = load_config(path)
    items, vectors = _items(pathlib.Path(path), config)
    variables = best_parameters(path, config, len(items), vectors)
    engine = trained.engine(config, variables, len(items), vectors)
    text = None
    if vectors is not None and not config.text.vectors:
        text = TextEncoder(config, items.titles, vectors)
    tried = samples.load(pathlib.Path(path) / samples.FILE)
    return Run(config, variables, Recommender(engine, items, text, tried))


def _items(path: pathlib.Path, config: Config) -> tuple[Items, np.ndarray | None]:
    """Kept by the run, or prepared again for one that is older than that."""
    reads_text = config.model.items != "ids"
    if not (path / catalogue.FILE).exists():
        data = prepare(config.data)
        if reads_text:
            data = dataclasses.replace(data, item_vectors=item_vectors(config, data).vectors)
        if Workdir(path).data.exists():
            Workdir(path).check_data(data.digests())
        vectors = None if data.item_vectors is None else np.asarray(data.item_vectors)
        return catalogue.of_data(data), vectors
    try:
        items = catalogue.load(path / catalogue.FILE)
    except UserError as error:
        raise UserError(f"{error}; delete it, and it is made from the data again") from error
    vectors = _kept_vectors(path / VECTORS, len(items)) if reads_text else None
    return items, vectors


def _kept_vectors(path: pathlib.Path, items: int) -> np.ndarray:
    try:
        vectors = np.load(path, allow_pickle=False)
        if vectors.dtype != np.float32 or vectors.ndim != 2 or len(vectors) != items:
            raise ValueError(f"it holds {vectors.dtype} of shape {vectors.shape}")
    except (OSError, ValueError, EOFError) as error:
        raise UserError(
            f"{path} cannot be read ({error}); delete it and {catalogue.FILE} beside it, to make"
            " both from the data again"
        ) from error
    return vectors
