"""The method `naive`: the last hidden state is fed back as it is (arXiv 2503.22675, ablation)."""

from rearec_jax.methods import plain
from rearec_jax.methods.method import Method

METHOD = Method(
    label="+naive",
    sentence="The last step represents the user; no step has a position; cross-entropy.",
    objective=plain.objective,
    step_positions=False,
)
