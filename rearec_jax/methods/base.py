"""The method `base`: no reasoning; what all others are compared with."""

from rearec_jax.methods import plain
from rearec_jax.methods.method import Method

METHOD = Method(
    label="base",
    sentence="The last hidden state represents the user; trained with cross-entropy.",
    objective=plain.objective,
    reasons=False,
    in_paper=True,
)
