"""What stands before every endpoint of the web server: no stranger's page gets past it.

Pipecat's runner takes a call from any web page that the user's browser has open. The door
wraps the runner's whole application, its CORS included, and answers by itself whoever may
not come in, before anything is allocated. In this order: `Host` (403), `Origin` (403),
the page token (401), the size of the body (413), room for one more call (503).

With a page token, our own page and its files are still given without: the page has the
token in its URL's fragment, which browsers send to nobody. Pipecat's prebuilt client can't
send a token and is off then, and so are phone providers; reach those through a tunnel to a
loopback bind.
"""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from loguru import logger
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipecat_workers_cli.session.bodies import (
    BodyTooBigError,
    CallerGoneError,
    read_body,
    replay,
)
from pipecat_workers_cli.session.door_rules import DoorRules, printable
from pipecat_workers_cli.session.page_token import PageToken
from pipecat_workers_cli.session.refusal import (
    Refusal,
    answer_of,
    foreign,
    oversized,
    too_big,
    values,
)

MAX_BODY_BYTES = 1024 * 1024  # an offer with all its candidates is under 20 KB
MAX_UPLOAD_BYTES = 51 * 1024 * 1024  # the runner takes files of 50 MiB, and forms wrap them
MAX_ANSWER_BYTES = 256 * 1024  # of an answer that is searched for its pc_id
BODY_TIMEOUT = 15.0  # seconds for a whole body, at whatever pace
HANG_UP_TIMEOUT = 1.0  # seconds; on one machine it takes a millisecond

WITH_BODY = ("POST", "PUT", "PATCH", "DELETE")
UPLOAD = re.compile(r"(/sessions/[^/]+)?/files$")
OPENS_CALL = {
    "POST": re.compile(r"/api/offer$|/sessions/[^/]+/.*api/offer$|/start$|/daily-dialin-webhook$"),
    # A browser isn't told why a WebSocket was refused; our page asks the same by a GET.
    "GET": re.compile(r"/daily$|/ws-client$"),
    "websocket": re.compile(r"/ws(-client)?(/[^/]*)?$"),
}
LINKABLE = re.compile(r"/$|/client(/|$)|/page/|/files/")  # a foreign page may link there

PAGE_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'self'; connect-src 'self'; media-src 'self' blob: mediastream:; "
        b"img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; "
        b"frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"permissions-policy", b"microphone=(self), camera=()"),
)


