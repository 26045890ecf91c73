"""Makes vectors of the items' text, by TF-IDF or a language model, or reads them from a file."""
