"""Hearing, thinking and speaking, by provider."""
