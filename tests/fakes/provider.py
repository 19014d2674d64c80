"""What the fake providers share: a real server, its mood, and a record of who asked what."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Any, Self

from aiohttp import WSMsgType, web

LATEST = 1_000  # requests and messages kept of a long session by hand


class Behaviour(StrEnum):
    """What a provider does with the next request, or with the session that is open.

    `NORMAL` serves whoever has the right key; `WRONG_KEY` refuses every key with 401;
    `LIMIT` answers 429; `STALL` accepts and then says nothing; `CUT` drops the connection
    in the middle of an answer; `ERROR` sends the provider's own kind of error there.
    """

    NORMAL = "normal"
    WRONG_KEY = "wrong key"
    LIMIT = "limit"
    STALL = "stall"
    CUT = "cut"
    ERROR = "error"


@dataclass(slots=True)
class Seen:
    """One request, and for a websocket what came in over it.

    Attributes:
        method: The HTTP method; a websocket's handshake is a GET.
        path: Without the query.
        query: Repeated keys are joined by a comma.
        headers: Names in lower case.
        body: The JSON of a POST.
        messages: The JSON texts that arrived on the socket, oldest first.
        audio: Bytes of sound that arrived on it.
    """

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any = None
    messages: list[dict[str, Any]] = field(default_factory=list)
    audio: int = 0


class FakeProvider:
    """A provider on a free local port; entering starts the server, leaving drops every client.

    Attributes:
        behaviour: How it is disposed now; may be set at any time.
        key: The key it takes.
        requests: What it was asked, oldest first; refused ones too.
    """

    def __init__(self, *, key: str, behaviour: Behaviour = Behaviour.NORMAL) -> None:
        self.key = key
        self.behaviour = behaviour
        self.requests: list[Seen] = []
        self.url = ""
        self._open: list[web.Request] = []
        self._changed = asyncio.Condition()
        self._leaving = asyncio.Event()

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=32 * 1024 * 1024)
        self.add_routes(app)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leaving.set()
        self.cut()
        await self._runner.cleanup()

    @property
    def base_url(self) -> str:
        """What the provider's `*_BASE_URL` variable is to hold."""
        return self.url

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point a program here: the key and the base URL."""
        name = type(self).__name__.removeprefix("Fake").upper()
        return {f"{name}_API_KEY": self.key, f"{name}_BASE_URL": self.base_url}

    def add_routes(self, app: web.Application) -> None:
        """Say which paths there are."""
        raise NotImplementedError

    def cut(self) -> None:
        """Drop every open connection, as a cable would: no close frame, no last chunk."""
        for request in self._open:
            drop(request)

    async def until(self, happened: Callable[[], bool], *, within: float = 5.0) -> None:
        """Wait until something holds that depends on what arrives here.

        Raises:
            TimeoutError: It doesn't within that many seconds.
        """
        async with asyncio.timeout(within), self._changed:
            await self._changed.wait_for(happened)

    def refusal(self, given: str | None) -> Behaviour | None:
        """Say why a request with key `given` is not served; None if it is."""
        if self.behaviour is Behaviour.LIMIT:
            return Behaviour.LIMIT
        if self.behaviour is Behaviour.WRONG_KEY or given != self.key:
            return Behaviour.WRONG_KEY
        return None

    async def see(self, request: web.Request) -> Seen:
        """Record a request, with its JSON body if it has one."""
        query: dict[str, str] = {}
        for name, value in request.query.items():
            query[name] = f"{query[name]},{value}" if name in query else value
        headers = {name.lower(): value for name, value in request.headers.items()}
        seen = Seen(request.method, request.path, query, headers)
        if request.can_read_body:
            seen.body = await request.json()
        self.requests.append(seen)
        del self.requests[:-LATEST]
        await self.tell()
        return seen

    async def tell(self) -> None:
        """Wake those who wait in `until`."""
        async with self._changed:
            self._changed.notify_all()

    @asynccontextmanager
    async def connected(self, request: web.Request) -> AsyncIterator[None]:
        """Count a request among the open ones; those are dropped by `cut` and at the end."""
        self._open.append(request)
        try:
            yield
        finally:
            self._open.remove(request)

    async def stall(self) -> None:
        """Say nothing until the server is left."""
        await self._leaving.wait()

    async def messages(
        self, socket: web.WebSocketResponse, seen: Seen
    ) -> AsyncIterator[str | bytes]:
        """Give what arrives on a socket until it closes."""
        async for message in socket:
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                break
            yield message.data
            if isinstance(message.data, bytes):
                seen.audio += len(message.data)
            await self.tell()


def drop(request: web.Request) -> None:
    """Drop the connection that a request came over."""
    if request.transport is not None:
        request.transport.abort()
