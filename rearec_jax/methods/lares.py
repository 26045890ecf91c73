"""The method `lares`: each step refines the states of all items by the same layers.

Liu et al. 2025, arXiv 2505.16865, without its policy optimisation. H are the encoder's states, T_0
is noise in training and 0 otherwise, T_i = core(LN((T_{i-1} + H) / 2)), and T_i of the last item
represents the user after i steps. In training each query takes a random number d of steps:

    loss = CE(T_d) + trajectory_weight * InfoNCE(T_d, T_d of another history of the same target)
                   + step_weight * InfoNCE(T_i, T_d),    i < d at random (T_0: H)
"""

import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int
import numpy as np

from rearec_jax.losses.progressive import Negatives
from rearec_jax.methods.method import Method
from rearec_jax.methods.reasoned import Parts, Reasoned

SPREAD = 0.5  # the standard deviation of the logarithm of the Poisson distribution's mean


@functools.cache
def depth_probabilities(mean: float, most: int) -> tuple[float, ...]:
    """Returns the probabilities of 1 .. ``most`` steps: 1 + Poisson(exp(normal)), capped.

    The Poisson distribution's mean is log-normal (Geiping et al. 2025, arXiv 2502.05171), so that
    the mean number of steps is ``mean`` but for the cap.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(64)
    log_rate = math.log(max(mean - 1, 1e-6)) - SPREAD**2 / 2 + SPREAD * nodes
    counts = np.arange(most - 1)
    log_factorials = np.cumsum(np.log(np.maximum(counts, 1)))
    log_poisson = counts[:, None] * log_rate - np.exp(log_rate) - log_factorials[:, None]
    below = np.exp(log_poisson) @ (weights / weights.sum())
    return (*below.tolist(), 1 - float(below.sum()))


def draw_depths(key: Array, count: int, mean: float, most: int) -> Int[Array, " M"]:
    """Draws a number of steps for each of ``count`` queries, from 1 to ``most``."""
    below = np.cumsum(depth_probabilities(mean, most))[:-1]
    uniform = jax.random.uniform(key, (count, 1))
    return 1 + jnp.sum(uniform >= jnp.asarray(below, uniform.dtype)[None], axis=1)


def partners(
    targets: Int[Array, " M"], weights: Float[Array, " M"]
) -> tuple[Int[Array, " M"], Bool[Array, " M"]]:
    """Finds for each query the next one with the same target; of the last one, the first.

    Returns:
        Its index, and whether it is another query, and a real one.
    """
    count = targets.shape[0]
    keys = jnp.where(weights > 0, targets, -1)
    order = jnp.argsort(keys)
    sorted_keys = keys[order]
    first = jnp.searchsorted(sorted_keys, sorted_keys)
    place = jnp.arange(count)
    following = jnp.minimum(place + 1, count - 1)
    same = (sorted_keys[following] == sorted_keys) & (following != place)
    partner = jnp.zeros_like(order).at[order].set(order[jnp.where(same, following, first)])
    return partner, (partner != place) & (weights > 0)


def objective(reasoned: Reasoned) -> Parts:
    """Computes the cross-entropy after a random number of steps, and the two contrasts."""
    options, states, batch = reasoned.options, reasoned.states, reasoned.batch
    count, most = states.shape[0], states.shape[1] - 1
    assert reasoned.key is not None
    keys = jax.random.split(reasoned.key)
    depths = draw_depths(keys[0], count, options.mean_steps, most)
    queries = jnp.arange(count)
    user = states[queries, depths]
    loss = reasoned.cross_entropy(user)
    parts = {"cross_entropy": loss}
    if options.trajectory_weight > 0:
        partner, found = partners(batch.targets, batch.weights)
        weights = jnp.where(found, reasoned.weights, 0)
        # Histories of the same target are no negatives of each other.
        others = Negatives(batch.targets, batch.weights > 0)
        value = reasoned.contrast(user, user[partner], others, weights)
        parts["trajectory_contrast"] = value
        loss += jnp.asarray(options.trajectory_weight, loss.dtype) * value
    if options.step_weight > 0:
        share = jax.random.uniform(keys[1], (count,))
        earlier = (share * depths.astype(share.dtype)).astype(depths.dtype)  # rounded down
        value = reasoned.contrast(states[queries, earlier], user)
        parts["step_contrast"] = value
        loss += jnp.asarray(options.step_weight, loss.dtype) * value
    return {"loss": loss, **parts}


METHOD = Method(
    label="+LARES",
    sentence="The last step represents the user; a step refines the states of all items by layers"
    " of its own; cross-entropy after a random number of steps.",
    objective=objective,
    options=(
        "method.core_layers",
        "method.mean_steps",
        "method.start_noise",
        "method.trajectory_weight",
        "method.step_weight",
        "method.negatives",
    ),
    search={
        "method.trajectory_weight": ("0", "0.1", "0.3"),
        "method.step_weight": ("0", "0.1", "0.5"),
        "method.mean_steps": ("2", "4"),
    },
    step_positions=False,
    refines=True,
)
