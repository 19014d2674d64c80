"""Calls as traces: one a call, over all processes that have part in it."""
