"""One optimizer update, as a pure function from the state before it to the state after it."""

from collections.abc import Callable
import functools
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PyTree
import optax

from rearec_jax.methods.reasoned import Numbers
from rearec_jax.models.backbones import Named, Variables, initialise, named
from rearec_jax.ops import random_arrays
from rearec_jax.training import catalogue_sample, objective
from rearec_jax.training.task import Task
from rearec_jax.types import Batch, Catalogue, PRNGKey

PROGRAMS = 8  # that are kept for trainings to come


class TrainState(NamedTuple):
    """The state that an update changes.

    step:      The number of updates so far.
    variables: The parameters of the model.
    optimizer: The moments of the optimizer.
    """

    step: Int[Array, ""]
    variables: Variables
    optimizer: optax.OptState


UpdateFunction = Callable[[TrainState, Batch], tuple[TrainState, dict[str, Array]]]
PureUpdate = Callable[[TrainState, Batch, Catalogue], tuple[TrainState, dict[str, Array]]]


def initial_state(
    task: Task, transform: optax.GradientTransformation, catalogue: Catalogue
) -> TrainState:
    """Makes parameters and moments before the first update, from ``config.seed``."""
    return state_maker(task, transform, catalogue)()


def state_maker(
    task: Task, transform: optax.GradientTransformation, catalogue: Catalogue
) -> Callable[[], TrainState]:
    """Returns a function that makes `initial_state` again and again; compiled once.

    On a mesh each device makes its part: the state is never whole on one of them.
    """
    key = random_arrays.key_of_seed(task.config.seed)
    create = _compiled_state(task.of_update(), named(task.config), transform)
    if task.devices.mesh is None:
        return functools.partial(create, key, catalogue)
    shardings = task.devices.state(jax.eval_shape(create, key, catalogue))
    return functools.partial(jax.jit(create, out_shardings=shardings), key, catalogue)


@functools.lru_cache(maxsize=PROGRAMS)
def _compiled_state(
    task: Task, named: Named, transform: optax.GradientTransformation
) -> Callable[[PRNGKey, Catalogue], TrainState]:
    @jax.jit
    def create(key: PRNGKey, catalogue: Catalogue) -> TrainState:
        variables = initialise(task.model, key, catalogue.text)
        return TrainState(jnp.zeros((), jnp.int32), variables, transform.init(variables))

    return create


def update_function(
    task: Task,
    transform: optax.GradientTransformation,
    catalogue: Catalogue,
    contrast: bool,
) -> UpdateFunction:
    """Compiles one optimizer update, a pure function whose state is donated.

    Trainings whose updates are the same share it. The catalogue is an argument of the compiled
    program, not a constant in it.

    Randomness of update t is fold_in(key(seed), t): a resumed run draws what it would have drawn.

    Args:
        task: what is trained.
        transform: the optimizer.
        catalogue: what an update reads of the items.
        contrast: False where the noisy view is not computed.
    """
    update = compiled_update(task.of_update(), named(task.config), transform, contrast)
    return functools.partial(update, catalogue=catalogue)


@functools.lru_cache(maxsize=PROGRAMS)
def compiled_update(
    task: Task, named: Named, transform: optax.GradientTransformation, contrast: bool
) -> Callable[..., tuple[TrainState, dict[str, Array]]]:
    """Compiles `one_update`, once in a process for equal arguments."""
    return jax.jit(one_update(task, transform, contrast), donate_argnums=0)


def one_update(
    task: Task,
    transform: optax.GradientTransformation,
    contrast: bool,
    numbers: Numbers | None = None,
) -> PureUpdate:
    """Makes what `update_function` compiles.

    Rows that fill a mesh up are cut off before anything is drawn: the update is the same on every
    mesh.

    Args:
        task: what is trained.
        transform: the optimizer.
        contrast: False where the noisy view is not computed.
        numbers: temperature and weights in place of the configuration's; they may be traced.
    """
    config = task.config
    dense = objective.build(task, contrast, numbers)

    def update(
        state: TrainState, batch: Batch, catalogue: Catalogue
    ) -> tuple[TrainState, dict[str, Array]]:
        key = jax.random.fold_in(random_arrays.key_of_seed(config.seed), state.step)
        if task.devices.mesh is not None:
            batch = jax.tree.map(lambda array: array[: task.rows], batch)
        if not config.train.lazy_adam:
            return task.devices.constrained(_apply(transform, dense, state, batch, catalogue, key))
        # The whole update on the rows that it touches: their moments, too, are those of the rest.
        small = catalogue_sample.small_catalogue(
            config.train, catalogue, batch, task.num_items, key
        )
        local, parts = _apply(
            transform,
            objective.on_sample(task, small, contrast, numbers),
            small.touched.take(state),
            small.batch,
            small.catalogue,
            small.sample,
            key,
        )
        return task.devices.constrained((small.touched.put(state, local), parts))

    return update


def _apply(
    transform: optax.GradientTransformation,
    objective: Callable[..., tuple[Array, dict[str, Array]]],
    state: TrainState,
    *inputs: PyTree,
) -> tuple[TrainState, dict[str, Array]]:
    """Computes the gradient of ``objective(variables, *inputs)`` and the optimizer's step."""
    gradient = jax.value_and_grad(objective, has_aux=True)
    (_, parts), gradients = gradient(state.variables, *inputs)
    with jax.numpy_dtype_promotion("standard"):  # Optax mixes types where ours is strict
        updates, moments = transform.update(gradients, state.optimizer, state.variables)
    variables = cast(Variables, optax.apply_updates(state.variables, updates))
    return TrainState(state.step + 1, variables, moments), parts


@jax.jit
def all_finite(tree: PyTree) -> Bool[Array, ""]:
    """Says whether no array holds a NaN or an infinity."""
    numbers = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.inexact)]
    return jnp.stack([jnp.isfinite(x).all() for x in numbers]).all()
