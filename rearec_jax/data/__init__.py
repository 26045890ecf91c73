"""From files to batches: readers, filters, splits, vectors of item text, packing."""
