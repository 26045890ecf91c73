"""Adam with optional warm-up, cosine decay, clipping and decoupled weight decay."""

from typing import Any

import jax
from jaxtyping import Array, Float
import optax

from rearec_jax.config import TrainConfig


def build(config: TrainConfig, steps_per_epoch: int) -> optax.GradientTransformation:
    """The optimizer that the configuration describes; plain Adam by default."""
    schedule = _schedule(config, steps_per_epoch)
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
    """The same optimizer, state included, at ``factor`` times its learning rate."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        updates, state = transform.update(updates, state, params)
        return jax.tree.map(lambda x: x * factor.astype(x.dtype), updates), state

    return optax.GradientTransformation(transform.init, update)


def _schedule(config: TrainConfig, steps_per_epoch: int) -> optax.Schedule | float:
    total = config.epochs * steps_per_epoch
    total = min(total, config.max_steps) if config.max_steps else total
    rate, warmup = config.learning_rate, config.warmup_steps
    if config.schedule == "cosine":
        return optax.warmup_cosine_decay_schedule(0.0 if warmup else rate, rate, warmup, total)
    if warmup:
        return optax.linear_schedule(0.0, rate, warmup)
    return rate
