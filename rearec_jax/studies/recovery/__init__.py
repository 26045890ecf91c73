"""The study of recovery: the share of a method's gain that a plain model has without thinking."""
