"""Calls by voice through our page, in a browser that reaches nothing but this machine."""

import asyncio
import os
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.e2e.browser import (
    ask_for_boots,
    fundamental,
    interrupt_with_goodbye,
    open_browser,
    open_page,
    silent_after,
)
from tests.e2e.conftest import Server, own_folders
from tests.e2e.fleet import Fleet
from tests.ports import free_port

pytestmark = [
    pytest.mark.browser,
    pytest.mark.speech,
    pytest.mark.slow,
    pytest.mark.aloud,
    pytest.mark.flaky(reruns=1),  # a small model mishears now and then
    pytest.mark.asyncio(loop_scope="module"),
]

LONG = '''
name = "long"
[main]
name = "acme"
opening = { worker = "teller", message = "Say hello." }
[[workers]]
name = "teller"
summary = "tells stories"
voice = { piper = "joe" }
transfers = ["support"]
script = [
  { on = "opening", say = "Hello, I am the teller of stories. Which one would you like to hear?" },
  { match = 'boots', call = "transfer_to_agent", args = { agent = "support", reason = "boots" } },
  { match = 'story', say = """Once upon a time there was a king who lived on a mountain.
    He had three daughters, and each of them had a horse. The first horse was white. The second
    one was black. The third one was brown, and it could fly over the sea.""" },
]
[[workers]]
name = "support"
summary = "knows prices"
voice = { piper = "joe-low" }
transfers = ["teller"]
[[workers.script]]
match = "boots"
say = "This is the support desk. Our rocket boots cost one hundred dollars."
'''


class QuietFiles(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving_files(folder: Path) -> Iterator[str]:
    """Serve a folder from a port of its own, as somebody else's web server would."""
    handler = partial(QuietFiles, directory=str(folder))
    with ThreadingHTTPServer(("localhost", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://localhost:{server.server_port}/"
        server.shutdown()
        thread.join(5)


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
        env = {**kept, **own_folders(folder)}

        def start(*words: str) -> Server:
            words = (*words, "--services", "offline", "-o", "json")
            running.append(Server(list(words), port=free_port(), env=env, cwd=Path(folder)))
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
        lines = await ask_for_boots(call)
        assert any(line.startswith("(transfer) greeter → support") for line in lines), lines

        assert lines[0].startswith("greeter: Welcome to Acme"), lines

        lines = await interrupt_with_goodbye(call)
        assert await call.page.locator("#state").inner_text() == "Call ended"
        assert lines[-1].startswith("(end) call ended"), lines

        await call.connect()
        await call.hang_up()
        assert call.troubles == []


@pytest.mark.long  # a minute an engine; in words test_eval_over_hosts holds the same
@pytest.mark.parametrize("engine", ["redis", "pgmq"], indirect=True)
async def test_agents_in_processes_of_their_own_are_heard_as_if_they_were_here(
    fleet: Fleet, serve_all_along, browser
):
    await asyncio.to_thread(fleet.hosting, "greeter", "support")
    bus = ("--bus", fleet.bus.url, "--channel", fleet.bus.channel)
    server = await asyncio.to_thread(serve_all_along, "handoff", *bus)
    async with open_page(browser, server.url) as call:
        await call.connect()
        await call.heard_out()
        await call.ask("How much are the rocket boots?")
        answered = await call.recording()
        words = await answered.since(answered.turns()[-1][1]).words()
        assert any(price in words for price in ("two hundred", "ninety nine", "299")), words
        assert await call.lit() == "support"
        lines = await call.lines()
        assert lines[0].startswith("greeter: Welcome to Acme"), lines
        assert any(line.startswith("(transfer) greeter → support") for line in lines), lines
        await call.hang_up()
        assert call.troubles == []


async def test_who_is_interrupted_falls_silent_and_another_voice_answers(serve_all_along, browser):
    server = serve_all_along("run", "./long.toml", "--set", "main.tts_per_worker=true")
    async with open_page(browser, server.url) as call:
        await call.connect()
        await call.heard_out()
        greeting = await call.recording()
        await call.say("Tell me a story.")
        await call.until("document.body.dataset.turn === 'bot'")
        await call.loud_for(2.0)
        await call.say("How much are the boots?")
        await call.said("one hundred dollars")
        await call.silent()
        whole = await call.recording()
        began, ended = whole.turns()[-1]
        assert silent_after(whole, (began, ended)) < 1.5
        words = await whole.since(ended).words()
        assert "this is the support desk" in words, words
        assert "one hundred dollars" in words, words
        assert "horse" not in words, words
        assert any("Once upon a time" in line for line in await call.lines())
        assert await call.lit() == "support"
        assert fundamental(greeting.bot) / fundamental(whole.bot[ended:]) >= 1.15
        assert call.troubles == []


@pytest.mark.long
async def test_two_tabs_are_two_calls(acme, browser):
    async with (
        open_page(browser, acme.url) as one,
        open_page(browser, acme.url) as other,
    ):
        await asyncio.gather(one.connect(), other.connect())
        await asyncio.gather(one.silent(), other.silent())
        await one.type("How much is the paint?")
        await one.said("$49")
        assert await one.lit() == "support"
        assert await other.lit() == "greeter"
        await one.hang_up()
        await other.ask("What do you sell?")
        assert any("Tornado Kit" in line for line in await other.lines())
        assert not any("paint?" in line.lower() for line in await other.lines())
        await other.hang_up()
        assert one.troubles + other.troubles == []


# Every way that a page's script has to reach a server; what came of it is given back.
KNOCK = """async (home) => {
  const tried = {};
  const asked = async (name, path, options) => {
    try {
      const answer = await fetch(home + path, options);
      tried[name] = answer.type === "opaque" ? "opaque" : answer.status;
    } catch {
      tried[name] = "refused";
    }
  };
  const json = { "Content-Type": "application/json" };
  for (const path of ["/", "/page/page.js", "/status", "/api/offer", "/start", "/client/"]) {
    await asked(`read ${path}`, path);
    await asked(`blind ${path}`, path, { mode: "no-cors" });
    await asked(`post ${path}`, path, { method: "POST", body: "{}", mode: "no-cors" });
    await asked(`json ${path}`, path, { method: "POST", body: "{}", headers: json });
  }
  for (const path of ["/ws", "/ws-client"]) {
    tried[`socket ${path}`] = await new Promise((done) => {
      const socket = new WebSocket(home.replace("http", "ws") + path);
      socket.onopen = () => done("open");
      socket.onerror = () => done("refused");
    });
  }
  return tried;
}"""


async def test_a_page_from_another_port_gets_403_everywhere(acme, browser, tmp_path):
    (tmp_path / "index.html").write_text("<!doctype html><title>foreign</title>")
    before = len(acme.out)
    with serving_files(tmp_path) as foreign:
        page = await browser.new_page()
        statuses: dict[str, set[int]] = {}
        page.on(
            "response",
            lambda answer: (
                answer.url.startswith(acme.url)
                and statuses.setdefault(urlsplit(answer.url).path, set()).add(answer.status)
            ),
        )
        await page.goto(foreign)
        tried = await page.evaluate(KNOCK, acme.url)
        await page.close()
    assert set(tried.values()) <= {"refused", "opaque"}, tried
    assert statuses, tried
    assert set().union(*statuses.values()) == {403}, statuses
    # The call of the test before may have ended meanwhile.
    assert [line for line in acme.out[before:] if '"end"' not in line] == []
