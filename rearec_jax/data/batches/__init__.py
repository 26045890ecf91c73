"""From sequences to packed batches on the devices."""
