"""The page that callers see: what its files may hold, and how it tells of a refusal."""

import contextlib
import json
import re
import socket
import struct
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
import uvicorn
from pipecat.frames.frames import (
    InputAudioRawFrame,
    InputTransportMessageFrame,
    InterruptionFrame,
    OutputAudioRawFrame,
    OutputTransportMessageFrame,
)
from pipecat.serializers.protobuf import ProtobufFrameSerializer
from playwright.async_api import Browser, expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

import pipecat_workers_cli.session

PAGE = Path(pipecat_workers_cli.session.__file__).parent / "page"
NAMESPACES = {"http://www.w3.org/2000/svg"}  # a name, never fetched
BUSY = {"error": "busy: 2 calls are open", "mend": "wait for one to end"}


def in_the_browser(test):
    """Mark a test that opens a page in the browser of all these tests."""
    alike = (
        pytest.mark.browser,
        pytest.mark.asyncio(loop_scope="session"),
        pytest.mark.xdist_group("page"),
    )
    for mark in alike:
        test = mark(test)
    return test


class Markup(HTMLParser):
    """The ids, attributes and inline texts of an HTML file."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.inline = ""
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        for name, value in attrs:
            self.attributes.append((tag, name, value or ""))
            if name == "id":
                self.ids.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside in {"script", "style"}:
            self.inline += data.strip()


def markup() -> Markup:
    parsed = Markup()
    parsed.feed((PAGE / "index.html").read_text("utf-8"))
    return parsed


def scripts() -> str:
    return "\n".join(path.read_text("utf-8") for path in sorted(PAGE.glob("*.js")))


def test_no_file_names_a_foreign_address():
    for path in PAGE.iterdir():
        text = path.read_text("utf-8")
        addresses = set(re.findall(r"(?:https?:|wss?:|stun:|turns?:)?//[\w.-]+\.\w[\w./-]*", text))
        assert addresses <= NAMESPACES, path.name
        assert "stun:" not in text, path.name


def test_scripts_styles_and_handlers_are_all_in_files_of_their_own():
    parsed = markup()
    assert parsed.inline == ""
    assert [a for a in parsed.attributes if a[1] == "style" or a[1].startswith("on")] == []
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|\beval\(|new Function", scripts())
    assert 'setAttribute("style"' not in scripts()


def test_every_file_is_referred_to_relatively_so_that_a_prefix_does_no_harm():
    links = [value for _, name, value in markup().attributes if name in {"src", "href"}]
    assert links
    for link in links:
        assert link.startswith("page/"), link
        assert (PAGE / link.removeprefix("page/")).is_file(), link
    for name in re.findall(r'from "([^"]+)"', scripts()):
        assert name.startswith("./"), name
        assert (PAGE / name).is_file(), name
    asked = re.findall(r'(?:new URL|\bask)\("([^"]+)"', scripts())
    assert set(asked) == {"api/offer", "ws-client", "worklets.js"}
    assert (PAGE / "worklets.js").is_file()


def test_every_id_that_the_scripts_and_labels_name_is_there_once():
    parsed = markup()
    assert len(parsed.ids) == len(set(parsed.ids))
    named = set(re.findall(r'element\("([^"]+)"\)', scripts()))
    labels = {v for _, name, v in parsed.attributes if name in {"for", "aria-labelledby"}}
    assert named
    assert named | labels <= set(parsed.ids)


def test_the_page_is_small():
    assert sum(path.stat().st_size for path in PAGE.iterdir()) < 100_000


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_their_ground(scheme: str):
    css = (PAGE / "style.css").read_text("utf-8")
    roots = re.findall(r":root \{(.*?)\}", css, re.S)
    light, dark = (dict(re.findall(r"--([\w-]+): (#\w{6})", root)) for root in roots)
    colour = light if scheme == "light" else light | dark
    on_panels = [
        (words, ground)
        for words in ("ink", "quiet", "accent", "caller", "alarm")
        for ground in ("ground", "panel")
    ]
    others = [("on-accent", "accent"), ("ink", "tint"), ("alarm", "alarm-tint")]
    for words, ground in [*on_panels, *others]:
        assert contrast(colour[words], colour[ground]) >= 4.5, (words, ground)


def contrast(one: str, other: str) -> float:
    """Compute the contrast ratio of two `#rrggbb` colours as WCAG 2 defines it."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


