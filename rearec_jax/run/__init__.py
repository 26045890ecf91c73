"""Keeps the state of one run: its directory, events, checkpoints, lock, signals, progress."""
