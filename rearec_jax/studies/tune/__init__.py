"""--mode=tune: which options are best, by the validation split, within a budget of minutes."""
