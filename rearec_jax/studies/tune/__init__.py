"""The search for the best options: by the validation split, within a budget of minutes."""
