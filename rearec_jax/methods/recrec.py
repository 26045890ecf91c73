"""The method `recrec`, recursive reasoning (arXiv 2607.12945, after arXiv 2510.04871).

A reasoning state s, which starts as a learned vector, is refined beside the prediction state m,
which starts as r_0. block() is the encoder, whose tokens here read the items of the prefix alone:

    repeated INNER_STEPS times:  s <- block(m + s)
    m <- (1 - g) m + g s,        g = sigmoid(U m + V s + b)
    loss = mean over k = 0 .. K of CE(m_k)

Each step is supervised, and gradients end at the m and s that it starts from. So a step is the same
wherever it stands, and an evaluation may take more steps than training did (`eval.steps`).

Of the paper's model two parts are left out: the context is the encoder's own caches, not a few
latent interests, and the term that keeps those apart goes with them. The candidate of the gated
unit is s itself, which lies in the space of the items already.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rearec_jax.methods.method import Method
from rearec_jax.methods.options import MethodConfig
from rearec_jax.methods.reasoned import Parts, Reasoned
from rearec_jax.methods.unroll import Encode, Unroll, Weights

INNER_STEPS = 2  # with one, nothing would teach s what a later refinement needs of it
State = Float[Array, "B V Q D"]


def weights(options: MethodConfig, width: int) -> dict[str, tuple[int, ...]]:
    """Names the first s, and the two matrices and the bias of the gate."""
    gate = {"gate_of_m": (width, width), "gate_of_s": (width, width), "gate_bias": (width,)}
    return {"first_s": (width,), **gate}


def start(first: State, weights: Weights) -> tuple[State, State]:
    """Starts m from r_0, and s from its learned vector."""
    return first, jnp.broadcast_to(weights["first_s"], first.shape)


def step(encode: Encode, carried: tuple[State, State], weights: Weights) -> tuple[State, State]:
    """Refines s a few times, then moves m towards it as far as the gate lets it."""
    m, s = jax.lax.stop_gradient(carried)
    for _ in range(INNER_STEPS):
        s = encode(m + s)
    opened = m @ weights["gate_of_m"] + s @ weights["gate_of_s"]
    opened += jnp.broadcast_to(weights["gate_bias"], m.shape)
    return m + jax.nn.sigmoid(opened) * (s - m), s


def prediction(
    carried: tuple[State, State], first: Float[Array, "B Q D"], weights: Weights
) -> Float[Array, "B Q D"]:
    """Returns m."""
    return carried[0][:, 0]


def objective(reasoned: Reasoned) -> Parts:
    """Computes the mean cross-entropy of all steps."""
    steps = reasoned.states.shape[1]
    loss, of_steps = reasoned.cross_entropies(
        jnp.moveaxis(reasoned.states, 1, 0),
        [reasoned.numbers.temperature] * steps,
        [1 / steps] * steps,
    )
    return {"loss": loss, "cross_entropy": of_steps[-1], "first_cross_entropy": of_steps[0]}


METHOD = Method(
    label="+RecRec",
    sentence="A prediction state that a gate moves towards a recursively refined reasoning state;"
    " mean cross-entropy of all steps.",
    objective=objective,
    unroll=Unroll(start, step, prediction, remembers=False),
    weights=weights,
    step_positions=False,
    scores_steps=True,
)
