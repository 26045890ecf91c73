"""A small table of interactions, and options with which a training takes a second or two."""

from typing import Any

import numpy as np
import polars as pl

from rearec_jax.data.prepare import prepare
from tests.faults.tiny_run import TINY, tiny

QUICK: dict[str, Any] = {name: v for name, v in TINY.items() if not name.startswith("data.")}
QUICK["data.core"] = 0


def interactions() -> pl.DataFrame:
    """The demo's users: userId ("u7"), movieId ("17"), ts (seconds), and a column of no use."""
    data = prepare(tiny().data)
    users = data.user_ids.gather(np.repeat(np.arange(data.num_users), data.lengths))
    return pl.DataFrame(
        {
            "userId": "u" + users,
            "movieId": data.item_ids.gather(data.items),
            "ts": np.arange(len(data.items)) + 1_000_000_000,
            "note": ["x"] * len(data.items),
        }
    )