class BusyServer:
    """Serves the page under a path prefix and answers every offer with 503."""

    def __init__(self) -> None:
        self.offers: list[tuple[dict[str, str], str | None]] = []
        routes = [
            Route("/", self._page),
            Route("/api/offer", self._offer, methods=["POST"]),
            Mount("/page", StaticFiles(directory=PAGE)),
        ]
        self._app = Starlette(routes=[Mount("/prefix", routes=routes)])

    async def _page(self, _request: Request) -> Response:
        policy = {"Content-Security-Policy": "default-src 'self'"}
        return FileResponse(PAGE / "index.html", headers=policy)

    async def _offer(self, request: Request) -> Response:
        self.offers.append((await request.json(), request.headers.get("authorization")))
        return JSONResponse(BUSY, status_code=503)

    @contextlib.contextmanager
    def running(self) -> Iterator[str]:
        """Serve in a thread while the block lasts; gives the page's address."""
        config = uvicorn.Config(self._app, log_level="error", lifespan="off")
        server = uvicorn.Server(config)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
            thread.start()
            try:
                yield f"http://localhost:{listening.getsockname()[1]}/prefix/"
            finally:
                server.should_exit = True
                thread.join(timeout=10)


@in_the_browser
async def test_a_busy_server_is_told_in_its_own_words_and_the_button_works_again(
    browser: Browser,
) -> None:
    busy = BusyServer()
    with busy.running() as address:
        page = await browser.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("requestfailed", lambda request: faults.append(request.url))
        await page.goto(f"{address}#token=s3cret-_x")
        assert page.url == address  # the token is out of sight
        for _ in range(2):
            await page.get_by_role("button", name="Connect", exact=True).click()
            alert = page.get_by_role("alert")
            await expect(alert).to_contain_text("Busy: 2 calls are open.")
            await expect(alert).to_contain_text("Wait for one to end.")
            await expect(page.locator("body")).to_have_attribute("data-state", "closed")
        await page.close()
    assert faults == []
    assert all(url.startswith(address) for url in asked), asked
    assert [token for _, token in busy.offers] == ["Bearer s3cret-_x"] * 2
    for offer, _ in busy.offers:
        assert offer["type"] == "offer"
        assert "m=audio" in offer["sdp"]
        assert "m=application" in offer["sdp"]
        assert "typ srflx" not in offer["sdp"]


CODEC = """async ([sound, message, interruption, words]) => {
  const { decodeFrame, encodeAudio, encodeMessage } = await import(
    new URL("page/frames.js", document.baseURI)
  );
  const read = (bytes) => decodeFrame(Uint8Array.from(bytes).buffer);
  const audio = read(sound);
  return {
    audio: { ...audio, samples: [...audio.samples] },
    message: read(message),
    interruption: read(interruption),
    broken: [read([]), read(sound.slice(0, 40)), read([255, 255, 255]), read([10, 2, 8, 1])],
    said: [...encodeAudio(Int16Array.from(audio.samples), 16000)],
    sent: [...encodeMessage(words)],
  };
}"""


@in_the_browser
async def test_the_page_reads_and_writes_pipecats_own_frames(browser: Browser) -> None:
    codec = ProtobufFrameSerializer()
    samples = [0, 1, -1, 32767, -32768, 258] * 60
    sound = struct.pack(f"<{len(samples)}h", *samples)
    words = json.dumps({"label": "rtvi-ai", "data": "Grüße, 世界 " * 40})
    frames = [
        OutputAudioRawFrame(sound, 24_000, 1),
        OutputTransportMessageFrame(json.loads(words)),
        InterruptionFrame(),
    ]
    given = [[*(await codec.serialize(frame) or b"")] for frame in frames]
    with BusyServer().running() as address:
        page = await browser.new_page()
        await page.goto(address)
        read = await page.evaluate(CODEC, [*given, words])
        await page.close()
    assert read["audio"] == {"kind": "audio", "samples": samples, "rate": 24_000}
    assert json.loads(read["message"]["text"]) == json.loads(words)
    assert read["interruption"] == {"kind": "interruption"}
    assert read["broken"] == [None] * 4
    heard = await codec.deserialize(bytes(read["said"]))
    assert isinstance(heard, InputAudioRawFrame)
    assert (heard.audio, heard.sample_rate, heard.num_channels) == (sound, 16_000, 1)
    taken = await codec.deserialize(bytes(read["sent"]))
    assert isinstance(taken, InputTransportMessageFrame)
    assert taken.message == json.loads(words)
