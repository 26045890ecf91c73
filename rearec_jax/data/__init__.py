"""Turns files into batches: readers, filters, splits, vectors of item text, packing."""
