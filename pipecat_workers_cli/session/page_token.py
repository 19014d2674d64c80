"""The page token: where a caller may carry it, and how often one may guess.

It travels as `Authorization: Bearer TOKEN`, or for a WebSocket, where a browser can set no
header, as `?token=TOKEN`.
"""

from urllib.parse import unquote_plus

from starlette.types import Scope

from pipecat_workers_cli.session.refusal import Refusal, values
from pipecat_workers_cli.tokens import WrongTokens, matches

QUERY_NAME = "token="


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
        offered = bearer_tokens(scope)
        if scope["type"] == "websocket":
            offered += take_query_token(scope, self._token)
        if any(matches(given, self._token) for given in offered):
            return None
        if offered:
            # Asked no sooner: behind a reverse proxy who guesses has everybody's address.
            guesses = self._wrong.exhausted(address)
            self._wrong.note(address)
            if guesses:
                what = "too many wrong page tokens"
                return Refusal(429, "guesses", what, "wait a minute", address)
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
