"""Loss functions of arrays: a value for each example, or a weighted sum over examples."""
