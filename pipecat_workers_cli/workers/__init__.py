"""The components a call is made of."""
