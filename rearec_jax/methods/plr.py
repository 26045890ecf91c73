"""The method `plr`, parallel latent reasoning (arXiv 2601.03153).

Several streams reason beside each other, each from r_0 and a learned trigger t_m; p_k is as in the
other methods, and block() the encoder. A gate mixes the streams into the state of the step:

    h_0m = r_0 + t_m,    h_km = block(h_{k-1,m} + p_k) + h_{k-1,m},    r_k = sum_m w_m h_km
    w = softmax(G r_0),    z = mean of r_1 .. r_K
    loss = CE(z) - kl_weight * KL repulsion + dropout_contrast * InfoNCE

The repulsion is the mean KL divergence over all ordered pairs of the h_km. InfoNCE is to find z
from that of a second view, which is encoded from the items on with other dropout. After training
the items are scored by r_0 + z.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rearec_jax.losses import ensemble
from rearec_jax.methods.erl import has_diversity
from rearec_jax.methods.method import Method
from rearec_jax.methods.options import MethodConfig
from rearec_jax.methods.reasoned import Parts, Reasoned
from rearec_jax.methods.unroll import Encode, Unroll, Weights


def has_dropout_view(options: MethodConfig) -> bool:
    """Says whether training needs the second view: a weight of 0 leaves it out of the program."""
    return options.dropout_contrast > 0


def weights(options: MethodConfig, width: int) -> dict[str, tuple[int, ...]]:
    """Names the triggers and the gate."""
    return {"triggers": (options.streams, width), "stream_gate": (width, options.streams)}


def start(first: Float[Array, "B 1 Q D"], weights: Weights) -> Float[Array, "B V Q D"]:
    """Starts each stream from r_0 and its trigger."""
    return first + weights["triggers"][None, :, None]


def step(
    encode: Encode, streams: Float[Array, "B V Q D"], weights: Weights
) -> Float[Array, "B V Q D"]:
    """Adds to each stream what the encoder makes of it."""
    return streams + encode(streams)


def mixed(
    streams: Float[Array, "B V Q D"], first: Float[Array, "B Q D"], weights: Weights
) -> Float[Array, "B Q D"]:
    """Mixes the streams by the gate, which reads r_0 alone."""
    shares = jax.nn.softmax(first @ weights["stream_gate"], axis=-1)
    return jnp.einsum("bvqd,bqv->bqd", streams, shares)


def first_and_mean(states: Float[Array, "*M S D"], weights: Weights) -> Float[Array, "*M D"]:
    """Represents a user by r_0 plus the mean of the states of the steps."""
    first = states[..., 0, :]
    return first if states.shape[-2] == 1 else first + states[..., 1:, :].mean(axis=-2)


def objective(reasoned: Reasoned) -> Parts:
    """Computes the cross-entropy of z, the weighted repulsion and the contrast of two views."""
    options, numbers = reasoned.options, reasoned.numbers
    reasoning = reasoned.states[:, 1:].mean(axis=1)
    loss = reasoned.cross_entropy(reasoning)
    parts = {"cross_entropy": loss}
    if has_diversity(options):
        assert reasoned.carried is not None
        diversity = reasoned.mean(
            ensemble.kl_diversity(
                reasoned.carried,
                reasoned.table,
                numbers.temperature,
                reasoned.blocks.items,
                "both",
                reasoned.devices,
            )
        )
        loss -= jnp.asarray(numbers.kl_weight, loss.dtype) * diversity
        parts["kl_diversity"] = diversity
    if reasoned.noisy is not None:
        contrastive = reasoned.contrast(reasoned.noisy.mean(axis=1), reasoning)
        loss += options.dropout_contrast * contrastive
        parts["contrastive"] = contrastive
    return {"loss": loss, **parts}


METHOD = Method(
    label="+PLR",
    sentence="r_0 plus the mean of gated streams represents the user; cross-entropy of that mean"
    " − λ · KL repulsion of the streams.",
    objective=objective,
    represent=first_and_mean,
    weights=weights,
    unroll=Unroll(start, step, mixed),
    options=("method.streams", "method.kl_weight", "method.dropout_contrast", "method.negatives"),
    search={
        "method.streams": ("2", "3", "4"),
        "method.kl_weight": ("0", "0.001", "0.01", "0.1"),
        "method.dropout_contrast": ("0", "0.1"),
    },
    scores_steps=True,
    dropout_view=has_dropout_view,
    whole_catalogue=has_diversity,
)
