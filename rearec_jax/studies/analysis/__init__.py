"""What a run's results mean: by step, by group, by user, and whether a difference is real."""
