"""The objective of methods that learn from their representation alone."""

from rearec_jax.methods.reasoned import Parts, Reasoned


def objective(reasoned: Reasoned) -> Parts:
    """Computes the cross-entropy of the representation."""
    loss = reasoned.cross_entropy(reasoned.user)
    return {"loss": loss, "cross_entropy": loss}
