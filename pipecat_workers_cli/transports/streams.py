"""A microphone and a loudspeaker, each open for as long as a block lasts.

PortAudio calls from a thread of its own, fifty times a second, and must never wait: what it
brings goes into a bounded queue from which the event loop takes, and what it plays comes out
of one. A side that falls behind loses the oldest sound.
"""

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Self

import numpy as np

from pipecat_workers_cli.transports.devices import Line, load_portaudio, unusable

BLOCK = 0.02  # seconds of sound that PortAudio brings or takes at once
HEARD = 50  # blocks that wait for the event loop; one that is late for longer loses some
AHEAD = 0.1  # seconds of sound that wait to be played; an interruption drops them
GONE_AFTER = 2.0  # seconds without a call from PortAudio after which a device counts as gone
CLOSE_WITHIN = 1.0  # seconds; a device that is gone may not let itself be closed


class _Stream(ABC):
    """What both have in common: PortAudio's stream, and whether it still calls."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self._loop = asyncio.get_running_loop()
        self._called_at = time.monotonic()
        self._stream: Any = None

    @property
    def latency(self) -> float:
        """Seconds between the device and us, as PortAudio reckons."""
        return self._stream.latency

    @property
    def is_gone(self) -> bool:
        """Whether the device no longer brings or takes sound."""
        late = time.monotonic() - self._called_at > GONE_AFTER
        return late or not self._stream.active

    @contextmanager
    def open(self) -> Generator[Self]:
        """Open the device and let sound flow.

        Raises:
            PmwError: It can't be opened.
        """
        portaudio, line = load_portaudio(), self.line
        kind = getattr(portaudio, f"Raw{line.direction.capitalize()}Stream")
        try:
            self._stream = kind(
                samplerate=line.rate,
                blocksize=round(line.rate * BLOCK),
                device=line.device.number,
                channels=line.channels,
                dtype="int16",
                callback=self._call,
            )
            self._stream.start()
        except portaudio.PortAudioError as error:
            raise unusable(line.direction, line.device.name, str(error)) from None
        self._called_at = time.monotonic()
        try:
            yield self
        finally:
            # A thread that nobody waits for: to close what is gone may take for ever.
            closing = threading.Thread(target=self._close, name="close sound", daemon=True)
            closing.start()
            closing.join(CLOSE_WITHIN)

    def _close(self) -> None:
        try:
            self._stream.abort()
            self._stream.close()
        except load_portaudio().PortAudioError:
            return

    def _call(self, data: Any, frames: int, _time: Any, _status: Any) -> None:
        self._called_at = time.monotonic()
        self._exchange(data, frames)

    @abstractmethod
    def _exchange(self, data: Any, frames: int) -> None:
        """Take what was heard, or give what is to be played; in PortAudio's thread."""

    def _wake(self, event: asyncio.Event) -> None:
        try:
            self._loop.call_soon_threadsafe(event.set)
        except RuntimeError:  # the loop is closed: the process is on its way out
            return


class Microphone(_Stream):
    """Brings what is heard, as 16-bit mono.

    Attributes:
        level: How loud the last block was, from 0 to 1; what is muted counts as well.
        lost: Blocks that nobody took in time.
    """

    def __init__(self, line: Line) -> None:
        """Prepare; `open` opens it."""
        super().__init__(line)
        self.level = 0.0
        self.lost = 0
        self._blocks: deque[bytes] = deque()
        self._heard = asyncio.Event()

    async def blocks(self) -> list[bytes]:
        """Wait for sound, and return all that is there, a block each."""
        await self._heard.wait()
        self._heard.clear()
        taken = [self._blocks.popleft() for _ in range(len(self._blocks))]
        if taken:
            samples = np.frombuffer(taken[-1], dtype="<i2").astype(np.int32)
            self.level = float(np.abs(samples).max(initial=0)) / 32_768
        return taken

    def _exchange(self, data: Any, frames: int) -> None:
        block = bytes(data)
        if self.line.channels > 1:
            block = np.frombuffer(block, dtype="<i2")[:: self.line.channels].tobytes()
        if len(self._blocks) >= HEARD:
            self._blocks.popleft()
            self.lost += 1
        self._blocks.append(block)
        if not self._heard.is_set():
            self._wake(self._heard)


class Loudspeaker(_Stream):
    """Plays 16-bit mono, and silence where there is none."""

    def __init__(self, line: Line) -> None:
        """Prepare; `open` opens it."""
        super().__init__(line)
        self._waiting = bytearray()
        self._lock = threading.Lock()  # held for a copy of a few kilobytes
        self._room = asyncio.Event()
        self._sounds_until = 0.0

    def sounds_within(self, seconds: float) -> bool:
        """Say whether anything is heard from it now, or was up to `seconds` ago."""
        return time.monotonic() < self._sounds_until + seconds

    async def play(self, sound: bytes, *, loud: bool) -> None:
        """Play sound after what is waiting; returns when there is room for more.

        Args:
            sound: 16-bit mono at the line's rate.
            loud: Whether it is more than silence.
        """
        with self._lock:
            self._waiting += sound
            ahead = len(self._waiting) / 2 / self.line.rate
            self._room.clear()
        if loud:
            self._sounds_until = time.monotonic() + ahead + self.latency
        while ahead > AHEAD and not self.is_gone:
            try:
                async with asyncio.timeout(GONE_AFTER):
                    await self._room.wait()
            except TimeoutError:
                return
            self._room.clear()
            ahead = len(self._waiting) / 2 / self.line.rate

    async def played(self) -> None:
        """Wait until all has been heard."""
        while self._waiting and not self.is_gone:  # noqa: ASYNC110  # PortAudio has no event
            await asyncio.sleep(BLOCK)
        await asyncio.sleep(min(self.latency, 0.5))

    def clear(self) -> None:
        """Drop what is waiting."""
        with self._lock:
            self._waiting.clear()
        self._sounds_until = min(self._sounds_until, time.monotonic() + self.latency)

    def _exchange(self, data: Any, frames: int) -> None:
        size = frames * 2
        with self._lock:
            sound = bytes(self._waiting[:size])
            del self._waiting[:size]
        sound = sound.ljust(size, b"\0")
        if self.line.channels > 1:
            sound = np.repeat(np.frombuffer(sound, dtype="<i2"), self.line.channels).tobytes()
        data[:] = sound
        if not self._room.is_set():
            self._wake(self._room)
