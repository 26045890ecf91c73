"""The training loop: one for every method and backbone."""

from collections.abc import Callable
import dataclasses
import itertools
import math
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int
import optax

from rearec_jax import evaluate, objectives, optimizer
from rearec_jax.checkpoint import Checkpoints
from rearec_jax.config import Config
from rearec_jax.data.interactions import VALIDATION, Interactions
from rearec_jax.data.loader import TrainingBatches, prefetch, training_batches
from rearec_jax.errors import UserError
from rearec_jax.interruption import Interruption
from rearec_jax.models import backbones
from rearec_jax.models.backbones import Backbone, Variables
from rearec_jax.progress import TrainingProgress
from rearec_jax.types import Batch, PRNGKey
from rearec_jax.workdir import EventLog, Workdir

SELECTION = "ndcg@20"  # the validation metric that chooses the best epoch


class TrainState(NamedTuple):
    """All that an update changes."""

    step: Int[Array, ""]
    variables: Variables
    optimizer: optax.OptState


@dataclasses.dataclass
class History:
    """What the loop knows besides the state; kept in every checkpoint."""

    epochs: int = 0  # finished, validation included
    best: float = -1.0  # validation NDCG@20, unrounded
    best_epoch: int = 0  # counted from 1; 0 = none yet
    seconds: float = 0.0  # of training, validation and start-up aside
    targets: int = 0  # trained on in those seconds
    seconds_to_first_step: float = 0.0


class Outcome(NamedTuple):
    """A finished training."""

    variables: Variables  # of the best epoch
    history: History


UpdateFunction = Callable[[TrainState, Batch], tuple[TrainState, dict[str, Array]]]


def train(
    config: Config, data: Interactions, workdir: Workdir, started: float
) -> Outcome:
    """Trains until the epochs or the patience are used up; continues what the work directory holds.

    Args:
        started: `time.perf_counter()` at the start of the process, for `seconds_to_first_step`.
    Raises:
        UserError: a loss that is not finite, or no validation example.
        KeyboardInterrupt: after Ctrl-C or SIGTERM, with everything saved.
    """
    model = backbones.build(config, data.num_items)
    batches = _batches(config, data)
    transform = optimizer.build(config.train, batches.steps_per_epoch)
    with Checkpoints(workdir.checkpoints) as checkpoints, EventLog(workdir) as log:
        loop = _Loop(config, data, model, batches, transform, checkpoints, log, started)
        return loop.run()


def initial_state(
    config: Config, model: Backbone, transform: optax.GradientTransformation
) -> TrainState:
    """Parameters and moments before the first update, from ``config.seed``."""

    def create(key: PRNGKey) -> TrainState:
        variables = model.init(key)
        return TrainState(jnp.zeros((), jnp.int32), variables, transform.init(variables))

    return jax.jit(create)(jax.random.key(config.seed))


def abstract_state(config: Config, model: Backbone, data: Interactions) -> TrainState:
    """Shapes and types of the state, to restore a checkpoint into."""
    transform = optimizer.build(config.train, _batches(config, data).steps_per_epoch)
    return jax.eval_shape(lambda: initial_state(config, model, transform))


def update_function(
    config: Config,
    model: Backbone,
    transform: optax.GradientTransformation,
    num_items: int,
    queries: int,
    contrast: bool = True,
) -> UpdateFunction:
    """One optimizer update as a pure function, jitted, its state donated.

    Randomness of update t is fold_in(key(seed), t): a resumed run draws what it would have drawn.
    """
    objective = objectives.build(model, config, num_items, queries, contrast)

    def update(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Array]]:
        key = jax.random.fold_in(jax.random.key(config.seed), state.step)
        gradient = jax.value_and_grad(objective, has_aux=True)
        (_, parts), gradients = gradient(state.variables, batch, key)
        updates, moments = transform.update(gradients, state.optimizer, state.variables)
        variables = optax.apply_updates(state.variables, updates)
        return TrainState(state.step + 1, variables, moments), parts

    return jax.jit(update, donate_argnums=0)


