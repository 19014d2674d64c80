"""Calls by voice through our page, in a browser that reaches nothing but this machine."""

import asyncio
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.e2e.browser import RATE, fundamental, open_browser, open_page, stretches
from tests.e2e.conftest import Server

pytestmark = [
    pytest.mark.browser,
    pytest.mark.speech,
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),
]

LONG = """
name = "long"
[main]
name = "acme"
tts_per_worker = true
opening = { worker = "teller", message = "Say hello." }
[[workers]]
name = "teller"
summary = "tells stories"
voice = { piper = "joe" }
transfers = ["support"]
script = [
  { on = "opening", say = "Hello, I am the teller of stories. Which one would you like to hear?" },
  { match = 'boots', call = "transfer_to_agent", args = { agent = "support", reason = "boots" } },
  { match = 'story', say = "Once upon a time there was a king who lived on a mountain. He had three daughters, and each of them had a horse. The first horse was white, and the second one was black. The third one was brown, and it could fly over the sea. One morning they all rode out together." },
]
[[workers]]
name = "support"
summary = "knows prices"
voice = { piper = "joe-low" }
transfers = ["teller"]
script = [
  { match = 'boots', say = "This is the support desk. Our rocket boots cost one hundred dollars today." },
]
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(chromium) -> AsyncIterator[Browser]:
    async with open_browser(chromium) as opened:
        yield opened


@pytest.fixture(scope="module")
def serve_all_along() -> Iterator[Callable[..., Server]]:
    """Start a `pmw` for all tests of this file."""
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    running: list[Server] = []
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "long.toml").write_text(LONG, encoding="utf-8")
        env = {**kept, "XDG_STATE_HOME": folder, "PYTHONUNBUFFERED": "1"}

        def start(*words: str) -> Server:
            with socket.create_server(("localhost", 0)) as probe:
                port = probe.getsockname()[1]
            words = (*words, "--services", "offline", "-o", "json")
            running.append(Server(list(words), port=port, env=env, cwd=Path(folder)))
            return running[-1]

        yield start
        for server in running:
            server.stop()


@pytest.fixture(scope="module")
def acme(serve_all_along) -> Server:
    return serve_all_along("handoff")


async def test_a_question_is_answered_aloud_and_the_goodbye_is_heard_to_its_end(acme, browser):
    async with open_page(browser, acme.url) as call:
        await call.connect()
        await call.heard_out()
        await call.ask("How much are the rocket boots?")
        answered = await call.recording()
        first, last = answered.turns()[-1]
        words = await answered.since(last).words()
        assert "two hundred" in words, words
        assert "ninety nine" in words, words
        assert await call.lit() == "support"
        lines = await call.lines()
        assert any("rocket boots" in line.lower() for line in lines if line.startswith("you: "))
        assert any("$299" in line for line in lines if line.startswith("support: ")), lines
        assert any(line.startswith("(transfer) greeter → support") for line in lines), lines

        await call.say("Goodbye.")
        await call.ended()
        spoken = (await call.recording()).since(len(answered.bot))
        assert (await spoken.words()).split()[-1:] == ["goodbye"]
        assert await call.page.locator("#state").inner_text() == "Call ended"
        assert any(line.startswith("(end) call ended") for line in await call.lines())

        await call.connect()
        await call.hang_up()
        assert call.troubles == []
