"""A user's own files: interactions, text and histories in CSV, TSV, Parquet or plain text."""
