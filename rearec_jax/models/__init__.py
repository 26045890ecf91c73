"""Encoders and the reasoning unroll. The only place that imports flax.linen."""
