"""How callers reach a call."""
