"""What trainings cost, and how many epochs of one cost the same as another."""
