"""A caller on the plain WebSocket: a microphone that never stops, and ears that keep all."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from pipecat.frames.frames import (
    InputAudioRawFrame,
    InputTransportMessageFrame,
    OutputAudioRawFrame,
    OutputTransportMessageUrgentFrame,
)
from pipecat.serializers.protobuf import ProtobufFrameSerializer
from websockets.asyncio.client import ClientConnection, connect

from pipecat_workers_cli.services.models import speak
from pipecat_workers_cli.services.voices import find_voice

RATE = 16_000  # Hz, of what the caller says
TICK = 0.04  # seconds of sound in one message
HEARD_RATE = 24_000  # Hz, of what the bot says
PAUSE = 0.8  # seconds without sound after which the bot has finished; between sentences are none
TURN_OVER = "user-stopped-speaking"
CLIENT_READY = {
    "label": "rtvi-ai",
    "type": "client-ready",
    "id": "ready",
    "data": {"version": "1.0.0", "about": {"library": "tests"}},
}


class Caller:
    """One end of a spoken call.

    Attributes:
        call: The call's id, once it has introduced itself.
        entries: What the call told its client, oldest first.
        signals: The types of Pipecat's own messages, such as `user-stopped-speaking`.
        over: Set when the connection has ended.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self.call = ""
        self.entries: list[dict[str, Any]] = []
        self.signals: list[str] = []
        self.over = asyncio.Event()
        self._socket = socket
        self._wire = ProtobufFrameSerializer()
        self._unsaid = bytearray()
        self._heard: list[tuple[float, np.ndarray]] = []

    async def say(self, text: str) -> None:
        """Speak; returns when it is said."""
        self._unsaid.extend(await spoken(text))
        await until(lambda: not self._unsaid, "it was said", within=30)

    async def take_a_turn(self, text: str) -> None:
        """Speak, and wait until it counts as a turn that is over."""
        before = self.signals.count(TURN_OVER)
        await self.say(text)
        await until(lambda: self.signals.count(TURN_OVER) > before, "the turn ended", within=15)

    async def heard_out(self, *, within: float = 20) -> np.ndarray:
        """Wait until the bot has begun to speak after this moment, and finished; return that."""
        before = len(self._heard)

        def finished() -> bool:
            return len(self._heard) > before and time.monotonic() - self._heard[-1][0] > PAUSE

        await until(finished, "the bot was heard out", within=within)
        return np.concatenate([samples for _, samples in self._heard[before:]])

    async def hears(self, *, within: float = 20) -> None:
        """Wait until some more of the bot's voice arrives."""
        before = len(self._heard)
        await until(lambda: len(self._heard) > before, "the bot was heard", within=within)

    async def told(self, event: str, **fields: object) -> dict[str, Any]:
        """Wait for an entry, whether it has come already or not."""
        found: list[dict[str, Any]] = []

        def there() -> bool:
            found[:] = [
                entry
                for entry in self.entries
                if entry["event"] == event and fields.items() <= entry.items()
            ]
            return bool(found)

        await until(there, f"{event} {fields} in {self.entries}", within=20)
        return found[-1]

    async def speak_on(self) -> None:
        """Send what is to be said, or silence, at the pace of a microphone."""
        size = int(RATE * TICK) * 2
        due = time.monotonic()
        while True:
            piece = bytes(self._unsaid[:size])
            del self._unsaid[:size]
            sound = piece.ljust(size, b"\0")
            await self.send(OutputAudioRawFrame(sound, sample_rate=RATE, num_channels=1))
            due += TICK
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def listen(self) -> None:
        """Keep what arrives until the connection ends."""
        async for message in self._socket:
            frame = await self._wire.deserialize(message)
            if isinstance(frame, InputAudioRawFrame):
                samples = np.frombuffer(frame.audio, dtype="<i2").astype(np.float64)
                if np.abs(samples).max(initial=0) > 100:
                    self._heard.append((time.monotonic(), samples))
            elif isinstance(frame, InputTransportMessageFrame):
                self._take(frame.message)
        self.over.set()

    async def send(self, frame: OutputAudioRawFrame | OutputTransportMessageUrgentFrame) -> None:
        """Send a frame, as Pipecat's clients do."""
        message = await self._wire.serialize(frame)
        assert message
        await self._socket.send(message)

    def _take(self, message: dict[str, Any]) -> None:
        kind = str(message.get("type"))
        self.signals.append(kind)
        entry = (message.get("data") or {}).get("pmw")
        if kind == "server-message" and entry:
            self.call = entry["call"]
            self.entries.append(entry)


@asynccontextmanager
async def calling(url: str) -> AsyncIterator[Caller]:
    """Place a call at a `pmw` that serves at `url`; leaving hangs up."""
    async with connect(url.replace("http", "ws") + "/ws-client", max_size=None) as socket:
        caller = Caller(socket)
        await caller.send(OutputTransportMessageUrgentFrame(message=CLIENT_READY))
        tasks = [asyncio.create_task(caller.listen()), asyncio.create_task(caller.speak_on())]
        try:
            yield caller
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 2)


async def until(happened: Callable[[], bool], what: str, *, within: float) -> None:
    """Wait until something holds that other tasks or threads bring about."""
    try:
        async with asyncio.timeout(within):
            while not happened():  # noqa: ASYNC110  # no event tells what a thread has read
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within {within} s: {what}") from None


def pitch_of(samples: np.ndarray) -> float:
    """Return the frequency in hertz of a tone at `HEARD_RATE`."""
    rises = np.count_nonzero((samples[:-1] < 0) & (samples[1:] >= 0))
    return rises / (len(samples) / HEARD_RATE)


_spoken: dict[str, bytes] = {}


async def spoken(text: str) -> bytes:
    """Return a text in Piper's voice, 16-bit samples at `RATE`, loud enough to be speech."""
    if text not in _spoken:
        pieces = [piece async for piece in speak(text, find_voice("joe"), sample_rate=RATE)]
        _spoken[text] = b"".join(pieces)
    return _spoken[text]
