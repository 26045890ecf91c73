"""The item encoders, the sequence encoder and the reasoning steps, in Flax Linen."""
