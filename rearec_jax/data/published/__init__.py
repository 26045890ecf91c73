"""The paper's data sets: downloaded, prepared once, and read again."""
