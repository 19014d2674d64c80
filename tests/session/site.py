"""An application like the runner's behind a door, at a port of its own."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse
from starlette.routing import Route, WebSocketRoute

from pipecat_workers_cli.options import ServeOptions
from pipecat_workers_cli.session.door import Door
from pipecat_workers_cli.session.door_rules import door_rules

DEADLINE = 10  # seconds for anything that a test waits for
TOKEN = "fedcba9876543210"
EVIL = "https://evil.example"
OPENERS = ["/api/offer", "/start", "/sessions/7/api/offer", "/daily-dialin-webhook"]


@dataclass
class Inner:
    """An application like the runner's; it notes who reached it."""

    reached: list[str] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)  # ends the calls that are open

    def app(self) -> Starlette:
        methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        cors = Middleware(
            CORSMiddleware,
            allow_origins=["*"],
            allow_credentials=True,
            allow_methods=["*"],
            allow_headers=["*"],
        )
        return Starlette(
            middleware=[cors],
            routes=[
                Route("/", self.page),
                Route("/page/{name}", self.page),
                Route("/api/offer", self.offer, methods=["POST"]),
                WebSocketRoute("/{path:path}", self.talk),
                Route("/{path:path}", self.other, methods=methods),
            ],
        )

    async def page(self, request):
        return HTMLResponse("<h1>pmw</h1>", headers={"Referrer-Policy": "origin"})

    async def offer(self, request):
        named = (await request.json()).get("pc_id")
        self.reached.append(f"offer {named}")
        answer = {"sdp": "v=0", "pc_id": named or f"pc#{len(self.reached)}"}
        return JSONResponse(answer, background=None if named else BackgroundTask(self.over.wait))

    async def other(self, request):
        body = await request.body()
        self.reached.append(f"{request.method} {request.url.path} {len(body)}")
        return PlainTextResponse("in")

    async def talk(self, websocket):
        self.reached.append(f"WS {websocket.url.path}")
        self.queries.append(websocket.url.query)
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(text)


class Server(uvicorn.Server):
    def __init__(self, config):
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets=None):
        await super().startup(sockets=sockets)
        self.up.set()


@asynccontextmanager
async def listening(app, sock: socket.socket, **config) -> AsyncIterator[None]:
    server = Server(uvicorn.Config(app, log_config=None, access_log=False, **config))
    task = asyncio.create_task(server.serve(sockets=[sock]))
    try:
        async with asyncio.timeout(DEADLINE):
            await server.up.wait()
        yield
    finally:
        server.should_exit = True
        async with asyncio.timeout(DEADLINE):
            await task
        sock.close()


@dataclass
class Site:
    port: int
    inner: Inner
    door: Door

    async def ask(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(DEADLINE):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                writer.write(request)
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                pairs = [line.split(": ", 1) for line in head[1:] if line]
                headers = {name.lower(): value for name, value in pairs}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                return int(head[0].split()[1]), headers, body
            finally:
                writer.close()

    async def http(self, method="GET", path="/status", *, body=None, host=None, **headers):
        lines = [f"{method} {path} HTTP/1.1"]
        lines += [f"Host: {host}" for host in as_list(host or f"localhost:{self.port}")]
        for name, value in headers.items():
            lines += [f"{name.replace('_', '-')}: {one}" for one in as_list(value)]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        return await self.ask(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (body or b""))

    async def status(self, *args, **kwargs) -> int:
        return (await self.http(*args, **kwargs))[0]

    async def handshake(self, path="/ws", **headers) -> int:
        """Open a WebSocket by hand; 101 is a success."""
        return await self.status(path=path, **{**UPGRADE, **headers})


UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec_WebSocket_Version": "13",
    "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def as_list(value):
    return value if isinstance(value, list) else [value]


@asynccontextmanager
async def site(*, ws="auto", busy=lambda: False, max_calls=None, body_timeout=5.0, **options):
    uploads = options.pop("uploads", False)
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    inner = Inner()
    door = Door(
        inner.app(),
        rules=door_rules(ServeOptions(port=port, **options), uploads=uploads),
        busy=busy,
        max_calls=max_calls,
        body_timeout=body_timeout,
    )
    async with listening(door, sock, ws=ws):
        yield Site(port, inner, door)
        inner.over.set()
