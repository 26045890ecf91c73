"""Questions to many runs: grids, searches, analyses, reports; and plans before any run."""
