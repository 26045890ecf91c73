"""The analysis of trained runs: by step, by group, by user, and tests of their differences."""
