"""The optimizer: Adam with optional warm-up, cosine decay, clipping and weight decay."""

import functools
from typing import Any

import jax
from jaxtyping import Array, Float
import optax

from rearec_jax.config import TrainConfig
from rearec_jax.config.parts import of_updates


def build(config: TrainConfig, total_steps: int) -> optax.GradientTransformation:
    """Builds the optimizer that the options describe; plain Adam by default.

    Equal options give the same object, so that trainings which share it share their programs.

    Args:
        config: the options `train.*`.
        total_steps: updates of the whole run.
    """
    return _build(of_updates(config), total_steps if config.schedule == "cosine" else 0)


@functools.lru_cache
def _build(config: TrainConfig, total_steps: int) -> optax.GradientTransformation:
    schedule = _schedule(config, total_steps)
    if config.weight_decay > 0:
        adam = optax.adamw(schedule, weight_decay=config.weight_decay)
    else:
        adam = optax.adam(schedule)
    if config.clip_norm > 0:
        return optax.chain(optax.clip_by_global_norm(config.clip_norm), adam)
    return adam


def scaled(
    transform: optax.GradientTransformation, factor: Float[Array, ""]
) -> optax.GradientTransformation:
    """Returns the same optimizer, with the same state, at ``factor`` times its learning rate."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        updates, state = transform.update(updates, state, params)
        return jax.tree.map(lambda x: x * factor.astype(x.dtype), updates), state

    return optax.GradientTransformation(transform.init, update)


def _schedule(config: TrainConfig, total_steps: int) -> optax.Schedule | float:
    rate, warmup = config.learning_rate, config.warmup_steps
    if config.schedule == "cosine":
        return optax.warmup_cosine_decay_schedule(
            0.0 if warmup else rate, rate, warmup, total_steps
        )
    if warmup:
        return optax.linear_schedule(0.0, rate, warmup)
    return rate
