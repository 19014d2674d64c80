"""Processes that run workers for calls elsewhere."""
