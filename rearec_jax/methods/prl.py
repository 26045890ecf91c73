"""The method `prl`, progressive reasoning learning (arXiv 2503.22675, section 3.4).

Every step is supervised, the later the sharper, and must find itself from a noisy view:

    loss = sum over steps of CE_k at temperature * decay^(K - k) + contrastive_weight * InfoNCE
"""

import jax.numpy as jnp

from rearec_jax.losses import progressive
from rearec_jax.methods.method import Method
from rearec_jax.methods.options import MethodConfig
from rearec_jax.methods.reasoned import Parts, Reasoned


def has_noisy_view(options: MethodConfig) -> bool:
    """Says whether training needs the noisy view: a weight of 0 leaves it out of the program."""
    return options.contrastive_weight > 0


def objective(reasoned: Reasoned) -> Parts:
    """Computes the annealed cross-entropy of every step, and the contrast with the noisy view."""
    states, numbers = reasoned.states, reasoned.numbers
    steps = states.shape[1] - 1
    temperatures = progressive.step_temperatures(
        numbers.temperature, numbers.temperature_decay, steps
    )
    average = 1 / steps if reasoned.options.progressive_sum == "released" else 1.0
    shares = (*[average] * steps, 1.0)
    loss, of_steps = reasoned.cross_entropies(jnp.moveaxis(states, 1, 0), temperatures, shares)
    parts = {
        "cross_entropy": of_steps[-1],
        "shallow_cross_entropy": average * of_steps[:-1].sum(),
    }
    if reasoned.noisy is not None:
        noisy = reasoned.noisy
        by_step = [reasoned.contrast(noisy[:, k], states[:, k + 1]) for k in range(steps)]
        contrastive = average * sum(by_step[1:], start=by_step[0])
        parts["contrastive"] = contrastive
        loss += jnp.asarray(numbers.contrastive_weight, loss.dtype) * contrastive
    return {"loss": loss, **parts}


METHOD = Method(
    label="+PRL",
    sentence="The last step represents the user; annealed cross-entropy of every step"
    " + contrast with a noisy view.",
    objective=objective,
    options=(
        "method.temperature_decay",
        "method.progressive_sum",
        "method.noise",
        "method.contrastive_weight",
        "method.contrastive_warmup_epochs",
        "method.negatives",
    ),
    search={
        "method.temperature": ("0.5", "1", "2", "5"),
        "method.temperature_decay": ("1", "1.2", "1.5", "2"),
        "method.contrastive_weight": ("0", "0.1", "1"),
    },
    scores_steps=True,
    in_paper=True,
    noisy_view=has_noisy_view,
)
