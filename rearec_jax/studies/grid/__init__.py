"""A grid of experiments: data sets x backbones x methods x seeds, run one after another.

It starts `rearec_jax.main` once for each cell, and reads the files that this writes; it never
imports JAX.
"""
