"""The method `erl`, ensemble reasoning learning (arXiv 2503.22675, section 3.3).

The steps are averaged, and a KL term keeps their distributions over the items apart:

    loss = CE(mean of r_0 .. r_K) - kl_weight * KL diversity
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from rearec_jax.losses import ensemble
from rearec_jax.methods import plain
from rearec_jax.methods.method import Method
from rearec_jax.methods.options import MethodConfig
from rearec_jax.methods.reasoned import Parts, Reasoned


def mean_of_steps(states: Float[Array, "*M S D"]) -> Float[Array, "*M D"]:
    """Represents a user by the mean of the states of all steps."""
    return states.mean(axis=-2)


def has_diversity(options: MethodConfig) -> bool:
    """Says whether the loss has the KL term: a weight of 0 leaves it out of the program."""
    return options.kl_weight != 0


def objective(reasoned: Reasoned) -> Parts:
    """Computes the cross-entropy of the mean state, less the weighted KL diversity."""
    parts = plain.objective(reasoned)
    if has_diversity(reasoned.options):
        diversity = reasoned.mean(
            ensemble.kl_diversity(
                reasoned.states,
                reasoned.table,
                reasoned.numbers.temperature,
                reasoned.blocks.items,
                reasoned.options.kl,
                reasoned.devices,
            )
        )
        parts["loss"] -= jnp.asarray(reasoned.numbers.kl_weight, parts["loss"].dtype) * diversity
        parts["kl_diversity"] = diversity
    return parts


METHOD = Method(
    label="+ERL",
    sentence="The mean of all steps represents the user; cross-entropy − λ · KL diversity.",
    objective=objective,
    represent=mean_of_steps,
    options=("method.kl_weight", "method.kl"),
    search={"method.kl_weight": ("0", "0.001", "0.005", "0.01", "0.05", "0.1")},
    scores_steps=True,
    in_paper=True,
    whole_catalogue=has_diversity,
)
