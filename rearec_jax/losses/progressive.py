"""Progressive reasoning learning (PRL): every step is supervised, sharper and sharper.

arXiv 2503.22675, section 3.4: temperature annealing and the noisy contrastive view.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def step_temperatures(temperature: float, decay: float, steps: int) -> tuple[float, ...]:
    """tau_k = tau * alpha^(K - k) for k = 0 .. K: the last step scores at tau itself."""
    return tuple(temperature * decay ** (steps - k) for k in range(steps + 1))


def contrastive(
    noisy: Float[Array, "M D"],
    clean: Float[Array, "M D"],
    is_negative: Bool[Array, "M M"],
    temperature: float,
) -> Float[Array, " M"]:
    """InfoNCE of one step: does the noisy state find its own clean one among the batch's?

    Query: the noisy state; positive: the clean state of the same example; scores r~ . r / tau.

    Args:
        is_negative: [example, candidate]; the diagonal (the positive) is ignored.
    """
    dtype = jnp.promote_types(noisy.dtype, jnp.float32)
    logits = jnp.matmul(noisy, clean.T, preferred_element_type=dtype)
    logits /= jnp.asarray(temperature, dtype)
    positive = jnp.diagonal(logits)
    candidates = is_negative | jnp.eye(noisy.shape[0], dtype=bool)
    logits = jnp.where(candidates, logits, jnp.asarray(-jnp.inf, dtype))
    return jax.nn.logsumexp(logits, axis=-1) - positive


def negatives(
    users: Int[Array, " M"], weights: Float[Array, " M"], kind: str
) -> Bool[Array, "M M"]:
    """Who is a negative of whom: real examples, of other users or (kind "batch") any but oneself.

    With packed rows a user's own prefixes are near-copies, so telling them apart is no task.
    """
    other = ~jnp.eye(users.shape[0], dtype=bool)
    if kind == "other_users":
        other &= users[:, None] != users[None, :]
    return other & (weights > 0)[None, :]
