"""The set-up of a training: all that it is made of, before anything is computed."""

from collections.abc import Callable, Iterator
import itertools
import logging
from typing import NamedTuple

import jax
import numpy as np
import optax

from rearec_jax.config import Config
from rearec_jax.data import item_features
from rearec_jax.data.batches.cloze import Masking
from rearec_jax.data.batches.loader import (
    BatchSize,
    TrainingBatches,
    place,
    prefetch,
    training_batches,
)
from rearec_jax.data.batches.packing import Share
from rearec_jax.data.interactions import TRAIN, VALIDATION, Interactions
from rearec_jax.data.item_vectors.vectors import unit_scale
from rearec_jax.devices.mesh import ONE, Devices, make_devices, placed
from rearec_jax.errors import UserError
from rearec_jax.evaluation import evaluator
from rearec_jax.evaluation.evaluator import Evaluator
from rearec_jax.methods import METHODS
from rearec_jax.training import catalogue_sample, optimizer
from rearec_jax.training.history import History
from rearec_jax.training.step import TrainState, UpdateFunction, initial_state, update_function
from rearec_jax.training.task import Task
from rearec_jax.types import Batch, Catalogue, Features


class Shared(NamedTuple):
    """The programs that several set-ups share, so that they are compiled once."""

    update_function: Callable[[bool], UpdateFunction]
    initial_state: Callable[[], TrainState]


