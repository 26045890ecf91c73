"""Equal trainings share their compiled programs: dozens of tiny ones are started here.

Without this each compiles the same update and ranking again, which is most of its time. That a new
process computes the same is for the tests that start processes.
"""

from collections.abc import Iterator
import contextlib
import dataclasses
from typing import Any

import jax
import pytest

from rearec_jax import evaluate, plan
from rearec_jax.config import Config, DataConfig, EvalConfig

_programs: dict[tuple[Any, ...], Any] = {}


@contextlib.contextmanager
def compiled_once() -> Iterator[None]:
    """While open, updates of equal models and evaluators of equal data are made once."""
    update_function, evaluator = plan.update_function, evaluate.evaluator

    def update(config, model, transform, num_items, queries, contrast, catalogue, mesh, rows):
        given = config, model, transform, num_items, queries, contrast, catalogue, mesh, rows
        train = config.train
        if jax.tree.leaves(catalogue) or train.schedule != "constant" or train.warmup_steps:
            return update_function(*given)  # of more than its options and sizes
        key = "update", _of_update(config), num_items, queries, contrast, mesh, rows
        if key not in _programs:
            _programs[key] = update_function(*given)
        return _programs[key]

    def ranking(model, config, data, which, text=None, mesh=None):
        if text is not None:
            return evaluator(model, config, data, which, text, mesh)
        key = "ranking", config, data.digest(), which, mesh
        if key not in _programs:
            _programs[key] = evaluator(model, config, data, which, text, mesh)
        return _programs[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "update_function", update)
        patch.setattr(evaluate, "evaluator", ranking)
        yield


def _of_update(config: Config) -> Config:
    """Without the options that no update reads."""
    train = dataclasses.replace(
        config.train, epochs=1, max_steps=0, patience=0, checkpoint_minutes=1.0, log_every_steps=1
    )
    return dataclasses.replace(config, data=DataConfig(), eval=EvalConfig(), train=train)
