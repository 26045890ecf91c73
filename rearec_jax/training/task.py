"""The task of a training: all that an update's program depends on, but the arrays."""

import dataclasses
import functools
import math

from rearec_jax.config import Config
from rearec_jax.config.parts import of_update
from rearec_jax.devices.mesh import ONE, Devices
from rearec_jax.losses import fused
from rearec_jax.methods import METHODS
from rearec_jax.models import backbones
from rearec_jax.models.backbones import Backbone


@dataclasses.dataclass(frozen=True)
class Task:
    """A model to train on batches of one shape, on the devices that share the work.

    config:    The options of the run.
    num_items: Items of the catalogue, N.
    rows:      Rows of a batch, before any that fill a mesh up.
    queries:   Queries of a row, padding included.
    devices:   The devices that share rows and catalogue.
    """

    config: Config
    num_items: int
    rows: int
    queries: int
    devices: Devices = ONE

    @functools.cached_property
    def model(self) -> Backbone:
        """The backbone, whose items may lie on several devices."""
        return backbones.build(self.config, self.num_items, self.devices.look_up)

    def of_update(self) -> "Task":
        """Returns the task with the options alone that an update depends on."""
        return dataclasses.replace(self, config=of_update(self.config))

    @property
    def queries_per_batch(self) -> int:
        """Queries of a batch, padding included: they decide whether all logits fit."""
        return self.rows * self.queries

    def catalogue_block(self, items: int) -> int:
        """Chooses how many of ``items`` are scored at a time: all, if `train.logits_gib` has room.

        The budget is that of every device. Where the logits do not fit, a block holds less than the
        items of a device: a block of them all would be kept.
        """
        train, method = self.config.train, self.config.method
        scored = method.steps + 1 if METHODS[method.name].scores_steps else 1
        # Logits and their gradient are alive at the same time.
        logits = 2 * 4 * self.queries_per_batch * scored * items / self.devices.count
        if logits / 2**30 <= train.logits_gib:
            return items
        return min(train.catalogue_block, math.ceil(items / self.devices.model / 2))

    def query_block(self, choices: int) -> int:
        """Chooses the queries of a block of the cross-entropy over ``choices``; 0 is no blocks."""
        if self.devices.mesh is not None:
            return 0
        return fused.rows_a_block(choices, self.config.train.logits_gib)
