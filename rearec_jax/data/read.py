"""Reads the data of a run: interactions, and vectors of the items' text."""

import dataclasses

from rearec_jax.config import Config
from rearec_jax.data.interactions import Interactions
from rearec_jax.data.item_vectors.vectors import item_vectors
from rearec_jax.data.prepare import prepare


def read_data(config: Config) -> Interactions:
    """Returns the interactions, with vectors of the items' text where the backbone reads them."""
    data = prepare(config.data)
    if config.model.items == "ids":
        return data
    return dataclasses.replace(data, item_vectors=item_vectors(config, data).vectors)
