"""The page token: where a caller may carry it, and how often one may guess.

It travels as `Authorization: Bearer TOKEN`, or for a WebSocket, where a browser can set no
header, as `?token=TOKEN`.
"""

import hmac
import time
from collections import OrderedDict
from urllib.parse import unquote_plus

from starlette.types import Scope

from pipecat_workers_cli.session.refusal import Refusal, values

QUERY_NAME = "token="


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


class PageToken:
    """Tells callers who know the page token from those who don't.

    Args:
        token: The token.
        wrong: Bounds the guesses.
    """

    def __init__(self, token: str, *, wrong: WrongTokens | None = None) -> None:
        self._token = token
        self._wrong = wrong or WrongTokens()

    def missing(self, scope: Scope) -> Refusal | None:
        """Refuse a request without the token; a right one is taken out of the query."""
        client = scope.get("client")
        address = client[0] if client else "an unknown address"
        if self._wrong.exhausted(address):
            return Refusal(429, "guesses", "too many wrong page tokens", "wait a minute", address)
        offered = bearer_tokens(scope)
        if scope["type"] == "websocket":
            offered += take_query_token(scope, self._token)
        if any(matches(given, self._token) for given in offered):
            return None
        if offered:
            self._wrong.note(address)
        return Refusal(
            401,
            "token",
            "the page token is wrong" if offered else "the page token is missing",
            "open the address that the server printed, with its part after #",
            f"{address} at {scope['path']}",
        )


def bearer_tokens(scope: Scope) -> list[str]:
    """Return what `Authorization` offers as tokens."""
    pairs = [value.partition(" ") for value in values(scope, b"authorization")]
    return [token.strip() for scheme, _, token in pairs if scheme.lower() == "bearer"]


def take_query_token(scope: Scope, page_token: str) -> list[str]:
    """Return what `?token=` offers, and take the page token out of the query.

    Other tokens stay: the runner's own `--ws-auth token` uses the same name. The scope is
    changed in place, because the server's access log writes the query from there.
    """
    offered: list[str] = []
    kept: list[str] = []
    for part in scope["query_string"].decode("latin-1").split("&"):
        if part.startswith(QUERY_NAME):
            given = unquote_plus(part.removeprefix(QUERY_NAME))
            offered.append(given)
            if matches(given, page_token):
                continue
        kept.append(part)
    scope["query_string"] = "&".join(kept).encode("latin-1")
    return offered


def matches(given: str, token: str) -> bool:
    """Compare in a time that says nothing about how much of it is right."""
    return hmac.compare_digest(given.encode(), token.encode())