def _batches(config: Config, data: Interactions) -> TrainingBatches:
    return training_batches(
        data.items,
        data.offsets,
        data.split,
        max_length=config.model.max_length,
        batch_size=config.train.batch_size,
        stride=config.train.stride,
        seed=config.seed,
    )


class _Loop:
    """One training from start or checkpoint to end. Only `run` is called from outside."""

    def __init__(
        self,
        config: Config,
        data: Interactions,
        model: Backbone,
        batches: TrainingBatches,
        transform: optax.GradientTransformation,
        checkpoints: Checkpoints,
        log: EventLog,
        started: float,
    ):
        self.config, self.model, self.batches = config, model, batches
        self.checkpoints, self.log, self.started = checkpoints, log, started
        self.transform = transform
        self.num_items = data.num_items
        self.updates: dict[bool, UpdateFunction] = {}
        self.validate = evaluate.evaluator(model, config, data, VALIDATION)
        if not self.validate.batches.examples:
            raise UserError("there is no validation example; change data.split or the filters")
        self.total_steps = config.train.epochs * batches.steps_per_epoch
        if config.train.max_steps:
            self.total_steps = min(self.total_steps, config.train.max_steps)

    def run(self) -> Outcome:
        """Epochs until done; the best epoch's variables."""
        state, history, step = self._restore()
        progress = TrainingProgress(self.total_steps, self.config.train.epochs, start_step=step)
        with Interruption() as interruption, progress:
            while not self._finished(step, history):
                state, step = self._epoch(state, step, history, progress, interruption)
                if interruption.requested and not self._epoch_ended(step):
                    self._save_last(state, step, history)
                    break
                self._end_epoch(state, step, history, progress)
                if interruption.requested:
                    break
        self.checkpoints.wait()
        if interruption.requested and not self._finished(step, history):
            raise KeyboardInterrupt
        best = self.checkpoints.restore_best(jax.eval_shape(lambda: state))
        return Outcome((best[0] if best else state).variables, history)

    def _restore(self) -> tuple[TrainState, History, int]:
        state = initial_state(self.config, self.model, self.transform)
        found = self.checkpoints.restore_last(jax.eval_shape(lambda: state))
        if found is None:
            self.log.truncate_after(-1)
            return state, History(), 0
        state, record = found
        step = int(state.step)
        self.log.truncate_after(step)
        return state, History(**record), step

    def _finished(self, step: int, history: History) -> bool:
        patience = self.config.train.patience
        stale = history.epochs - history.best_epoch
        return step >= self.total_steps or bool(patience and stale >= patience)

    def _epoch_ended(self, step: int) -> bool:
        return step % self.batches.steps_per_epoch == 0 or step >= self.total_steps

    def _epoch(
        self,
        state: TrainState,
        step: int,
        history: History,
        progress: TrainingProgress,
        interruption: Interruption,
    ) -> tuple[TrainState, int]:
        """Updates until the epoch (or the run) ends, or a signal asks to stop."""
        epoch, done = divmod(step, self.batches.steps_per_epoch)
        left = min(self.batches.steps_per_epoch - done, self.total_steps - step)
        update = self._update(epoch)
        meter = _Meter(self, history, progress, epoch, step)
        saved = time.monotonic()
        for batch in prefetch(itertools.islice(self.batches.from_step(step), left)):
            state, parts = update(state, batch)
            step += 1
            meter.dispatched(step, parts)
            if interruption.requested:
                break
            if time.monotonic() - saved > 60 * self.config.train.checkpoint_minutes:
                meter.settle()
                self._save_last(state, step, history)
                saved = time.monotonic()
        meter.settle()
        return state, step

    def _update(self, epoch: int) -> UpdateFunction:
        """Traced once; twice where the contrastive term starts later."""
        contrast = epoch >= self.config.method.contrastive_warmup_epochs
        if contrast not in self.updates:
            rows, _, queries = self.batches.shape
            self.updates[contrast] = update_function(
                self.config, self.model, self.transform, self.num_items, rows * queries, contrast
            )
        return self.updates[contrast]

    def _end_epoch(
        self, state: TrainState, step: int, history: History, progress: TrainingProgress
    ) -> None:
        """Validate, keep the best, save, log."""
        ranks = self.validate(state.variables)
        results = evaluate.report(ranks, self.config.eval.cutoffs, "valid")
        history.epochs += 1
        metrics: dict[str, float] = results["valid"]  # type: ignore[assignment]
        score = metrics.get(SELECTION) or evaluate.metrics(ranks.final, (20,))[SELECTION]
        better = score > history.best
        if better:
            history.best, history.best_epoch = score, history.epochs
            self.checkpoints.save_best(step, state, dataclasses.asdict(history))
        self._save_last(state, step, history)
        by_step = {f"step_{r['step']}": r[SELECTION] for r in results["valid_by_step"]}  # type: ignore
        self.log.append(
            {
                "step": step,
                "epoch": history.epochs,
                "kind": "validation",
                "valid": metrics,
                f"valid_{SELECTION}_by_step": by_step,
                "seconds": history.seconds,
            }
        )
        note = "best so far" if better else f"best {history.best:.4f} at {history.best_epoch}"
        progress.message(f"epoch {history.epochs}: validation NDCG@20 {score:.4f}, {note}")

    def _save_last(self, state: TrainState, step: int, history: History) -> None:
        self.checkpoints.save_last(step, state, dataclasses.asdict(history))


