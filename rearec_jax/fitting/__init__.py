"""Trains and asks models: the interface of Python, and the training of the command line."""
