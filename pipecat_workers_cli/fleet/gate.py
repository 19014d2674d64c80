"""Who may open a link to a gateway: asked of the request alone, before anything is allocated.

In this order: the path (404), the `Origin` (403), the token (401, or 429 after too many wrong
ones), the version (400), room (503). A right token is never held up, whoever else guesses from
the same address: behind a reverse proxy all come from one.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus

from loguru import logger
from websockets.datastructures import Headers
from websockets.http11 import Request

from pipecat_workers_cli.buses.link import SUBPROTOCOL, single
from pipecat_workers_cli.tokens import WrongTokens, matches

PATH = "/ws"
SLOWED_BY = 1.0  # seconds for an answer to whoever guessed too often
SLOWED = 100  # at once; more are turned away at once
ASKED_FOR_A_LINK = re.compile(rb"GET /ws[ ?]")
SAYS_WHO = re.compile(rb"\r\n(?:authorization|origin)[ \t]*:", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class GateRules:
    """Whom to let in.

    Attributes:
        tokens: Each of which opens; none lets in everybody.
        origins: Pages that may open a link, `https://host[:port]`; no page otherwise.
        subprotocol: What has to be spoken over it; None asks for nothing.
    """

    tokens: tuple[str, ...] = field(default=(), repr=False)
    origins: tuple[str, ...] = ()
    subprotocol: str | None = SUBPROTOCOL


@dataclass(frozen=True, slots=True)
class Turned:
    """Why somebody is turned away.

    Attributes:
        status: HTTP's.
        kind: A word for it, by which it is counted.
        what: In a line, as it is told them.
        headers: Told them, too.
    """

    status: HTTPStatus
    kind: str
    what: str
    headers: tuple[tuple[str, str], ...] = ()

    def in_full(self) -> bytes:
        """Return the whole of an answer over HTTP, after which the connection is closed."""
        body = f"{self.what}\n"
        headers = (
            *self.headers,
            ("Connection", "close"),
            ("Content-Length", str(len(body))),
            ("Content-Type", "text/plain; charset=utf-8"),
        )
        lines = [f"HTTP/1.1 {self.status.value} {self.status.phrase}"]
        lines += [f"{name}: {value}" for name, value in headers]
        return "\r\n".join((*lines, "", body)).encode()


NOT_FOUND = Turned(HTTPStatus.NOT_FOUND, "path", f"a link is opened at {PATH}")
FOREIGN = Turned(HTTPStatus.FORBIDDEN, "origin", "pages of this origin may not open a link")
BEARER = (("WWW-Authenticate", 'Bearer realm="pmw proxy"'),)
NO_TOKEN = Turned(HTTPStatus.UNAUTHORIZED, "no token", "a token is wanted", BEARER)
NO_TOKEN_TOLD = NO_TOKEN.in_full()
WRONG_TOKEN = Turned(HTTPStatus.UNAUTHORIZED, "wrong token", "this token is wrong", BEARER)
GUESSES = Turned(
    HTTPStatus.TOO_MANY_REQUESTS,
    "guesses",
    "too many wrong tokens",
    (("Retry-After", "60"),),
)
VERSION = Turned(HTTPStatus.BAD_REQUEST, "version", f"this end speaks {SUBPROTOCOL}")


class Gate:
    """Lets in whom the rules admit, and counts the others.

    Attributes:
        turned: How many were turned away, by kind.
    """

    def __init__(self, rules: GateRules, *, room: Callable[[], Turned | None]) -> None:
        """Prepare.

        Args:
            rules: Whom to let in.
            room: Says why nobody more may come in now, if that is so.
        """
        self.turned: Counter[str] = Counter()
        self._rules = rules
        self._room = room
        self._wrong = WrongTokens()
        self._slowed = 0

    def answer_at_once(self, head: bytes, address: str) -> bytes | None:
        """Return what to tell a request without a token; None leaves it to `turn_away`.

        Args:
            head: What was asked, as it came.
            address: From where.
        """
        whole = head.endswith(b"\r\n\r\n") and ASKED_FOR_A_LINK.match(head)
        if not whole or not self._rules.tokens or SAYS_WHO.search(head):
            return None
        self._count(NO_TOKEN, address)
        return NO_TOKEN_TOLD

    async def turn_away(self, request: Request, address: str) -> Turned | None:
        """Say why a request is turned away, if it is; that may take a moment.

        Args:
            request: What was asked.
            address: From where.
        """
        return await self._note(self._refusal(request), address)

    async def keep_figures(self, request: Request, address: str) -> Turned | None:
        """Say why whoever asks for figures doesn't get them, if so: a token opens them, too.

        Args:
            request: What was asked.
            address: From where.
        """
        return await self._note(self._tokenless(request.headers), address)

    async def _note(self, turned: Turned | None, address: str) -> Turned | None:
        """Count who is turned away, and take one's time over who guesses."""
        if turned is None:
            return None
        if turned is WRONG_TOKEN:
            if self._wrong.exhausted(address):
                turned = GUESSES
            self._wrong.note(address)
        self._count(turned, address)
        if turned is GUESSES and self._slowed < SLOWED:
            self._slowed += 1
            try:
                await asyncio.sleep(SLOWED_BY)
            finally:
                self._slowed -= 1
        return turned

    def _count(self, turned: Turned, address: str) -> None:
        self.turned[turned.kind] += 1
        if self.turned[turned.kind] == 1:
            logger.warning(f"the proxy turned {address} away: {turned.what}; others are counted")

    def _refusal(self, request: Request) -> Turned | None:
        headers = request.headers
        if request.path.partition("?")[0] != PATH:
            return NOT_FOUND
        origins = headers.get_all("Origin")
        if any(origin.lower() not in self._rules.origins for origin in origins):
            return FOREIGN
        if wrong := self._tokenless(headers):
            return wrong
        offered = ",".join(headers.get_all("Sec-WebSocket-Protocol")).split(",")
        asked = self._rules.subprotocol
        if asked is not None and asked not in (name.strip() for name in offered):
            return VERSION
        return self._room()

    def _tokenless(self, headers: Headers) -> Turned | None:
        if not self._rules.tokens:
            return None
        scheme, _, token = single(headers, "Authorization").partition(" ")
        if scheme.lower() != "bearer":
            return NO_TOKEN
        token = token.strip()
        # All are compared, so that the time says nothing about which of them it is like.
        right = [matches(token, known) for known in self._rules.tokens]
        return None if any(right) else WRONG_TOKEN
