"""Reads users' files: interactions, text and histories in CSV, TSV, Parquet or plain text."""
