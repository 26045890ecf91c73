"""What one run keeps and hears: its directory, events, checkpoints, lock, signals, progress."""
