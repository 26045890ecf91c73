"""A training that takes seconds, and what it left."""

from collections.abc import Iterator
import contextlib
import os
from pathlib import Path
import resource
import time
from typing import Any

from benchmarks.final_state import differences
from rearec_jax import config as config_lib
from rearec_jax.commands import train
from rearec_jax.config import Config

TINY = {
    "mesh.data": 1,
    "data.demo_users": 60,
    "data.demo_items": 60,
    "model.width": 8,
    "model.hidden": 8,
    "model.layers": 1,
    "model.max_length": 10,
    "method.name": "rpe",
    "method.steps": 1,
    "train.batch_size": 350,
    "train.epochs": 2,
    "train.log_every_steps": 1,
}
COMMAND_LINE = [f"--config.{name}={value}" for name, value in TINY.items()]
NOBODY = 65534


def tiny(**changes: Any) -> Config:
    """Changes are dotted, with __ for the dot."""
    options = config_lib.default()
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    for name, value in (TINY | dotted).items():
        section, key = name.split(".")
        options[section][key] = value
    return config_lib.resolve(options)


def run(path: Path, config: Config | None = None) -> dict[str, Any]:
    return train.train_run(str(path), config or tiny(), "tiny.py", time.perf_counter())


def assert_same_end(one: Path, other: Path) -> None:
    """Parameters, moments, events, metrics, ranks: to the last bit."""
    assert differences(one, other) == []


@contextlib.contextmanager
def full_disk(byte: int) -> Iterator[None]:
    """No file may grow beyond so many bytes: to the program, a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (byte, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def without_root() -> Iterator[None]:
    """Root may write everywhere, so become somebody who may not."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
