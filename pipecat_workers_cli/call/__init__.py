"""One call: planned, built, run."""
