"""Tokens that strangers send: which can be one, how often one may guess, how they are compared."""

import hmac
import re
import time
from collections import OrderedDict

from pipecat_workers_cli.errors import ConfigurationError

SHORTEST_TOKEN = 16  # characters; nobody guesses these, however fast
TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")  # what `Authorization: Bearer` can carry


def require_fit(token: str, what: str) -> None:
    """Refuse a token that protects nothing, or can't be sent.

    Args:
        token: The token, which isn't told.
        what: What to call it.

    Raises:
        ConfigurationError: It is one.
    """
    if len(token) < SHORTEST_TOKEN or TOKEN.fullmatch(token) is None:
        raise ConfigurationError(
            f"{what} is too short or has characters that can't be sent",
            mend=f"use {SHORTEST_TOKEN} or more letters, digits and -._~+/=: openssl rand -hex 16",
        )


class WrongTokens:
    """Bounds how often one address may guess.

    Args:
        limit: Wrong tokens that an address may send.
        within: Seconds after the last of them until it may try again.
        addresses: How many addresses are remembered; the longest unseen is forgotten.
    """

    def __init__(self, *, limit: int = 10, within: float = 60.0, addresses: int = 1024) -> None:
        self._limit, self._within, self._addresses = limit, within, addresses
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def exhausted(self, address: str) -> bool:
        """Say whether an address has used up its guesses."""
        count, last = self._wrong.get(address, (0, 0.0))
        if count and time.monotonic() - last > self._within:
            del self._wrong[address]
            return False
        return count >= self._limit

    def note(self, address: str) -> None:
        """Count a wrong token."""
        count, _ = self._wrong.pop(address, (0, 0.0))
        self._wrong[address] = (count + 1, time.monotonic())
        if len(self._wrong) > self._addresses:
            self._wrong.popitem(last=False)


def matches(given: str, token: str) -> bool:
    """Compare in a time that says nothing about how much of it is right."""
    return hmac.compare_digest(given.encode(), token.encode())
