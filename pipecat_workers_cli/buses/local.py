"""The bus inside one process: Pipecat's own, which also counts what crosses it.

Counting happens where a message is delivered, without a queue and without a task,
because a second subscriber would cost the bus a fifth of its throughput. Whoever wants
to look reads `tallies` and `recent` when it suits them, off the path.
"""

from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from time import monotonic
from typing import NamedTuple

from pipecat.bus import AsyncQueueBus, BusFrameMessage, BusMessage
from pipecat.frames.frames import AudioRawFrame, Frame
from pipecat.processors.frame_processor import FrameDirection

RECENT_MESSAGES = 4_000  # most of a second of what a bus carries at most; references alone
TALLIES = 1_000  # distinct keys; a call of ten workers has about two hundred
OTHERS = "(others)"
"""Source and target of what came after `TALLIES` distinct keys were taken."""


DOWNSTREAM = FrameDirection.DOWNSTREAM


class Key(NamedTuple):
    """What is counted together.

    Attributes:
        kind: The message's type, or the frame's if the message carries one.
        source: Who sent it.
        target: For whom; None is everybody.
        downstream: A frame's direction; None for a message that carries none.
    """

    kind: type[BusMessage] | type[Frame]
    source: str
    target: str | None
    downstream: bool | None


class Tally:
    """How often something crossed the bus, and when it last did.

    Attributes:
        count: Messages.
        last: When the last one came, in seconds of `time.monotonic`.
        bytes: Of audio frames, the size of their samples; else 0.
        seconds: Of audio frames, how long they play; else 0.
        audio: Whether these are audio frames.
    """

    __slots__ = ("audio", "bytes", "count", "last", "seconds")

    def __init__(self, *, audio: bool) -> None:
        """Begin at nothing."""
        self.count = 0
        self.last = 0.0
        self.bytes = 0
        self.seconds = 0.0
        self.audio = audio


class LocalBus(AsyncQueueBus):
    """Pipecat's in-process bus, counting every message once.

    Attributes:
        tallies: What crossed, by the fields of a `Key`; at most `TALLIES` and a few.
        recent: The latest messages, with the time each came (`time.monotonic`), oldest
            first. Audio is counted only.
        noted: How many messages were ever put into `recent`: tells what is new, what was missed.
    """

    def __init__(self) -> None:
        """Make a bus that has seen nothing; Pipecat's runner starts and stops it."""
        super().__init__()
        self.tallies: dict[tuple[type, str, str | None, bool | None], Tally] = {}
        self.recent: deque[tuple[float, BusMessage]] = deque(maxlen=RECENT_MESSAGES)
        self.noted = 0

    async def publish(self, message: BusMessage) -> None:
        """Deliver a message to all subscribers.

        Pipecat's own first formats a trace line, shown or not, with the frame in it.

        Args:
            message: The message to deliver.
        """
        self.on_message_received(message)

    def on_message_received(self, message: BusMessage) -> None:
        """Count a message, then put it into every subscriber's queue.

        All messages come by here once: those for this process alone straight from
        `send`, the others from `publish`.

        Args:
            message: The message to deliver.
        """
        # Every step here is paid for by each frame of every call, so: plain tuples and
        # booleans (hashing an enum's member takes as long as all else), no `super()`.
        now = monotonic()
        frame = None
        if isinstance(message, BusFrameMessage):
            frame = message.frame
            key = (type(frame), message.source, message.target, message.direction is DOWNSTREAM)
        else:
            key = (type(message), message.source, message.target, None)
        try:
            tally = self.tallies[key]
        except KeyError:
            tally = self._open_tally(Key(*key))
        tally.count += 1
        tally.last = now
        if not tally.audio:
            self.recent.append((now, message))
            self.noted += 1
        elif isinstance(frame, AudioRawFrame):
            tally.bytes += len(frame.audio)
            if frame.sample_rate:
                tally.seconds += frame.num_frames / frame.sample_rate
        AsyncQueueBus.on_message_received(self, message)

    def _open_tally(self, key: Key) -> Tally:
        if len(self.tallies) >= TALLIES:
            key = key._replace(source=OTHERS, target=OTHERS)
        return self.tallies.setdefault(key, Tally(audio=issubclass(key.kind, AudioRawFrame)))


@asynccontextmanager
async def open_bus() -> AsyncGenerator[LocalBus]:
    """Open a bus for one call in this process; leaving stops what it still delivers."""
    bus = LocalBus()
    try:
        yield bus
    finally:
        await bus.stop()
