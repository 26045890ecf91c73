"""Losses: pure functions of arrays, one value an example; the caller weights and sums."""
