"""The method `mancar`: every step learns from a teacher that narrows with depth (ManCAR).

The teacher of step k prefers the target, and after it the items near the last one, by rank
(Yang et al. 2026, arXiv 2602.20093, whose context of near items before the history is left out):

    loss = sum over steps of CE_k at tau * (k + 1)^power + teacher_weight * KL(q_k || p_k),
    q_k  = softmax(-rank / gamma_k),    gamma_k = gamma * (K - k + 1)
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rearec_jax.losses import teacher
from rearec_jax.losses.similarity import comparable
from rearec_jax.methods.method import Method
from rearec_jax.methods.options import MethodConfig
from rearec_jax.methods.reasoned import Parts, Reasoned
from rearec_jax.methods.unroll import Unroll, Weights


def has_teacher(options: MethodConfig) -> bool:
    """Says whether the loss has the teacher: a weight of 0 leaves it out of the program."""
    return options.teacher_weight > 0


def neighbours(options: MethodConfig) -> int:
    """Returns how many near items are read: one more than named, as the target may be one."""
    return options.teacher_neighbours + 1 if has_teacher(options) else 0


def weights(options: MethodConfig, width: int) -> dict[str, tuple[int, ...]]:
    """Names phi - 1, where states are rescaled."""
    return {"state_scale": ()} if options.rescale else {}


def rescaled(
    states: Float[Array, "*tokens D"], table: Float[Array, "N D"], weights: Weights
) -> Float[Array, "*tokens D"]:
    """Computes phi * r / |r| * the mean length of an item vector, of every state r.

    The item vectors are not moved to change that length.
    """
    if "state_scale" not in weights:
        return states
    dtype = jnp.promote_types(states.dtype, jnp.float32)
    items = jnp.linalg.norm(jax.lax.stop_gradient(table), axis=-1).mean().astype(dtype)
    length = (1 + weights["state_scale"].astype(dtype)) * items
    return (comparable(states.astype(dtype), "cosine") * length).astype(states.dtype)


def objective(reasoned: Reasoned) -> Parts:
    """Computes the cross-entropy of every step, and how far it is from its teacher."""
    options, tau = reasoned.options, reasoned.numbers.temperature
    depth_first = jnp.moveaxis(reasoned.states, 1, 0)
    steps = depth_first.shape[0]
    power, weight = options.temperature_power, options.teacher_weight
    temperatures = [tau * (k + 1) ** power for k in range(steps)]
    taught = has_teacher(options)
    # The divergence from the teacher holds a cross-entropy too, at tau: often the same one.
    share = 1 + weight if taught and power == 0 else 1.0
    loss, of_steps = reasoned.cross_entropies(depth_first, temperatures, [share] * steps)
    parts = {"cross_entropy": of_steps[-1], "shallow_cross_entropy": of_steps[:-1].sum()}
    if taught:
        assert reasoned.near is not None
        items = reasoned.table.shape[0]
        beyond = teacher.beyond_cross_entropy(
            reasoned.states,
            reasoned.table,
            teacher.teacher(reasoned.batch.targets, reasoned.near, items),
            tau,
            tuple(options.teacher_width * (steps - k) for k in range(steps)),
            reasoned.devices,
        )
        gap = reasoned.mean(beyond.sum(axis=1))
        if power != 0:
            same, of_steps = reasoned.cross_entropies(depth_first, [tau] * steps, [weight] * steps)
            loss += same
        loss += jnp.asarray(weight, loss.dtype) * gap
        parts["teacher"] = of_steps.sum() + gap
    return {"loss": loss, **parts}


METHOD = Method(
    label="+ManCAR",
    sentence="The last step represents the user; cross-entropy of every step + λ · KL from a"
    " teacher of the target and items near the last one, which narrows with depth.",
    objective=objective,
    options=(
        "method.graph",
        "method.graph_window",
        "method.teacher_neighbours",
        "method.teacher_weight",
        "method.teacher_width",
        "method.temperature_power",
        "method.rescale",
    ),
    search={
        "method.teacher_weight": ("0.1", "0.3", "1"),
        "method.teacher_width": ("1", "2", "4"),
    },
    scores_steps=True,
    whole_catalogue=has_teacher,
    neighbours=neighbours,
    weights=weights,
    unroll=Unroll(output=rescaled),
)
