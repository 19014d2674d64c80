"""What a real browser makes of the door: our page works behind it, a foreign one gets nowhere."""

import asyncio
import contextlib
import socket
from pathlib import Path

import pytest
import uvicorn
from playwright.async_api import async_playwright
from starlette.applications import Starlette
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

import pipecat_workers_cli.session.door as door_module
from pipecat_workers_cli.options import ServeOptions
from pipecat_workers_cli.session.door import Door
from pipecat_workers_cli.session.door_rules import door_rules

pytestmark = pytest.mark.browser

PAGE = Path(door_module.__file__).parent / "page"
DEADLINE = 20  # seconds

# Tries every way that a page has to reach another server; what it reads back is the result.
ATTACK = """async (port) => {
  const at = (path) => `http://localhost:${port}${path}`;
  const settled = async (promise) => { try { return await promise; } catch { return "refused"; } };
  const fetched = (path, options) => settled(fetch(at(path), options).then((r) => r.status));
  const loaded = (tag, path) => new Promise((done) => {
    const element = document.createElement(tag);
    element.onload = () => done("loaded");
    element.onerror = () => done("refused");
    element.src = at(path);
    document.body.append(element);
  });
  const json = { method: "POST", headers: { "Content-Type": "application/json" }, body: "{}" };
  const socket = new Promise((done) => {
    const one = new WebSocket(`ws://localhost:${port}/ws`);
    one.onopen = () => done("open");
    one.onerror = () => done("refused");
  });
  const form = document.createElement("form");
  const frame = document.createElement("iframe");
  frame.name = "sink";
  Object.assign(form, { method: "POST", action: at("/start"), target: "sink" });
  document.body.append(frame, form);
  const answered = new Promise((done) => { frame.onload = () => done("answered"); });
  form.submit();
  return {
    read: await fetched("/status"),
    simple: await fetched("/start", { method: "POST", body: "{}" }),
    preflighted: await fetched("/api/offer", json),
    blind: (await settled(fetch(at("/daily"), { mode: "no-cors" }))).type ?? "refused",
    image: await loaded("img", "/daily"),
    script: await loaded("script", "/page/page.js"),
    socket: await socket,
    form: await answered,
  };
}"""


class Target:
    """An application that notes what reached it."""

    def __init__(self) -> None:
        self.reached: list[str] = []

    def app(self) -> Starlette:
        methods = ["GET", "POST", "PATCH", "OPTIONS"]
        return Starlette(
            routes=[
                Route("/", lambda request: FileResponse(PAGE / "index.html")),
                Mount("/page", StaticFiles(directory=PAGE)),
                WebSocketRoute("/ws", self.talk),
                Route("/{path:path}", self.other, methods=methods),
            ]
        )

    async def other(self, request):
        self.reached.append(f"{request.method} {request.url.path}")
        return PlainTextResponse("in", headers={"Access-Control-Allow-Origin": "*"})

    async def talk(self, websocket):
        self.reached.append("WS")
        await websocket.accept()
        await websocket.close()


class Server(uvicorn.Server):
    def __init__(self, app, sock):
        super().__init__(uvicorn.Config(app, log_config=None))
        self.sock, self.up = sock, asyncio.Event()

    async def startup(self, sockets=None):
        await super().startup(sockets=sockets)
        self.up.set()


@contextlib.asynccontextmanager
async def listening(app, sock):
    server = Server(app, sock)
    task = asyncio.create_task(server.serve(sockets=[sock]))
    try:
        async with asyncio.timeout(DEADLINE):
            await server.up.wait()
        yield
    finally:
        server.should_exit = True
        server.force_exit = True
        async with asyncio.timeout(DEADLINE):
            await task
        sock.close()


@contextlib.asynccontextmanager
async def browsing(chromium: str):
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        try:
            yield await browser.new_page()
        finally:
            await browser.close()


@contextlib.asynccontextmanager
async def target_behind_door(**options):
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    target = Target()
    door = Door(target.app(), rules=door_rules(ServeOptions(port=port, **options)))
    async with listening(door, sock):
        yield target, door, port


async def test_a_page_from_another_port_reaches_nothing_whatever_it_tries(chromium):
    foreign = Starlette(routes=[Route("/", lambda request: HTMLResponse("<body>hello</body>"))])
    other = socket.create_server(("127.0.0.1", 0))
    async with (
        target_behind_door() as (target, door, port),
        listening(foreign, other),
        browsing(chromium) as page,
    ):
        statuses: list[int] = []
        page.on(
            "response",
            lambda response: f":{port}/" in response.url and statuses.append(response.status),
        )
        for name in ("localhost", "127.0.0.1"):
            await page.goto(f"http://{name}:{other.getsockname()[1]}/")
            got = await page.evaluate(ATTACK, port)
            for way in ("read", "simple", "preflighted", "image", "script", "socket"):
                assert got[way] == "refused", way
        assert target.reached == []
        assert set(statuses) <= {403}
        assert door.refused["origin"] >= 14


async def test_our_page_loads_whole_behind_the_door_and_its_policy(chromium):
    async with target_behind_door(page_token="fedcba9876543210") as (_, door, port):
        async with browsing(chromium) as page:
            troubles: list[str] = []
            page.on("console", lambda line: line.type == "error" and troubles.append(line.text))
            page.on("pageerror", lambda error: troubles.append(str(error)))
            page.on("requestfailed", lambda request: troubles.append(request.url))
            page.on(
                "response",
                lambda response: response.status >= 400 and troubles.append(response.url),
            )
            await page.goto(f"http://localhost:{port}/#token=fedcba9876543210")
            await page.wait_for_load_state("networkidle")
            await page.get_by_role("button", name="Connect").wait_for(timeout=DEADLINE * 1000)
        assert troubles == []
        assert not door.refused
