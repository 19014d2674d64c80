"""A caller in a real browser: speaks when told to, and has heard what the page played."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from pipecat_workers_cli.services.models import speak, transcribe
from pipecat_workers_cli.services.voices import find_voice
from tests.chromium import BARE

RATE = 24_000  # Hz, of what is spoken and recorded
BLOCK = RATE // 50  # samples whose loudness is looked at
SYLLABLE = RATE // 8  # samples; in anything shorter Moonshine hears "you"
LOUD = 0.01  # root mean square of a block in which somebody speaks, full scale being 1
POLL = 0.05  # seconds
FLAGS = (
    *BARE,
    "--autoplay-policy=no-user-gesture-required",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE localhost",
)

# In place of a microphone: a track that is silent until `caller.say`. What the caller says and
# what the bot's track brings are recorded side by side, so that they share one clock.
EARS_AND_MOUTH = """
(() => {
  const RATE = %RATE%, LOUD = %LOUD%;
  const caller = (window.caller = { blocks: [], samples: 0, loudAt: -1, heard: 0 });
  let context, mouth, ears, sink;

  function open() {
    context = new AudioContext({ sampleRate: RATE });
    mouth = context.createMediaStreamDestination();
    const hush = new ConstantSourceNode(context, { offset: 0 });
    hush.connect(mouth); // a track without any source sends nothing at all
    hush.start();
    ears = context.createChannelMerger(2);
    sink = context.createScriptProcessor(4096, 2, 1);
    sink.onaudioprocess = ({ inputBuffer }) => record(inputBuffer);
    ears.connect(sink).connect(context.destination);
  }

  function record(buffer) {
    const block = new Int16Array(buffer.length * 2);
    let sum = 0;
    for (const side of [0, 1]) {
      const samples = buffer.getChannelData(side);
      for (let i = 0; i < samples.length; i++) {
        block[i * 2 + side] = Math.max(-1, Math.min(1, samples[i])) * 32767;
        if (side === 0) sum += samples[i] * samples[i];
      }
    }
    caller.blocks.push(block);
    caller.samples += buffer.length;
    if (Math.sqrt(sum / buffer.length) > LOUD) {
      caller.loudAt = caller.samples;
      caller.heard += 1;
    }
  }

  /** Seconds since the bot was last heard. */
  caller.quietFor = () => (caller.samples - caller.loudAt) / RATE;

  /** Speaks 16-bit samples; gives back when they are over, or at once with `leave`. */
  caller.say = (base64, leave) => {
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    const samples = new Int16Array(bytes.buffer);
    const buffer = context.createBuffer(1, samples.length, RATE);
    buffer.getChannelData(0).set(Float32Array.from(samples, (s) => s / 32768));
    const source = new AudioBufferSourceNode(context, { buffer });
    source.connect(mouth);
    source.connect(ears, 0, 1);
    source.start();
    if (leave) return null;
    return new Promise((done) => (source.onended = () => done(null)));
  };

  /** All that was recorded, in Base64: 16 bits, the bot left, the caller right. */
  caller.recorded = async () => {
    const blob = new Blob(caller.blocks);
    const reader = new FileReader();
    const read = new Promise((done) => (reader.onload = () => done(reader.result)));
    reader.readAsDataURL(blob);
    return (await read).split(",")[1] ?? "";
  };

  Object.defineProperty(window, "caller", { writable: false });
  if (!navigator.mediaDevices) return; // not a page that may have a microphone
  navigator.mediaDevices.getUserMedia = async () => {
    open();
    return mouth.stream;
  };
  // The bot's voice comes to the page's player, by whichever path; the same is recorded here.
  const player = Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, "srcObject");
  Object.defineProperty(HTMLMediaElement.prototype, "srcObject", {
    ...player,
    set(stream) {
      player.set.call(this, stream);
      if (stream) context.createMediaStreamSource(stream).connect(ears, 0, 0);
    },
  });
})();
""".replace("%RATE%", str(RATE)).replace("%LOUD%", str(LOUD))


@dataclass(frozen=True, slots=True)
class Recording:
    """What was said in a call, side by side.

    Attributes:
        bot: What the page played, samples from -1 to 1 at `RATE`.
        caller: What the caller said, as many samples.
    """

    bot: np.ndarray
    caller: np.ndarray

    @classmethod
    def decoded(cls, text: str) -> "Recording":
        sides = np.frombuffer(base64.b64decode(text), dtype=np.int16).reshape(-1, 2)
        bot, caller = sides.T.astype(np.float32) / 32768
        return cls(bot, caller)

    def since(self, sample: int) -> "Recording":
        """Return what was said from `sample` on."""
        return Recording(self.bot[sample:], self.caller[sample:])

    def turns(self) -> list[tuple[int, int]]:
        """Return where the caller spoke: first and last sample, pauses under 0.7 s inside."""
        return stretches(self.caller, pause=0.7)

    async def words(self) -> str:
        """Return what the bot is heard to say, in lower case, letters and blanks alone."""
        spoken = [span for span in stretches(self.bot, pause=0.6) if span[1] - span[0] > SYLLABLE]
        return " ".join([plain(await heard(self.bot[first:last])) for first, last in spoken])


def stretches(samples: np.ndarray, *, pause: float) -> list[tuple[int, int]]:
    """Return first and last sample of each stretch that no silence of `pause` seconds cuts."""
    blocks = samples[: len(samples) // BLOCK * BLOCK].reshape(-1, BLOCK)
    loud = np.flatnonzero(np.sqrt(np.mean(blocks**2, axis=1)) > LOUD) * BLOCK
    if not len(loud):
        return []
    cuts = np.flatnonzero(np.diff(loud) > pause * RATE)
    firsts, lasts = loud[np.r_[0, cuts + 1]], loud[np.r_[cuts, len(loud) - 1]] + BLOCK
    return [(int(first), int(last)) for first, last in zip(firsts, lasts, strict=True)]


async def heard(samples: np.ndarray) -> str:
    """Return what Moonshine makes of samples at `RATE`."""
    silence = np.zeros(RATE // 5, dtype=np.float32)  # it drops a word at the very edge
    whole = np.concatenate([silence, samples, silence])
    return await transcribe((whole * 32767).astype(np.int16).tobytes(), sample_rate=RATE)


def plain(text: str) -> str:
    """Leave letters, digits and single blanks of a text, in lower case."""
    return " ".join("".join(c if c.isalnum() else " " for c in text.lower()).split())


def fundamental(samples: np.ndarray) -> float:
    """Return the median fundamental frequency of the voiced parts, in Hz, by autocorrelation."""
    window = RATE // 25
    shortest, longest = RATE // 300, RATE // 55
    found = []
    for start in range(0, len(samples) - window, window // 2):
        piece = samples[start : start + window].astype(np.float64)
        if np.sqrt(np.mean(piece**2)) < 5 * LOUD:
            continue
        alike = np.correlate(piece - piece.mean(), piece - piece.mean(), "full")[window - 1 :]
        lag = shortest + int(np.argmax(alike[shortest:longest]))
        if alike[lag] > alike[0] / 2:
            found.append(RATE / lag)
    return float(np.median(found))


class BrowserCall:
    """Our page in a tab of its own, and a caller in front of it.

    Attributes:
        page: Playwright's page.
        troubles: Whatever a page must not do: errors on its console, requests that failed,
            were refused or went to another server.
    """

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.troubles: list[str] = []
        self._url = url
        home = urlsplit(url).netloc
        page.on("console", lambda line: line.type == "error" and self._note(line.text))
        page.on("pageerror", lambda error: self._note(str(error)))
        page.on("requestfailed", lambda request: self._note(f"failed: {request.url}"))
        page.on(
            "request",
            lambda request: (
                urlsplit(request.url).netloc != home and self._note(f"foreign: {request.url}")
            ),
        )
        page.on(
            "response",
            lambda response: (
                response.status >= 400 and self._note(f"{response.status}: {response.url}")
            ),
        )

    def _note(self, trouble: str) -> None:
        self.troubles.append(trouble)

    async def open(self) -> None:
        """Load the page."""
        await self.page.goto(self._url)

    async def connect(self) -> None:
        """Place a call, and wait until the bot is there."""
        await self.page.get_by_role("button", name="Connect", exact=True).click()
        await self.until("document.body.dataset.state === 'ready'", within=40)

    async def hang_up(self) -> None:
        """End the call from the page."""
        await self.page.get_by_role("button", name="Disconnect", exact=True).click()
        await self.ended()

    async def until(self, expression: str, *, within: float = 20) -> None:
        """Wait until a JavaScript expression is true in the page.

        Asked from here, for the page's policy forbids Playwright's own way of waiting.
        """
        try:
            async with asyncio.timeout(within):
                while not await self.page.evaluate(f"() => {expression}"):  # noqa: ASYNC110
                    await asyncio.sleep(POLL)
        except TimeoutError:
            told = "\n".join(await self.lines())
            raise AssertionError(f"not within {within} s: {expression}\n{told}") from None

    async def say(self, text: str, *, leave: bool = False) -> None:
        """Speak; returns when it is said, or as soon as it begins with `leave`."""
        samples = base64.b64encode(await spoken(text)).decode()
        await self.page.evaluate("([b, leave]) => window.caller.say(b, leave)", [samples, leave])

    async def heard_out(self, *, within: float = 25) -> None:
        """Wait until the bot has begun to speak after this moment, and has finished."""
        before = await self.page.evaluate("window.caller.heard")
        await self.until(f"window.caller.heard > {before}", within=within)
        await self.silent(within=within)

    async def silent(self, *, within: float = 25) -> None:
        """Wait until the bot has finished speaking."""
        rest = "document.body.dataset.turn === 'listening' && window.caller.quietFor() > 0.5"
        await self.until(rest, within=within)

    async def loud_for(self, seconds: float) -> None:
        """Wait until the bot has been heard for so long in all from now on."""
        before = await self.page.evaluate("window.caller.heard")
        blocks = int(seconds * RATE / 4096)
        await self.until(f"window.caller.heard >= {before + blocks}")

    async def type(self, text: str) -> None:
        """Send a turn in writing."""
        await self.page.locator("#words").fill(text)
        await self.page.locator("#send").click()

    async def said(self, text: str) -> None:
        """Wait until a worker's line holds `text`."""
        quoted = json.dumps(text)
        bots = "[...document.querySelectorAll('li.line.bot .said')]"
        await self.until(f"{bots}.some((line) => line.textContent.includes({quoted}))")

    async def ask(self, text: str) -> None:
        """Speak, and hear the answer out."""
        await self.say(text)
        await self.heard_out()

    async def ended(self, *, within: float = 20) -> None:
        """Wait until the page says that the call is over."""
        await self.until("document.body.dataset.state === 'closed'", within=within)

    async def recording(self) -> Recording:
        """Return all that was said since the first call of this page began."""
        return Recording.decoded(await self.page.evaluate("window.caller.recorded()"))

    async def lines(self) -> list[str]:
        """Return the transcript: `name: words` of each line, and the notes between them."""
        return await self.page.eval_on_selector_all(
            "#lines > li",
            """items => items.map((item) => item.classList.contains("line")
              ? [".name", ".said"].map((part) => item.querySelector(part).textContent).join(": ")
              : `(${item.className.replace("note ", "")}) ${item.textContent}`)""",
        )

    async def lit(self) -> str | None:
        """Return the worker that the page shows as active."""
        lit = self.page.locator("#workers [aria-current]")
        return await lit.get_attribute("data-worker", timeout=5000)