class _Meter:
    """Loss parts and speed of an epoch, one update behind so that the device never waits."""

    def __init__(
        self, loop: _Loop, history: History, progress: TrainingProgress, epoch: int, step: int
    ):
        self.loop, self.history, self.progress, self.epoch = loop, history, progress, epoch
        self.pending: tuple[int, dict[str, Array]] | None = None
        self.clock = time.perf_counter()
        self.first = step == 0 or history.seconds_to_first_step == 0.0
        self.recent: list[tuple[float, int]] = []
        self.targets = loop.batches.targets_per_epoch / loop.batches.steps_per_epoch

    def dispatched(self, step: int, parts: dict[str, Array]) -> None:
        """Update ``step`` is on its way: look at the one before it."""
        self.settle()
        self.pending = (step, parts)

    def settle(self) -> None:
        """Wait for the update on its way; raise if its loss is not finite."""
        if self.pending is None:
            return
        step, arrays = self.pending
        self.pending = None
        parts = {name: float(value) for name, value in jax.device_get(arrays).items()}
        self._check(step, parts)
        now = time.perf_counter()
        if self.first:  # compilation is not training time
            self.history.seconds_to_first_step = now - self.loop.started
            self.first = False
        else:
            self.history.seconds += now - self.clock
            self.history.targets += round(self.targets)
            self.recent = [*self.recent[-19:], (now - self.clock, round(self.targets))]
        self.clock = now
        self._show(step, parts)

    def _check(self, step: int, parts: dict[str, float]) -> None:
        if not math.isfinite(parts["loss"]):
            raise UserError(
                f"the loss is {parts['loss']} at step {step} (epoch {self.epoch + 1}); the last good"
                " checkpoint is kept. Try a lower train.learning_rate, train.clip_norm=1,"
                " train.warmup_steps=500, or a higher method.temperature"
            )

    def _show(self, step: int, parts: dict[str, float]) -> None:
        seconds = sum(s for s, _ in self.recent)
        speed = sum(n for _, n in self.recent) / seconds if seconds else 0.0
        self.progress.update(step, self.epoch + 1, parts, speed)
        if step % self.loop.config.train.log_every_steps == 0 or self.loop._epoch_ended(step):
            self.loop.log.append(
                {
                    "step": step,
                    "epoch": self.epoch + 1,
                    "kind": "training",
                    "parts": parts,
                    "targets_per_second": speed,
                }
            )
