"""Whether two finished runs of the same options came to the same end, to the last bit."""

from collections.abc import Iterator
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from rearec_jax.data.prepare import prepare
from rearec_jax.run.checkpoint import Checkpoints
from rearec_jax.run.events import read_events
from rearec_jax.run.workdir import Workdir, load_config
from rearec_jax.training import loop
from rearec_jax.training.setup import make_setup

_TIMED = ("seconds", "targets_per_second", "train", "evaluation_seconds", "config")


def differences(one: Path, other: Path) -> list[str]:
    """What differs between two work directories; clocks aside. Nothing: they are the same.

    Compared are the state of the last and of the best checkpoint (parameters, moments, step), the
    history, every event, the summary and the users' ranks.
    """
    config = load_config(one)
    state = loop.abstract_state(make_setup(config, prepare(config.data)))
    found = []
    for kind in ("last", "best"):
        a, b = (_restored(path, kind, state) for path in (one, other))
        found += [f"{other.name}: {kind} checkpoint, {name}" for name in _unequal(a, b)]
    if _events(one) != _events(other):
        found.append(f"{other.name}: metrics.jsonl")
    if _summary(one) != _summary(other):
        found.append(f"{other.name}: summary.json")
    if (one / "ranks.parquet").read_bytes() != (other / "ranks.parquet").read_bytes():
        found.append(f"{other.name}: ranks.parquet")
    return found


def _restored(path: Path, kind: str, state: Any) -> dict[str, Any]:
    with Checkpoints(Workdir(path).checkpoints) as checkpoints:
        restored = getattr(checkpoints, f"restore_{kind}")(state)
    if restored is None:
        return {}
    pairs = jax.tree_util.tree_flatten_with_path(restored[0])[0]
    leaves = {jax.tree_util.keystr(place): np.asarray(leaf).tobytes() for place, leaf in pairs}
    history = {name: restored[1][name] for name in ("epochs", "best", "best_epoch")}
    return leaves | history


def _unequal(one: dict[str, Any], other: dict[str, Any]) -> Iterator[str]:
    for name in sorted(one.keys() | other.keys()):
        if name not in one or name not in other or one[name] != other[name]:
            yield name


def _events(path: Path) -> list[dict[str, Any]]:
    return [_timeless(event) for event in read_events(Workdir(path))]


def _summary(path: Path) -> dict[str, Any]:
    return _timeless(json.loads(Workdir(path).summary.read_text()))


def _timeless(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in _TIMED}