_spoken: dict[str, bytes] = {}


async def spoken(text: str) -> bytes:
    """Return a text in Piper's voice, 16-bit samples at `RATE`."""
    if text not in _spoken:
        voice = find_voice("joe")
        pieces = [audio async for audio in speak(text, voice, sample_rate=RATE)]
        _spoken[text] = b"".join(pieces)
    return _spoken[text]


@contextlib.asynccontextmanager
async def open_browser(executable: str, *flags: str) -> AsyncIterator[Browser]:
    """Start a browser for which every host but localhost is unresolvable."""
    async with async_playwright() as driver:
        args = [*FLAGS, *flags]
        browser = await driver.chromium.launch(executable_path=executable, args=args)
        try:
            yield browser
        finally:
            await browser.close()


@contextlib.asynccontextmanager
async def open_page(
    browser: Browser, url: str, *, script: str = "", **options: object
) -> AsyncIterator[BrowserCall]:
    """Open `url` in a window of its own.

    Args:
        browser: Shows it.
        url: Our page.
        script: JavaScript that the page finds to have run already.
        **options: Playwright's for the window's context.
    """
    context: BrowserContext = await browser.new_context(**options)
    try:
        await context.add_init_script(EARS_AND_MOUTH)
        if script:
            await context.add_init_script(script)
        call = BrowserCall(await context.new_page(), url)
        await call.open()
        yield call
    finally:
        await context.close()