class Setup(NamedTuple):
    """All that does not change during a training; steps count the updates of the whole run.

    task:        The model and the shape of its batches.
    batches:     The batches of every epoch.
    transform:   The optimizer.
    catalogue:   What an update reads of the items.
    validate:    The evaluator of the validation split.
    total_steps: The update at which the run ends if it does not stop early.
    shared:      Programs that were compiled for several set-ups; None: this one compiles its own.
    """

    task: Task
    batches: TrainingBatches
    transform: optax.GradientTransformation
    catalogue: Catalogue
    validate: Evaluator
    total_steps: int
    shared: Shared | None = None

    @property
    def config(self) -> Config:
        """The options of the run."""
        return self.task.config

    @property
    def steps_per_epoch(self) -> int:
        """The updates of an epoch; `max_steps` may cut the last epoch short."""
        return self.batches.steps_per_epoch

    def epoch_of(self, step: int) -> int:
        """Returns the epoch, from 1, that update ``step`` (from 1) belongs to."""
        return -(-step // self.steps_per_epoch)

    def epoch_ends(self, step: int) -> bool:
        """Says whether ``step`` is the last update of its epoch."""
        return step % self.steps_per_epoch == 0 or step >= self.total_steps

    def epochs_done(self, step: int) -> int:
        """Counts the epochs whose updates are all done after ``step`` updates."""
        return self.epoch_of(step) - (not self.epoch_ends(step))

    def step_after(self, epochs: int) -> int:
        """Counts the updates of so many epochs; fewer where the run ends within the last."""
        return min(epochs * self.steps_per_epoch, self.total_steps)

    def ends(self, step: int, history: History) -> bool:
        """Says whether the whole training is over, by its length or by its patience."""
        patience = self.config.train.patience
        stale = history.epochs - history.best_epoch
        return step >= self.total_steps or bool(patience and stale >= patience)

    def rest_of_epoch(self, step: int) -> Iterator[tuple[Batch, int]]:
        """Yields the epoch's batches after ``step`` updates, prefetched to the devices.

        With each comes the number of its targets, on all hosts.
        """
        epoch_end = (step // self.steps_per_epoch + 1) * self.steps_per_epoch
        left = min(epoch_end, self.total_steps) - step
        share = self.share
        # Of other hosts' rows this one knows nothing; on average they hold as many targets.
        parts = share.total / (share.stop - share.start) if share else 1
        numbered = itertools.islice(self.batches.from_step(step, share), left)
        split = self.task.devices.rows
        with_targets = ((b, round(parts * np.count_nonzero(b.weights))) for b in numbered)
        yield from prefetch(with_targets, sharding=split, share=share)

    @property
    def share(self) -> Share | None:
        """The rows of each batch that this host packs; None: all of them."""
        devices = self.task.devices
        if devices.mesh is None:
            return None
        return Share(*devices.share_of_rows(self.batches.rows_per_batch))

    def first_batches(self, count: int) -> list[Batch]:
        """Returns the first ``count`` batches of the run, on the devices."""
        share, split = self.share, self.task.devices.rows
        numbered = itertools.islice(self.batches.from_step(share=share), count)
        return [place(batch, split, share) for batch in numbered]

    def contrast(self, step: int) -> bool:
        """Says whether the update after ``step`` updates computes the contrastive term."""
        method = self.config.method
        epoch = step // self.steps_per_epoch
        is_warm = epoch >= method.contrastive_warmup_epochs
        return is_warm and METHODS[method.name].noisy_view(method)

    def update_function(self, contrast: bool) -> UpdateFunction:
        """Returns the update: a new one, or the shared one; it is compiled when first called."""
        if self.shared is not None:
            return self.shared.update_function(contrast)
        return update_function(self.task, self.transform, self.catalogue, contrast)

    def initial_state(self) -> TrainState:
        """Makes parameters and moments before the first update."""
        if self.shared is not None:
            return self.shared.initial_state()
        return initial_state(self.task, self.transform, self.catalogue)


def make_setup(config: Config, data: Interactions) -> Setup:
    """Makes the set-up of a training.

    Raises:
        UserError: no example is left to train on, or warm-up takes the whole run.
    """
    devices = make_devices(config.mesh.data, config.mesh.model)
    devices.check_catalogue(data.num_items)
    batches = _batches(config, data)
    rows, _, queries = batches.shape
    task = Task(config, data.num_items, rows, queries, devices)
    total_steps = config.train.epochs * batches.steps_per_epoch
    if config.train.max_steps:
        total_steps = min(total_steps, config.train.max_steps)
    if config.train.schedule == "cosine" and config.train.warmup_steps >= total_steps:
        raise UserError(
            f"train.warmup_steps={config.train.warmup_steps} leaves nothing of the run's"
            f" {total_steps} updates for train.schedule=cosine; choose fewer"
        )
    transform = optimizer.build(config.train, total_steps)
    catalogue = _catalogue(config, data, batches, devices)
    validate = evaluator.make_evaluator(
        task.model, config, data, VALIDATION, catalogue.text, devices
    )
    if not validate.batches.examples:
        logging.warning(
            "the data have no validation target: no epoch is chosen, and nothing stops the training"
            " before train.epochs=%d",
            config.train.epochs,
        )
    return Setup(task, batches, transform, catalogue, validate, total_steps)


def item_inputs(data: Interactions, devices: Devices = ONE) -> jax.Array | Features | None:
    """Places what the item encoder reads on the devices: features, or scaled text vectors.

    None where it reads neither.
    """
    if data.item_features is not None:
        features = item_features.numbered(data.item_features, data.num_items)
        return jax.tree.map(lambda part: placed(part, devices.table(part.shape)), features)
    if data.item_vectors is None:
        return None
    scaled = data.item_vectors * np.float32(unit_scale(data.item_vectors))
    return placed(scaled, devices.table(scaled.shape))


def _catalogue(
    config: Config, data: Interactions, batches: TrainingBatches, devices: Devices
) -> Catalogue:
    text = item_inputs(data, devices)
    if config.train.loss == "full":
        return Catalogue(text=text, neighbours=_neighbours(config, data, devices))
    if config.train.loss == "in_batch":
        expected = batches.expected_targets()[: len(data.items)]
        shares = catalogue_sample.log_shares(np.bincount(data.items, expected, data.num_items))
        return Catalogue(text, log_probability=placed(shares, devices.whole))
    counts = data.target_counts(TRAIN)
    drawn = catalogue_sample.distribution(counts, config.train.sampling_power)
    cumulative = placed(drawn.cumulative, devices.whole)
    return Catalogue(text, cumulative, placed(drawn.log_probability, devices.whole))


def _neighbours(config: Config, data: Interactions, devices: Devices) -> jax.Array | None:
    """Places the nearest items of each item on the devices; None where the method reads none."""
    count = METHODS[config.method.name].neighbours(config.method)
    if not count:
        return None
    from rearec_jax.data.neighbours import neighbours  # scipy, which other methods do not need

    return placed(neighbours(config, data, count), devices.whole)


def _batches(config: Config, data: Interactions) -> TrainingBatches:
    train = config.train
    masking = Masking(data.num_items, train.mask_rate, train.mask_last_only)
    return training_batches(
        data.sequences,
        BatchSize(config.model.max_length, train.batch_size, train.rows_multiple),
        stride=train.stride,
        prefixes=config.model.attention == "bidirectional",
        masking=masking if train.objective == "cloze" else None,
        seed=config.seed,
    )
