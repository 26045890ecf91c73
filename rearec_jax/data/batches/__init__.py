"""Makes packed batches of users' sequences, and puts them on the devices."""
