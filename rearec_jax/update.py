"""One optimizer update: the state before it, the state after it."""

from collections.abc import Callable
import functools
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Int, PyTree
import optax

from rearec_jax import objectives, sampling, sharding
from rearec_jax.config import Config
from rearec_jax.models.backbones import Backbone, Variables, initialise
from rearec_jax.objectives import Numbers
from rearec_jax.types import Batch, Catalogue, PRNGKey


class TrainState(NamedTuple):
    """All that an update changes."""

    step: Int[Array, ""]
    variables: Variables
    optimizer: optax.OptState


UpdateFunction = Callable[[TrainState, Batch], tuple[TrainState, dict[str, Array]]]
PureUpdate = Callable[[TrainState, Batch, Catalogue], tuple[TrainState, dict[str, Array]]]


def initial_state(
    config: Config,
    model: Backbone,
    transform: optax.GradientTransformation,
    catalogue: Catalogue,
    mesh: Mesh | None = None,
) -> TrainState:
    """Parameters and moments before the first update, from ``config.seed``."""
    return state_maker(config, model, transform, catalogue, mesh)()


def state_maker(
    config: Config,
    model: Backbone,
    transform: optax.GradientTransformation,
    catalogue: Catalogue,
    mesh: Mesh | None = None,
) -> Callable[[], TrainState]:
    """Makes `initial_state` again and again; compiled once.

    On a mesh each device makes its part: the state is never whole on one of them.
    """

    def create(key: PRNGKey, catalogue: Catalogue) -> TrainState:
        variables = initialise(model, key, catalogue.text)
        return TrainState(jnp.zeros((), jnp.int32), variables, transform.init(variables))

    key = jax.random.key(config.seed)
    if mesh is None:
        return functools.partial(jax.jit(create), key, catalogue)
    shardings = sharding.shardings(mesh, jax.eval_shape(create, key, catalogue))
    return functools.partial(jax.jit(create, out_shardings=shardings), key, catalogue)


def update_function(
    config: Config,
    model: Backbone,
    transform: optax.GradientTransformation,
    num_items: int,
    queries: int,
    contrast: bool,
    catalogue: Catalogue,
    mesh: Mesh | None = None,
    rows: int | None = None,
) -> UpdateFunction:
    """One optimizer update as a pure function, jitted, its state donated.

    The catalogue is an argument of the compiled program, not a constant in it.

    Randomness of update t is fold_in(key(seed), t): a resumed run draws what it would have drawn.

    Args:
        mesh: devices that share the update; None: one device.
        rows: of a batch; what comes after them fills the mesh up, and is cut off before anything is
            drawn: the same update on every mesh.
    """
    update = one_update(config, model, transform, num_items, queries, contrast, mesh, rows)
    return functools.partial(jax.jit(update, donate_argnums=0), catalogue=catalogue)


def one_update(
    config: Config,
    model: Backbone,
    transform: optax.GradientTransformation,
    num_items: int,
    queries: int,
    contrast: bool,
    mesh: Mesh | None = None,
    rows: int | None = None,
    numbers: Numbers | None = None,
) -> PureUpdate:
    """What `update_function` compiles.

    Args:
        numbers: in place of the configuration's; they may be traced.
    """
    dense = objectives.build(model, config, num_items, queries, contrast, mesh, numbers)

    def update(
        state: TrainState, batch: Batch, catalogue: Catalogue
    ) -> tuple[TrainState, dict[str, Array]]:
        key = jax.random.fold_in(jax.random.key(config.seed), state.step)
        if mesh is not None:
            batch = jax.tree.map(lambda array: array[:rows], batch)
        if not config.train.lazy_adam:
            return placed(*_apply(transform, dense, state, batch, catalogue, key))
        # The whole update on the rows that it touches: their moments, too, are those of the rest.
        small = sampling.small_catalogue(config.train, catalogue, batch, num_items, key)
        objective = objectives.on_sample(config, small, contrast, mesh, numbers)
        local, parts = _apply(
            transform,
            objective,
            small.touched.take(state),
            small.batch,
            small.catalogue,
            small.sample,
            key,
        )
        return placed(small.touched.put(state, local), parts)

    def placed(state: TrainState, parts: dict[str, Array]) -> tuple[TrainState, dict[str, Array]]:
        if mesh is None:
            return state, parts
        both = state, parts
        return jax.lax.with_sharding_constraint(both, sharding.shardings(mesh, both))

    return update


def _apply(
    transform: optax.GradientTransformation,
    objective: Callable[..., tuple[Array, dict[str, Array]]],
    state: TrainState,
    *inputs: PyTree,
) -> tuple[TrainState, dict[str, Array]]:
    """Gradient of ``objective(variables, *inputs)``, and the optimizer's step along it."""
    gradient = jax.value_and_grad(objective, has_aux=True)
    (_, parts), gradients = gradient(state.variables, *inputs)
    with jax.numpy_dtype_promotion("standard"):  # Optax mixes types where ours is strict
        updates, moments = transform.update(gradients, state.optimizer, state.variables)
    variables = cast(Variables, optax.apply_updates(state.variables, updates))
    return TrainState(state.step + 1, variables, moments), parts


@jax.jit
def all_finite(tree: PyTree) -> Bool[Array, ""]:
    """No NaN and no infinity in any array."""
    numbers = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.inexact)]
    return jnp.stack([jnp.isfinite(x).all() for x in numbers]).all()