class RefusedError(Exception):
    """A body may not come in."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.what)
        self.refusal = refusal


class Door:
    """ASGI middleware that lets in whom `DoorRules` admits, and no more calls than there is room.

    Args:
        app: The whole application, its own middleware included.
        rules: Whom to let in.
        busy: True keeps the next call out. It isn't asked for what belongs to a call that
            is open: renegotiations and ICE candidates.
        max_calls: Calls that may be inside at once, counted here from the moment that one
            is let in, so that callers who come together can't slip past `busy`, which sees
            a call only once it has begun. None counts nobody.
        body_timeout: Seconds for a request's whole body.

    Attributes:
        refused: How often somebody was refused, by kind.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        rules: DoorRules,
        busy: Callable[[], bool] = lambda: False,
        max_calls: int | None = None,
        body_timeout: float = BODY_TIMEOUT,
    ) -> None:
        self.refused: Counter[str] = Counter()
        self._app = app
        self._rules = rules
        self._token = PageToken(rules.page_token) if rules.page_token else None
        self._busy = busy
        self._max_calls = max_calls
        self._body_timeout = body_timeout
        self._inside = 0
        self._connections: set[str] = set()  # pc_ids of the WebRTC calls that are inside

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request or a handshake, or pass it on."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = self._stranger(scope) or self._tokenless(scope)
        pc_id: str | None = None
        if refusal is None and self._is_upload(scope):
            refusal = oversized(scope, MAX_UPLOAD_BYTES, must_say=True)
        elif refusal is None and scope["type"] == "http" and scope["method"] in WITH_BODY:
            try:
                receive, pc_id = await self._body(scope, receive)
            except CallerGoneError:
                return
            except RefusedError as refused:
                refusal = refused.refusal
        if refusal is None:
            await self._pass_on(scope, receive, send, pc_id)
        else:
            await self._refuse(refusal, scope, receive, send)

    def _stranger(self, scope: Scope) -> Refusal | None:
        """Find a `Host` or an `Origin` that isn't ours."""
        hosts, origins = values(scope, b"host"), values(scope, b"origin")
        if len(hosts) != 1 or not self._rules.admits_host(hosts[0]):
            return Refusal(
                403,
                "host",
                "this Host is not one of this server's",
                "open it under the address it prints, or start it with --allowed-origins",
                " and ".join(hosts) or "no Host at all",
            )
        if not origins:
            return unnamed_stranger(scope)
        if len(origins) != 1 or not self._rules.admits_origin(origins[0], host=hosts[0]):
            return foreign(" and ".join(origins))
        return None

    def _tokenless(self, scope: Scope) -> Refusal | None:
        """Find a request that has to carry the page token and doesn't."""
        if self._token is None or is_page(scope) or is_preflight(scope):
            return None
        if re.match(r"/client(/|$)", scope["path"]):
            return Refusal(
                403,
                "client",
                "Pipecat's prebuilt client cannot send a page token, so it is off",
                "open / instead, with the token after # in the address",
            )
        return self._token.missing(scope)

    def _is_upload(self, scope: Scope) -> bool:
        """Say whether the body is a file, which Pipecat's runner reads by itself."""
        return (
            self._rules.uploads
            and scope["type"] == "http"
            and scope["method"] == "POST"
            and UPLOAD.match(scope["path"]) is not None
        )

    async def _body(self, scope: Scope, receive: Receive) -> tuple[Receive, str | None]:
        """Read the whole body, for the application would do so without a bound.

        Returns:
            What gives the body once more, and the WebRTC connection that it names.

        Raises:
            CallerGoneError: The caller hung up before its end.
            RefusedError: It is too big or too slow.
        """
        if refusal := oversized(scope, MAX_BODY_BYTES):
            raise RefusedError(refusal)
        try:
            body = await read_body(receive, max_bytes=MAX_BODY_BYTES, within=self._body_timeout)
        except BodyTooBigError:
            raise RefusedError(too_big(MAX_BODY_BYTES, scope)) from None
        except TimeoutError:
            slow = Refusal(408, "slow", "the body took too long", "send it again", scope["path"])
            raise RefusedError(slow) from None
        return replay(body, receive), pc_id_of(body)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, pc_id: str | None) -> None:
        """Call the application, as a further call or as part of one that is open."""
        if is_page(scope):
            await self._app(scope, receive, with_page_headers(send))
        elif pc_id in self._connections or not opens_call(scope):
            await self._app(scope, receive, send)
        elif self._busy() or (self._max_calls is not None and self._inside >= self._max_calls):
            refusal = Refusal(
                503,
                "busy",
                "all calls that this server has room for are taken",
                "try again when one has ended",
            )
            await self._refuse(refusal, scope, receive, send)
        else:
            await self._hold_call(scope, receive, send)

    async def _hold_call(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count a caller as inside for as long as the application is at it.

        Which is the call's whole life: Pipecat's runner holds a WebSocket call in its
        endpoint and a WebRTC call in a background task of the offer's answer.
        """
        answer = bytearray()
        pc_id: str | None = None

        async def listen(message: Message) -> None:
            nonlocal pc_id
            if message["type"] == "http.response.body" and len(answer) < MAX_ANSWER_BYTES:
                answer.extend(message.get("body", b""))
                if not message.get("more_body", False):
                    pc_id = pc_id_of(bytes(answer))
                    self._connections.update({pc_id} if pc_id else ())
                    answer.clear()
            await send(message)

        self._inside += 1
        try:
            await self._app(scope, receive, listen)
        finally:
            self._inside -= 1
            if pc_id is not None:
                self._connections.discard(pc_id)

    async def _refuse(self, refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer in place of the application; the first of a kind is logged."""
        self.refused[refusal.kind] += 1
        if self.refused[refusal.kind] == 1:
            seen = f" ({printable(refusal.seen)})" if refusal.seen else ""
            logger.warning(f"the door refused a caller: {refusal.what}{seen}; {refusal.mend}")
        if scope["type"] == "websocket":
            await receive()  # the handshake, which is there already
            if "websocket.http.response" not in (scope.get("extensions") or {}):
                await send({"type": "websocket.close", "code": 1008})
                return
        for message in answer_of(refusal, scope):
            await send(message)
        if scope["type"] == "websocket":
            await hang_up(receive)


async def hang_up(receive: Receive) -> None:
    """Wait until a handshake that was refused has lost its connection.

    uvicorn 0.54 takes one that returns before for unanswered, and logs an error each time.
    It tells of the end twice: when the answer is written and when the connection is gone.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(HANG_UP_TIMEOUT):
            await receive()
            await receive()


def unnamed_stranger(scope: Scope) -> Refusal | None:
    """Find a foreign page that sends no `Origin`: images, scripts and frames don't.

    Browsers say so in `Sec-Fetch-Site`. Another port of this machine is "same-site".
    Following a link to a page of ours is no harm; a frame around it would be.
    """
    if not {"cross-site", "same-site"}.intersection(values(scope, b"sec-fetch-site")):
        return None
    follows_link = (
        scope["type"] == "http"
        and scope["method"] in ("GET", "HEAD")
        and values(scope, b"sec-fetch-mode") == ["navigate"]
        and values(scope, b"sec-fetch-dest") == ["document"]
    )
    if follows_link and LINKABLE.match(scope["path"]):
        return None
    return foreign(f"a page on a foreign site that loads {scope['path']}")


def is_page(scope: Scope) -> bool:
    """Say whether our own page or one of its files is asked for."""
    path: str = scope["path"]
    return (
        scope["type"] == "http"
        and scope["method"] in ("GET", "HEAD")
        and (path == "/" or path.startswith("/page/"))
    )


def opens_call(scope: Scope) -> bool:
    """Say whether this endpoint begins a call."""
    opens = OPENS_CALL.get(scope["method"] if scope["type"] == "http" else "websocket")
    return opens is not None and opens.match(scope["path"]) is not None


def is_preflight(scope: Scope) -> bool:
    """Say whether a browser asks if it may ask; it leaves out the token, and CORS answers it."""
    return (
        scope["type"] == "http"
        and scope["method"] == "OPTIONS"
        and bool(values(scope, b"origin"))
        and bool(values(scope, b"access-control-request-method"))
    )


def pc_id_of(body: bytes) -> str | None:
    """Return the WebRTC connection that a JSON object names, if it is one and names one."""
    try:
        found = json.loads(body) if b'"pc_id"' in body else None
    except (ValueError, RecursionError):
        return None
    pc_id: object = found.get("pc_id") if isinstance(found, dict) else None
    return pc_id if isinstance(pc_id, str) else None


def with_page_headers(send: Send) -> Send:
    """Add the headers that keep our page to itself, those it already has excepted."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            there = {name.lower() for name, _ in headers}
            headers += [header for header in PAGE_HEADERS if header[0] not in there]
            message = {**message, "headers": headers}
        await send(message)

    return send_with_headers
