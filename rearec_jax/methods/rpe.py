"""The method `rpe`: reasoning position embeddings alone (arXiv 2503.22675, section 3.2)."""

from rearec_jax.methods import plain
from rearec_jax.methods.method import Method

METHOD = Method(
    label="+RPE",
    sentence="The last step represents the user; each step has a learned position; cross-entropy.",
    objective=plain.objective,
)
