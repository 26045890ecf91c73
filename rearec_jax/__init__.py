"""ReaRec in JAX: a sequential recommender that thinks before it recommends (arXiv 2503.22675)."""

__version__ = "0.1.0"
