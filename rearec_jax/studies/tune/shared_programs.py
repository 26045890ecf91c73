"""Compiled programs that candidates share: what differs between them is an argument.

The numbers of a method's losses (`reasoned.Numbers`) and the learning rate are left open; all
else is as in `space.group_of`. Trained so, a candidate is equal to one trained on its own up to
rounding. A vectorised program does the update of several candidates at once, on the same batch.
"""

from collections.abc import Callable, Sequence
import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rearec_jax.config import Config
from rearec_jax.data.interactions import Interactions
from rearec_jax.methods.reasoned import numbers_of
from rearec_jax.studies.tune.space import group_of
from rearec_jax.training import optimizer
from rearec_jax.training.objective import Numbers
from rearec_jax.training.setup import Setup, Shared, make_setup
from rearec_jax.training.step import TrainState, UpdateFunction, one_update, state_maker
from rearec_jax.types import Batch, Catalogue

TOGETHER = TrainState(step=None, variables=0, optimizer=0)  # type: ignore[arg-type]


class Open(NamedTuple):
    """Values of what a shared program leaves open: scalars, or one a candidate."""

    numbers: Numbers
    learning_rate: Float[Array, "..."]


@dataclasses.dataclass
class Programs:
    """Of one group. The setup is that of ``group_of``, where the learning rate is 1."""

    setup: Setup
    first: Callable[[], TrainState]  # makes the state before the first update
    alone: dict[bool, Callable[..., Any]] = dataclasses.field(default_factory=dict)
    together: dict[tuple[bool, int], Callable[..., Any]] = dataclasses.field(default_factory=dict)

    def setup_of(self, config: Config) -> Setup:
        """The setup of a candidate of the group, with the group's program as its update."""
        values = open_values([config])
        values = jax.tree.map(lambda x: x[0], values)

        def update_function(contrast: bool) -> UpdateFunction:
            if contrast not in self.alone:
                self.alone[contrast] = jax.jit(self._update(contrast), donate_argnums=0)
            return functools.partial(
                self.alone[contrast], catalogue=self.setup.catalogue, values=values
            )

        task = dataclasses.replace(self.setup.task, config=config)
        return self.setup._replace(task=task, shared=Shared(update_function, self.first))

    def update_together(self, configs: Sequence[Config], contrast: bool) -> UpdateFunction:
        """The update of states stacked in this order; the step is one number for all.

        What depends on step and batch alone, such as dropout masks, is computed once.
        """
        key = contrast, len(configs)
        if key not in self.together:
            update = jax.vmap(
                self._update(*key),
                in_axes=(TOGETHER, None, None, 0),
                out_axes=(TOGETHER, 0),
            )
            self.together[key] = jax.jit(update, donate_argnums=0)
        program, values = self.together[key], open_values(configs)

        def update_all(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Array]]:
            return program(state, batch, self.setup.catalogue, values)

        return update_all

    def _update(self, contrast: bool, count: int = 1) -> Callable[..., Any]:
        """Of one of ``count`` candidates, which share the memory for logits."""
        setup = self.setup
        train = setup.config.train
        train = dataclasses.replace(train, logits_gib=train.logits_gib / count)
        config = dataclasses.replace(setup.config, train=train)
        task = dataclasses.replace(setup.task, config=config)

        def update(
            state: TrainState, batch: Batch, catalogue: Catalogue, values: Open
        ) -> tuple[TrainState, dict[str, Array]]:
            transform = optimizer.scaled(setup.transform, values.learning_rate)
            one = one_update(task, transform, contrast, values.numbers)
            return one(state, batch, catalogue)

        return update


def make_programs(config: Config, data: Interactions) -> Programs:
    """For the group of ``config``; nothing is compiled yet."""
    setup = make_setup(group_of(config), data)
    first = state_maker(setup.task, setup.transform, setup.catalogue)
    return Programs(setup, first)


def open_values(configs: Sequence[Config]) -> Open:
    """One of each candidate."""
    numbers = [numbers_of(config.method) for config in configs]
    rates = [config.train.learning_rate for config in configs]
    dtype = jnp.promote_types(configs[0].model.dtype, jnp.float32)
    columns = zip(*numbers, strict=True)
    return Open(Numbers(*(jnp.asarray(c, dtype) for c in columns)), jnp.asarray(rates, dtype))


def stack(states: Sequence[TrainState]) -> TrainState:
    """One state of several that are at the same step."""
    parts = [(state.variables, state.optimizer) for state in states]
    variables, moments = jax.tree.map(lambda *leaves: jnp.stack(leaves), *parts)
    return TrainState(states[0].step, variables, moments)


def take(state: TrainState, index: int) -> TrainState:
    """One of a stack."""
    parts = (state.variables, state.optimizer)
    return TrainState(state.step, *jax.tree.map(lambda leaf: leaf[index], parts))
