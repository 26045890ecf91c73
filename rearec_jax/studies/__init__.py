"""Studies of many runs: grids, searches, analyses, reports; and capacity plans before any run."""
