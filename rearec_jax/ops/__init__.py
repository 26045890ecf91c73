"""Array operations that the other modules share: scores, matrix products, random arrays."""
