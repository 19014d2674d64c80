"""Calls by voice through our page where WebRTC finds no path: over a WebSocket."""

import asyncio
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
import websockets
from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    InputTransportMessageFrame,
    OutputAudioRawFrame,
    OutputTransportMessageFrame,
)
from pipecat.serializers.protobuf import ProtobufFrameSerializer
from playwright.async_api import Browser

from tests.e2e.browser import (
    RATE,
    Recording,
    ask_for_boots,
    interrupt_with_goodbye,
    open_browser,
    open_page,
    spoken,
)
from tests.e2e.conftest import Server, own_folders, write_brief
from tests.ports import free_port

pytestmark = [
    pytest.mark.browser,
    pytest.mark.speech,
    pytest.mark.slow,
    pytest.mark.aloud,
    pytest.mark.flaky(reruns=1),  # a small model mishears now and then
    pytest.mark.asyncio(loop_scope="module"),
]

TOKEN = "open-sesame-7-times"
STEP = 640  # bytes: 20 ms of what the server hears
NO_UDP = "--webrtc-ip-handling-policy=disable_non_proxied_udp"
NO_WEBRTC = "delete window.RTCPeerConnection;"
# Offers and is answered, but never hears of the answer: what a firewall makes of it.
DEAF = """window.RTCPeerConnection = class extends window.RTCPeerConnection {
  async setRemoteDescription() {}
};"""
# Brings the only interface up, says so, and stays until its stdin is closed.
LOOPBACK = """
import fcntl, socket, struct, sys
SIOCSIFFLAGS, IFF_UP, IFF_RUNNING = 0x8914, 0x1, 0x40
with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP | IFF_RUNNING))
print("up", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def nowhere() -> Iterator[list[str]]:
    """The words before a command that run it where there is a loopback interface alone."""
    is_root = os.geteuid() == 0
    own = [] if is_root else ["--map-root-user"]
    holder = subprocess.Popen(
        ["unshare", *own, "--net", sys.executable, "-c", LOOPBACK],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    if holder.stdout.readline() != "up\n":
        said = f"no network namespace can be had: {holder.communicate(timeout=5)[1]}"
        if os.environ.get("CI") and is_root:
            pytest.fail(said)
        pytest.skip(said)
    same = [] if is_root else ["--user", "--preserve-credentials"]
    yield ["nsenter", "--target", str(holder.pid), *same, "--net"]
    holder.communicate(timeout=5)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(chromium) -> AsyncIterator[Browser]:
    async with open_browser(chromium) as opened:
        yield opened


@pytest.fixture(scope="module")
def acme() -> Iterator[Server]:
    """A `pmw` with room for one call, which asks for a page token."""
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    with tempfile.TemporaryDirectory() as folder:
        words = ["run", write_brief(Path(folder)), "--services", "offline", "-o", "json"]
        words += ["--max-calls", "1", "--page-token", TOKEN]
        env = {**kept, **own_folders(folder)}
        server = Server(words, port=free_port(), env=env, cwd=Path(folder))
        yield server
        server.stop()


def address(server: Server) -> str:
    return f"{server.url}/#token={TOKEN}"


async def test_a_whole_call_goes_over_the_websocket_when_webrtc_never_connects(acme, browser):
    async with open_page(browser, address(acme), script=DEAF) as call:
        began = asyncio.get_running_loop().time()
        await call.connect()
        assert asyncio.get_running_loop().time() - began < 8
        state = call.page.locator("#state")
        assert await state.inner_text() == "In a call over WebSocket"
        await call.heard_out()
        greeting = await call.recording()
        assert "corporation" in await greeting.words()

        await ask_for_boots(call)

        await call.type("And what about the paint?")
        await call.said("$49")
        await call.silent()

        await interrupt_with_goodbye(call)
        assert await state.inner_text() == "Call ended"

        began = asyncio.get_running_loop().time()
        await call.connect()
        assert asyncio.get_running_loop().time() - began < 2  # the dead path isn't tried again
        await call.hang_up()
        assert call.troubles == []


async def test_without_udp_the_websocket_is_taken_at_once(acme, chromium):
    async with (
        open_browser(chromium, NO_UDP) as browser,
        open_page(browser, address(acme)) as call,
    ):
        began = asyncio.get_running_loop().time()
        await call.connect()
        assert asyncio.get_running_loop().time() - began < 3
        assert await call.page.evaluate("document.body.dataset.path") == "WebSocket"
        await call.heard_out()
        assert "corporation" in await (await call.recording()).words()
        await call.hang_up()
        assert call.troubles == []


@pytest.mark.long
async def test_with_a_loopback_interface_alone_the_question_is_still_answered(
    nowhere, chromium, pmw, tmp_path
):
    words = ("run", write_brief(tmp_path), "--services", "offline", "-o", "json")
    server = pmw(*words, inside=nowhere)
    inside = tmp_path / "chromium"
    inside.write_text(f'#!/bin/sh\nexec {shlex.join([*nowhere, chromium])} "$@"\n')
    inside.chmod(0o755)
    server.wait_for_line("http://localhost:7860/", timeout=60)
    async with (
        open_browser(str(inside)) as browser,
        open_page(browser, "http://localhost:7860/") as call,
    ):
        began = asyncio.get_running_loop().time()
        await call.connect()
        assert asyncio.get_running_loop().time() - began < 8
        assert await call.page.evaluate("document.body.dataset.path") == "WebSocket"
        await call.heard_out()
        await call.ask("How much are the rocket boots?")
        answered = await call.recording()
        words = await answered.since(answered.turns()[-1][1]).words()
        assert any(price in words for price in ("two hundred", "ninety nine", "299")), words
        await call.hang_up()
        assert call.troubles == []


async def test_a_stock_client_talks_over_the_same_endpoint(acme):
    codec = ProtobufFrameSerializer()
    heard = bytearray()
    told: list[dict] = []

    async def send(frame: Frame) -> None:
        await line.send(await codec.serialize(frame) or b"")

    async def speak(text: str) -> None:
        silence = bytes(STEP * 50)
        samples = np.frombuffer(await spoken(text), dtype=np.int16)[:: RATE // 8000]
        sound = np.repeat(samples, 2).tobytes() + silence * 3  # a telephone's band is enough
        for at in range(0, len(sound), STEP):
            await send(OutputAudioRawFrame(sound[at : at + STEP], 16_000, 1))
            await asyncio.sleep(0.02)  # as a microphone would give it

    async def listen() -> None:
        async for data in line:
            frame = await codec.deserialize(data)
            if isinstance(frame, InputAudioRawFrame):
                assert (frame.sample_rate, frame.num_channels) == (RATE, 1)
                heard.extend(frame.audio)
            elif isinstance(frame, InputTransportMessageFrame):
                told.append(frame.message)

    url = f"ws://localhost:{acme.port}/ws-client?token={TOKEN}"
    async with asyncio.timeout(60), websockets.connect(url) as line:
        listening = asyncio.create_task(listen())
        ready = {"version": "1.0.0", "about": {"library": "stock"}}
        message = {"label": "rtvi-ai", "type": "client-ready", "id": "1", "data": ready}
        await send(OutputTransportMessageFrame(message))
        await until_told(told, "bot-stopped-speaking", 1)
        await speak("How much are the rocket boots?")
        await until_told(told, "bot-stopped-speaking", 2)
        listening.cancel()
    assert "bot-ready" in [message["type"] for message in told]
    samples = np.frombuffer(bytes(heard), dtype=np.int16).astype(np.float32) / 32768
    words = await Recording(samples, samples).words()
    assert "corporation" in words, words
    assert any(price in words for price in ("two hundred", "ninety nine", "299")), words


async def until_told(told: list[dict], kind: str, times: int) -> None:
    while [message["type"] for message in told].count(kind) < times:  # noqa: ASYNC110
        await asyncio.sleep(0.05)


async def test_a_refusal_is_told_in_the_servers_own_words(acme, browser):
    async with (
        open_page(browser, address(acme), script=NO_WEBRTC) as one,
        open_page(browser, address(acme), script=NO_WEBRTC) as other,
        open_page(browser, f"{acme.url}/#token=wrong-one-9", script=NO_WEBRTC) as stranger,
    ):
        await one.connect()
        for call, told in ((other, "All calls that this server has room for"), (stranger, "token")):
            await call.page.get_by_role("button", name="Connect", exact=True).click()
            await call.ended()
            assert told in await call.page.get_by_role("alert").inner_text()
        await one.hang_up()
        await other.connect()
        await other.hang_up()
