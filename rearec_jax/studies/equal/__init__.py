"""The costs of trainings, and the epochs of one that cost the same as another."""
