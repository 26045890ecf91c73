"""The method `router`: a learned gate mixes the steps of each user; an idea of this project.

For many users another step than the last would rank their next item better. The steps are trained
as those of `prl`. Each step k has a vector v_k that reads from r_k how far it is to be trusted:

    user = sum_k w_k r_k,    w = softmax over steps of v_k . r_k + b_k

The log-probabilities of the items by that vector are the weighted mean of those of the steps, up to
a constant. Only the gate learns from them, and only from a fixed share of the users, whose targets
the encoder is not trained on: on targets that the encoder has fitted, every step looks too good.

    loss = PRL of the other users + CE(user) of the held-out users, with gradients to the gate alone
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rearec_jax.methods import prl
from rearec_jax.methods.method import Method
from rearec_jax.methods.options import MethodConfig
from rearec_jax.methods.reasoned import Parts, Reasoned
from rearec_jax.methods.unroll import Weights


def weights(options: MethodConfig, width: int) -> dict[str, tuple[int, ...]]:
    """Names what reads the trust in each of r_0 .. r_K."""
    return {"trust": (options.steps + 1, width), "trust_bias": (options.steps + 1,)}


def mixed(states: Float[Array, "*M S D"], weights: Weights) -> Float[Array, "*M D"]:
    """Represents a user by the gated mean of the steps; no gradient reaches the steps."""
    states = jax.lax.stop_gradient(states)
    steps = states.shape[-2]
    trust = jnp.einsum("...sd,sd->...s", states, weights["trust"][:steps])
    trust += jnp.broadcast_to(weights["trust_bias"][:steps], trust.shape)
    shares = jax.nn.softmax(trust, axis=-1)
    return jnp.einsum("...sd,...s->...d", states, shares)


def held_out(users: Int[Array, " M"], share: float) -> Bool[Array, " M"]:
    """Says which users' targets the encoder is not trained on, the same ones in every epoch."""
    hashed = users.astype(jnp.uint32) * jnp.uint32(0x9E3779B1)
    return hashed < jnp.uint32(int(share * 2**32))


def objective(reasoned: Reasoned) -> Parts:
    """Computes PRL of most users, and of the others the cross-entropy of the gated mean."""
    batch = reasoned.batch
    held = held_out(batch.users, reasoned.options.held_out_users)

    def of(chosen: Bool[Array, " M"]) -> Reasoned:
        some = batch._replace(weights=jnp.where(chosen, batch.weights, 0))
        return dataclasses.replace(reasoned, batch=some)

    parts = prl.objective(of(~held))
    routed = of(held).cross_entropy(reasoned.user)
    return parts | {"loss": parts["loss"] + routed, "routed_cross_entropy": routed}


METHOD = Method(
    label="+router",
    sentence="A learned mix of the steps represents the user; the steps learn as those of prl, the"
    " mix from held-out users.",
    objective=objective,
    represent=mixed,
    weights=weights,
    options=(*prl.METHOD.options, "method.held_out_users"),
    search={**prl.METHOD.search, "method.held_out_users": ("0.02", "0.05", "0.1")},
    scores_steps=True,
    noisy_view=prl.has_noisy_view,
)