async def ask_for_boots(call: BrowserCall) -> list[str]:
    """Ask aloud and hear the price; returns the lines of the page."""
    await call.ask("How much are the rocket boots?")
    answered = await call.recording()
    words = await answered.since(answered.turns()[-1][1]).words()
    # The smallest Moonshine mishears a part of it now and then.
    assert any(price in words for price in ("two hundred", "ninety nine", "299")), words
    assert await call.lit() == "support"
    lines = await call.lines()
    assert any("rocket boots" in line.lower() for line in lines if line.startswith("you: "))
    assert any("$299" in line for line in lines if line.startswith("support: ")), lines
    return lines


async def interrupt_with_goodbye(call: BrowserCall) -> list[str]:
    """Cut an answer short and hear the farewell to its end; returns the lines of the page."""
    await call.say("What do all three of them cost?")
    await call.until("document.body.dataset.turn === 'bot'")
    await call.loud_for(2.0)
    await call.say("Okay, thank you very much. Goodbye.")
    await call.ended()
    whole = await call.recording()
    assert silent_after(whole, whole.turns()[-1]) < 1.5
    lines = await call.lines()
    farewell = plain([line for line in lines if line.startswith("support: ")][-1])
    words = await whole.since(whole.turns()[-1][1]).words()
    assert "goodbye" in words.replace(" ", ""), words
    assert words.replace(" ", "").endswith(farewell.split()[-1]), (words, farewell)
    return lines


def silent_after(recording: Recording, turn: tuple[int, int]) -> float:
    """Return in how many seconds from the caller's first sound on the bot fell silent."""
    began, ended = turn
    last = max(last for first, last in stretches(recording.bot, pause=0.2) if first < ended)
    return (last - began) / RATE
