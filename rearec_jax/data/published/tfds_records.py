"""Writes and reads prepared interactions as TensorFlow Datasets records, one a user.

TensorFlow itself is never imported. One by one, records take seconds to read and decode; so all
bytes are fetched in one call, and the arrays of all users are joined before they become numpy
arrays.
"""

from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import tensorflow_datasets as tfds
from tensorflow_datasets.core import decode
from tensorflow_datasets.proto import tf_example_pb2

from rearec_jax.data.interactions import Interactions
from rearec_jax.data.parquet import DAMAGED
from rearec_jax.data.published.recipe import Prepared
from rearec_jax.errors import UserError

SPLIT = "users"
ITEMS_FILE = "items.parquet"  # id, title, text: row n describes item n of the records


def features() -> tfds.features.FeaturesDict:
    """Returns the features of a record: raw user id; items, seconds UTC, split; oldest first."""
    return tfds.features.FeaturesDict(
        {
            "user": tfds.features.Text(),
            "items": tfds.features.Tensor(shape=(None,), dtype=np.int32),
            "timestamps": tfds.features.Tensor(shape=(None,), dtype=np.int64),
            "split": tfds.features.Tensor(shape=(None,), dtype=np.uint8),
            "training_length": tfds.features.Scalar(dtype=np.int64),
        }
    )


def examples(data: Interactions) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (number, record) of every user, in the order of the dense ids."""
    if data.timestamps is None or data.training_lengths is None:
        raise ValueError("records need timestamps and training lengths")
    for user, name in enumerate(data.user_ids):
        rows = slice(int(data.offsets[user]), int(data.offsets[user + 1]))
        yield (
            user,
            {
                "user": name,
                "items": data.items[rows],
                "timestamps": data.timestamps[rows],
                "split": data.split[rows],
                "training_length": data.training_lengths[user],
            },
        )


def write_items(prepared: Prepared, directory: Path) -> None:
    """Writes the table of the items beside the records."""
    data = prepared.data
    text = prepared.titles if data.item_text is None else data.item_text
    columns = {"id": data.item_ids, "title": prepared.titles, "text": text}
    pl.DataFrame(columns).write_parquet(directory / ITEMS_FILE)


def read(builder: tfds.core.DatasetBuilder) -> Interactions:
    """Reads all records of a prepared builder, and its items.

    Raises:
        UserError: a file is missing or damaged.
    """
    directory = Path(builder.data_dir)
    try:
        source: Any = builder.as_data_source(
            SPLIT, deserialize_method=decode.DeserializeMethod.RAW_BYTES
        )
        arrays = _decode(source.__getitems__(range(len(source))))
        items = pl.read_parquet(directory / ITEMS_FILE)
        if not 0 <= arrays["items"].min() <= arrays["items"].max() < len(items):
            raise ValueError(f"an item id has no row in {ITEMS_FILE}")
    except (*DAMAGED, ValueError, LookupError, RuntimeError) as error:
        raise UserError(
            f"{directory} holds no complete prepared data ({error}); delete it and prepare again"
        ) from error
    return Interactions(
        **arrays,
        item_ids=items["id"],
        item_text=items["text"],
        name=builder.name,
    )


def _decode(records: list[bytes]) -> dict[str, Any]:
    """Returns the arrays of all records joined."""
    users, lengths, training = [], [], []
    example: Any = getattr(tf_example_pb2, "Example")  # noqa: B009 - made at run time by protobuf
    joined = {"items": array("q"), "timestamps": array("q"), "split": array("q")}
    for record in records:
        feature = example.FromString(record).features.feature
        users.append(feature["user"].bytes_list.value[0])
        training.append(feature["training_length"].int64_list.value[0])
        for name, values in joined.items():
            values.extend(feature[name].int64_list.value)
        lengths.append(len(joined["items"]))
    kinds = {"items": np.int32, "timestamps": np.int64, "split": np.uint8}
    return {
        **{name: np.frombuffer(joined[name], np.int64).astype(kinds[name]) for name in kinds},
        "offsets": np.array([0, *lengths], dtype=np.int64),
        "training_lengths": np.array(training, dtype=np.int64),
        "user_ids": pl.Series("id", users, dtype=pl.Binary).cast(pl.String),
    }
