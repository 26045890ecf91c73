"""Ranks and runs made by hand."""

import json
from pathlib import Path

import numpy as np
import polars as pl

from rearec_jax import config as config_lib
from rearec_jax.evaluation.rank_file import UserRanks


def ranks(users: int = 102, steps: int = 3, seed: int = 0) -> UserRanks:
    rng = np.random.default_rng(seed)
    by_step = rng.geometric(0.05, (users, steps))
    return UserRanks(
        users=pl.Series([f"u{n}" for n in range(users)]),
        targets=pl.Series([f"i{n % 7}" for n in range(users)]),
        popularity=np.arange(users) % 7 + 1,
        history_length=rng.integers(1, 9, users),
        by_step=by_step,
        final=by_step[:, -1],
    )


def write_run(path: Path, options: dict[str, object], final: np.ndarray, **columns: object) -> str:
    """A finished run, as far as a comparison reads it; ``options`` are dotted."""
    chosen = config_lib.default()
    for name, value in options.items():
        with chosen.unlocked():
            *sections, key = name.split(".")
            (chosen[sections[0]] if sections else chosen)[key] = value
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(config_lib.to_dict(config_lib.resolve(chosen))))
    (path / "summary.json").write_text(json.dumps({"data": {"items": 50}, "test": {}}))
    count = len(final)
    frame = {
        "user": [f"u{n}" for n in range(count)],
        "target": [f"i{n % 7}" for n in range(count)],
        "target_popularity": [3] * count,
        "history_length": [4] * count,
        "rank": final,
        "rank_step_0": final,
    }
    pl.DataFrame(frame | columns).write_parquet(path / "ranks.parquet")
    return str(path)
