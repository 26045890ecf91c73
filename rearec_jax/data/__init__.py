"""From files of interactions to batches."""
