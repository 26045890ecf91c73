"""A grid of experiments: data sets x backbones x methods x seeds, run one after another.

It starts `rearec_jax.main` once a cell and reads the files that this leaves; it never imports JAX.
"""
