"""The door before the real runner of Pipecat, in a process of its own, as `serve` puts it."""

import asyncio
import contextlib
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass

import aiortc
import pytest
import websockets

from tests.ports import free_port

pytestmark = pytest.mark.xdist_group("door before the runner")  # whose processes all tests share

EVIL = "https://evil.example"
TOKEN = "fedcba9876543210"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
STARTS_WITHIN = 60  # seconds; importing Pipecat takes most of it
DEADLINE = 20

PROGRAM = """
import asyncio, json, sys
from contextlib import asynccontextmanager
from pipecat.runner import run as runner
from pipecat_workers_cli.options import ServeOptions
from pipecat_workers_cli.session.door import Door
from pipecat_workers_cli.session.door_rules import door_rules

port, token, max_calls = int(sys.argv[1]), sys.argv[2] or None, int(sys.argv[3])
rules = door_rules(ServeOptions(port=port, page_token=token))

async def bot(runner_args):
    print("bot", flush=True)
    if socket := getattr(runner_args, "websocket", None):
        await socket.send_text("hello")
        await socket.receive()
    else:
        gone = asyncio.Event()
        connection = runner_args.webrtc_connection
        connection.add_event_handler("closed", lambda connection: gone.set())
        await connection.connect()
        await gone.wait()
    print("bye", flush=True)

app, lifespan = runner.app, runner.app.router.lifespan_context

@asynccontextmanager
async def with_door(app):
    async with app.state.kept(app):
        inner = app.middleware_stack or app.build_middleware_stack()
        app.middleware_stack = Door(inner, rules=rules, max_calls=max_calls)
        routes = [
            {"path": route.path, "methods": sorted(getattr(route, "methods", None) or ["GET"]),
             "ws": type(route).__name__.endswith("WebSocketRoute")}
            for route in app.routes
        ]
        print("up " + json.dumps(routes), flush=True)
        yield

app.state.kept = lifespan
app.router.lifespan_context = with_door
sys.argv = ["bot.py", "--host", "localhost", "--port", str(port)]
runner.main()
"""


@dataclass
class Runner:
    """Pipecat's runner behind our door."""

    process: subprocess.Popen[str]
    port: int
    routes: list[dict]

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> int:
        return self.answer(method, path, body, **headers)[0]

    def answer(self, method, path, body=None, **headers) -> tuple[int, dict[str, str], bytes]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with contextlib.closing(
            http.client.HTTPConnection("localhost", self.port, timeout=DEADLINE)
        ) as connection:
            connection.request(method, path, body, named)
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()

    async def handshake(self, path: str, **options) -> int:
        try:
            async with websockets.connect(f"ws://localhost:{self.port}{path}", **options):
                return 101
        except websockets.InvalidStatus as refused:
            return refused.response.status_code

    async def heard(self, line: str) -> None:
        """Wait until the bot's process prints a line."""
        async with asyncio.timeout(DEADLINE):
            while (await asyncio.to_thread(self.process.stdout.readline)).strip() != line:
                assert self.process.poll() is None


@contextlib.contextmanager
def running(port: int, *, token: str = "", max_calls: int = 100):
    plain = {name: value for name, value in os.environ.items() if "PIPECAT_" not in name}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(port), token, str(max_calls)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=plain | {"PYTHON_DOTENV_DISABLED": "1"},
    )
    watchdog = threading.Timer(STARTS_WITHIN, process.kill)
    watchdog.start()
    try:
        for line in process.stdout:
            if line.startswith("up "):
                break
        else:
            pytest.fail("Pipecat's runner did not start")
        wait_for_port(port, process)  # it listens a moment after its lifespan has begun
        watchdog.cancel()
        yield Runner(process, port, json.loads(line[3:]))
    finally:
        watchdog.cancel()
        process.terminate()
        try:
            process.wait(timeout=DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
        process.stdout.close()


@pytest.fixture(scope="module")
def runner():
    with running(free_port()) as one:
        yield one


@pytest.fixture(scope="module")
def guarded():
    """A runner with a page token and room for one call."""
    with running(free_port(), token=TOKEN, max_calls=1) as one:
        yield one


def wait_for_port(port: int, process: subprocess.Popen[str]) -> None:
    while process.poll() is None:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("localhost", port)).close()
            return


def example(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "x", path)


