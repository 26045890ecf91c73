"""Compiled updates that the candidates of a group share: what differs between them is an argument.

The numbers of a method's losses (`objective.Numbers`) and the learning rate are arguments; all else
is compiled in, as `space.group_of` has it. Trained so, a candidate is equal to one trained on its
own up to rounding. A vectorised update is that of several candidates at once, on the same batch.
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

# The axes of a stacked state that `vmap` maps over: the step is one number for all candidates.
STACKED = TrainState(step=None, variables=0, optimizer=0)  # type: ignore[arg-type]


class OpenNumbers(NamedTuple):
    """The arguments in which candidates differ: scalars, or one entry for each candidate."""

    numbers: Numbers  # the temperature and the weights of the method's losses
    learning_rate: Float[Array, "..."]  # the peak of the learning rate


@dataclasses.dataclass
class SharedUpdates:
    """The compiled updates of one group of candidates."""

    setup: Setup  # the set-up of the group's configuration (`group_of`), whose learning rate is 1
    first: Callable[[], TrainState]  # makes the state before the first update
    # the update of one candidate, by whether it computes the contrastive term
    alone: dict[bool, Callable[..., Any]] = dataclasses.field(default_factory=dict)
    # the update of several candidates, by the same and by their number
    together: dict[tuple[bool, int], Callable[..., Any]] = dataclasses.field(default_factory=dict)

    def setup_of(self, config: Config) -> Setup:
        """Returns the set-up of one candidate, which trains with the group's compiled update."""
        values = jax.tree.map(lambda x: x[0], open_numbers([config]))

        def update_function(contrast: bool) -> UpdateFunction:
            if contrast not in self.alone:
                self.alone[contrast] = jax.jit(self._update(contrast), donate_argnums=0)
            return functools.partial(
                self.alone[contrast], catalogue=self.setup.catalogue, values=values
            )

        task = dataclasses.replace(self.setup.task, config=config)
        return self.setup._replace(task=task, shared=Shared(update_function, self.first))

    def update_together(self, configs: Sequence[Config], contrast: bool) -> UpdateFunction:
        """Returns the update of states that are stacked in the order of ``configs``.

        What depends on step and batch alone, such as dropout masks, is computed once for all.
        """
        key = contrast, len(configs)
        if key not in self.together:
            update = jax.vmap(
                self._update(*key),
                in_axes=(STACKED, None, None, 0),
                out_axes=(STACKED, 0),
            )
            self.together[key] = jax.jit(update, donate_argnums=0)
        compiled, values = self.together[key], open_numbers(configs)

        def update_all(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Array]]:
            return compiled(state, batch, self.setup.catalogue, values)

        return update_all

    def _update(self, contrast: bool, count: int = 1) -> Callable[..., Any]:
        """Returns the update of one of ``count`` candidates, which share the logits' memory."""
        setup = self.setup
        train = setup.config.train
        train = dataclasses.replace(train, logits_gib=train.logits_gib / count)
        config = dataclasses.replace(setup.config, train=train)
        task = dataclasses.replace(setup.task, config=config)

        def update(
            state: TrainState, batch: Batch, catalogue: Catalogue, values: OpenNumbers
        ) -> tuple[TrainState, dict[str, Array]]:
            transform = optimizer.scaled(setup.transform, values.learning_rate)
            one = one_update(task, transform, contrast, values.numbers)
            return one(state, batch, catalogue)

        return update


def make_shared_updates(config: Config, data: Interactions) -> SharedUpdates:
    """Makes the shared updates of the group of ``config``; nothing is compiled yet."""
    setup = make_setup(group_of(config), data)
    first = state_maker(setup.task, setup.transform, setup.catalogue)
    return SharedUpdates(setup, first)


def open_numbers(configs: Sequence[Config]) -> OpenNumbers:
    """Returns the arguments in which candidates differ, one entry for each configuration."""
    numbers = [numbers_of(config.method) for config in configs]
    rates = [config.train.learning_rate for config in configs]
    dtype = jnp.promote_types(configs[0].model.dtype, jnp.float32)
    columns = (jnp.asarray(column, dtype) for column in zip(*numbers, strict=True))
    return OpenNumbers(Numbers(*columns), jnp.asarray(rates, dtype))


def stack(states: Sequence[TrainState]) -> TrainState:
    """Stacks the states of several candidates, which are at the same step."""
    parts = [(state.variables, state.optimizer) for state in states]
    variables, moments = jax.tree.map(lambda *leaves: jnp.stack(leaves), *parts)
    return TrainState(states[0].step, variables, moments)


def take(state: TrainState, index: int) -> TrainState:
    """Returns one candidate's state of a stack."""
    parts = (state.variables, state.optimizer)
    return TrainState(state.step, *jax.tree.map(lambda leaf: leaf[index], parts))
