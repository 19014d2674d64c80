"""One process that serves callers."""