async def test_a_foreign_page_is_refused_at_every_endpoint_that_the_runner_has(runner):
    asked = 0
    for route in runner.routes:
        path = example(route["path"]) or "/"
        if route["ws"]:
            assert await runner.handshake(path, origin=EVIL) == 403
            assert await runner.handshake(path, origin=f"http://localhost:{runner.port + 1}") == 403
            asked += 1
            continue
        for method in {*route["methods"], "OPTIONS"}:
            for origin in (EVIL, "null", f"http://localhost:{runner.port + 1}"):
                assert runner.ask(method, path, b"{}", Origin=origin) == 403
            assert runner.ask(method, path, b"{}", Host=f"evil.example:{runner.port}") == 403
            asked += 1
    assert asked > 20
    paths = {route["path"] for route in runner.routes}
    assert {"/start", "/status", "/api/offer", "/ws", "/ws-client", "/files"} <= paths


async def test_the_runners_cors_answers_own_pages_only(runner):
    own = f"http://localhost:{runner.port}"
    asked = {"Access_Control_Request_Method": "POST"}
    status, headers, _ = runner.answer("OPTIONS", "/api/offer", Origin=own, **asked)
    assert (status, headers["access-control-allow-origin"]) == (200, own)
    status, headers, _ = runner.answer("OPTIONS", "/api/offer", Origin=EVIL, **asked)
    assert status == 403
    assert not [name for name in headers if name.lower().startswith("access-control")]


async def test_who_sends_no_origin_or_an_own_one_is_served(runner):
    assert runner.ask("GET", "/status") == 200
    assert runner.ask("POST", "/start", b'{"transport": "webrtc"}') == 200
    for path in ("/ws", "/ws-client"):
        for origin in (None, f"http://localhost:{runner.port}"):
            assert await runner.handshake(path, origin=origin) == 101
            await runner.heard("bot")


async def offer(peer: aiortc.RTCPeerConnection) -> bytes:
    await peer.setLocalDescription(await peer.createOffer())
    sdp = {"sdp": peer.localDescription.sdp, "type": peer.localDescription.type}
    return json.dumps(sdp).encode()


async def test_a_full_house_says_busy_until_the_webrtc_call_in_it_ends(guarded):
    async def ask(method: str, path: str, body: bytes) -> tuple[int, bytes]:
        headers = {"Content_Type": "application/json", **BEARER}
        status, _, answer = await asyncio.to_thread(guarded.answer, method, path, body, **headers)
        return status, answer

    opened = asyncio.Event()
    peer = aiortc.RTCPeerConnection()
    peer.createDataChannel("chat").on("open", opened.set)
    try:
        body = await offer(peer)
        status, text = await ask("POST", "/api/offer", body)
        assert status == 200
        answer = json.loads(text)
        await peer.setRemoteDescription(aiortc.RTCSessionDescription(answer["sdp"], answer["type"]))
        async with asyncio.timeout(DEADLINE):
            await opened.wait()
        for path in ("/api/offer", "/start"):
            assert (await ask("POST", path, body))[0] == 503
        assert await guarded.handshake("/ws", additional_headers=BEARER) == 503
        candidates = json.dumps({"pc_id": answer["pc_id"], "candidates": []}).encode()
        assert (await ask("PATCH", "/api/offer", candidates))[0] == 200
        stale = json.dumps({**json.loads(body), "pc_id": "of another call"}).encode()
        assert (await ask("POST", "/api/offer", stale))[0] == 503
        again = json.dumps({**json.loads(await offer(peer)), "pc_id": answer["pc_id"]}).encode()
        status, text = await ask("POST", "/api/offer", again)
        assert (status, json.loads(text)["pc_id"]) == (200, answer["pc_id"])
    finally:
        await peer.close()
    await guarded.heard("bye")
    assert await guarded.handshake("/ws", additional_headers=BEARER) == 101
    await guarded.heard("bye")


async def test_with_a_page_token_nothing_but_the_page_is_served_without_it(guarded):
    for route in guarded.routes:
        path = example(route["path"]) or "/"
        if route["ws"]:
            assert await guarded.handshake(path) == 401
        elif path not in ("/", "/client"):
            assert guarded.ask(route["methods"][0], path, b"{}") == 401
    assert guarded.ask("GET", "/client/") == 403
    assert guarded.ask("GET", "/status", **BEARER) == 200
    for path, headers in (("/ws", BEARER), (f"/ws?token={TOKEN}", {})):
        assert await guarded.handshake(path, additional_headers=headers) == 101
        await guarded.heard("bye")
