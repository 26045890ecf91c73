"""What is trained on what: all that an update's program depends on, but the arrays."""

import dataclasses
import functools

from jax.sharding import Mesh

from rearec_jax.config import Config
from rearec_jax.devices import table_rows
from rearec_jax.models import backbones
from rearec_jax.models.backbones import Backbone


def build_model(config: Config, num_items: int, mesh: Mesh | None) -> Backbone:
    """Builds the backbone that the options name; its items may lie on several devices."""
    return backbones.build(config, num_items, functools.partial(table_rows.rows, mesh=mesh))


@dataclasses.dataclass(frozen=True)
class Task:
    """A model to train on batches of one shape, on the devices that share the work.

    config:    The options of the run.
    num_items: Items of the catalogue, N.
    rows:      Rows of a batch, before any that fill a mesh up.
    queries:   Queries of a row, padding included.
    mesh:      The devices that share rows and catalogue; None: one device does it all.
    """

    config: Config
    num_items: int
    rows: int
    queries: int
    mesh: Mesh | None = None

    @functools.cached_property
    def model(self) -> Backbone:
        """The backbone, whose items may lie on several devices."""
        return build_model(self.config, self.num_items, self.mesh)

    @property
    def queries_per_batch(self) -> int:
        """Queries of a batch, padding included: they decide whether all logits fit."""
        return self.rows * self.queries
