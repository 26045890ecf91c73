"""Vectors of the items' text: made by TF-IDF or a language model, or read from a file."""
