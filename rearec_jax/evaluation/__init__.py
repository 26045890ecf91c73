"""The evaluation of a model: the rank of each target among all items, and metrics of ranks."""
