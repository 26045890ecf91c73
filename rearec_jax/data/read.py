"""Reads the data of a run: interactions, and what the item encoder reads of the items."""

import dataclasses

from rearec_jax.config import Config
from rearec_jax.data import item_features
from rearec_jax.data.interactions import Interactions
from rearec_jax.data.item_vectors.vectors import item_vectors
from rearec_jax.data.prepare import prepare


def read_data(config: Config) -> Interactions:
    """Returns the interactions, with vectors of the items' text or features, where it has any."""
    data = prepare(config.data)
    if config.model.items == "ids":
        if not config.data.item_features:
            return data
        features = item_features.read(config.data, data.item_ids)
        return dataclasses.replace(data, item_features=features)
    return dataclasses.replace(data, item_vectors=item_vectors(config, data).vectors)
