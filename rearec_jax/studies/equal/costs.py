"""Measures or counts what an update and an evaluation of a configuration cost."""

from collections.abc import Sequence
import math
import time
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp

from rearec_jax.config import Config
from rearec_jax.data.read import read_data
from rearec_jax.errors import UserError
from rearec_jax.models import backbones
from rearec_jax.studies.capacity.flops import product_flops
from rearec_jax.training.setup import Setup, make_setup
from rearec_jax.training.step import TrainState, UpdateFunction
from rearec_jax.types import Batch

UNITS = ("seconds", "flops")
TURNS, UPDATES = 9, 4  # turns that count, and the updates of each


class Cost(NamedTuple):
    """The costs of a configuration, in seconds or in FLOPs of matrix products.

    update:     The cost of one update.
    updates:    The number of updates in an epoch.
    evaluation: The cost of one evaluation of the validation split.
    """

    update: float
    updates: int
    evaluation: float

    @property
    def epoch(self) -> float:
        """The cost of the updates of an epoch, without its evaluation."""
        return self.update * self.updates


def costs(configs: Sequence[Config], unit: str) -> list[Cost]:
    """Returns the cost of each configuration in a unit of UNITS.

    Seconds are measured: the configurations take turns of a few first updates each, so that other
    work on the machine slows all of them alike, and the fastest turn counts, which it slowed least.

    Raises:
        UserError: the data cannot be read, or are not enough to train on.
    """
    if jax.process_count() > 1:
        raise UserError("costs are compared by one process; leave out --coordinator")
    setups = [make_setup(config, read_data(config)) for config in configs]
    return _seconds(setups) if unit == "seconds" else [_flops(setup) for setup in setups]


def parameters(config: Config, items: int) -> int:
    """Returns the number of parameters of a model over a catalogue of so many items."""
    model = backbones.build(config, items)
    shape = jax.ShapeDtypeStruct((items, config.text.width), jnp.float32)
    text = None if config.model.items == "ids" else cast(jax.Array, shape)
    key = jax.random.key(0)
    variables = jax.eval_shape(lambda text: backbones.initialise(model, key, text), text)
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables))


class _Trainee:
    """A training that makes a few of its first updates again and again."""

    def __init__(self, setup: Setup):
        self.setup = setup
        self.update: UpdateFunction = setup.update_function(setup.contrast(setup.total_steps))
        self.state: TrainState = setup.initial_state()
        self.batches: list[Batch] = setup.first_batches(UPDATES)

    def turn(self) -> float:
        """Makes the updates, and returns the seconds of one."""
        started = time.perf_counter()
        for batch in self.batches:
            self.state, _ = self.update(self.state, batch)
        jax.block_until_ready(self.state)
        return (time.perf_counter() - started) / len(self.batches)

    def evaluation(self) -> float:
        """Evaluates the validation split, and returns the seconds."""
        if not self.setup.validate.batches.examples:
            return 0.0
        started = time.perf_counter()
        self.setup.validate(self.state.variables)
        return time.perf_counter() - started


def _seconds(setups: Sequence[Setup]) -> list[Cost]:
    trainees = [_Trainee(setup) for setup in setups]
    for trainee in trainees:
        trainee.turn()  # compiles
        trainee.evaluation()
    turns = [[trainee.turn() for trainee in trainees] for _ in range(TURNS)]
    return [
        Cost(min(own), trainee.setup.steps_per_epoch, trainee.evaluation())
        for trainee, own in zip(trainees, zip(*turns, strict=True), strict=True)
    ]


def _flops(setup: Setup) -> Cost:
    state = jax.eval_shape(setup.initial_state)
    update = setup.update_function(setup.contrast(setup.total_steps))
    (batch,) = setup.first_batches(1)
    of_update = product_flops(jax.make_jaxpr(update)(state, batch))
    validate, evaluation = setup.validate, 0.0
    if validate.batches.examples:
        table = jax.eval_shape(validate.table, state.variables)
        ranked, _, seen = next(validate.inputs())
        of_table = jax.make_jaxpr(validate.table)(state.variables)
        of_batch = jax.make_jaxpr(validate.rank)(state.variables, table, ranked, seen)
        evaluation = product_flops(of_table) + len(validate.batches) * product_flops(of_batch)
    return Cost(of_update, setup.steps_per_epoch, evaluation)
