"""A call's bus over Redis pub/sub, as stock Pipecat's `RedisBus` speaks it: one call a channel.

A process has one `Channel` and, while it holds a call, a `PubSubBus` on it. What is said here
is delivered here at once and published; what is published comes back, and is dropped by the
name of who said it. Pub/sub keeps nothing: what is said while the server is away waits, within
bounds, and what it was handed just before is lost rather than told twice.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field

from loguru import logger
from pipecat.bus import BusFrameMessage, BusMessage
from pipecat.frames.frames import AudioRawFrame

from pipecat_workers_cli.buses.local import LocalBus
from pipecat_workers_cli.buses.network import ANSWER_WITHIN
from pipecat_workers_cli.buses.outbox import WAITING_BYTES, WAITING_LETTERS
from pipecat_workers_cli.buses.post import LAST_WORDS, REASONS
from pipecat_workers_cli.buses.redis_requests import Requests
from pipecat_workers_cli.buses.waits import Backoff
from pipecat_workers_cli.errors import PmwError
from pipecat_workers_cli.wire.limits import Refused
from pipecat_workers_cli.wire.stock import Head, StockCodec

AT_ONCE = 256  # messages in one round trip
OTHERS_BACK = 1.0  # seconds; who publishes sooner is not heard by those that still reconnect
YIELD_EVERY = 50  # messages taken; some ten milliseconds of work

Take = Callable[[bytes], None]
"""Is given what was published; must not block."""


@dataclass(slots=True)
class ChannelCounts:
    """What happened since the process began.

    Attributes:
        sent: Messages that the server has.
        shed: Messages with audio, dropped because too much waited.
        lost: Other messages, dropped for that or because the server went away with them.
        failures: How often the server could not be reached after it could.
        refused: Messages that were dropped on arrival, by why.
    """

    sent: int = 0
    shed: int = 0
    lost: int = 0
    failures: int = 0
    refused: Counter[str] = field(default_factory=Counter[str])


class Channel:
    """A process's place on a pub/sub channel; `open_channel` connects it.

    Attributes:
        name: The channel's.
        counts: What happened until now.
        failure: Why the server can't be reached now; None while it can.
    """

    def __init__(self, requests: Requests, name: str) -> None:
        """Begin with nothing to send.

        Args:
            requests: The server.
            name: The channel's.
        """
        self.name = name
        self.counts = ChannelCounts()
        self.failure: str | None = None
        self._requests = requests
        self._take: Take | None = None
        self._waiting: deque[tuple[bytes, bool]] = deque()
        self._bytes = 0
        self._news = asyncio.Event()
        self._empty = asyncio.Event()  # set while none waits or is under way
        self._empty.set()
        self._hearing = asyncio.Event()
        self._returning: asyncio.TimerHandle | None = None

    @property
    def taken(self) -> bool:
        """Whether a call is held on it."""
        return self._take is not None

    @contextmanager
    def taking(self, take: Take) -> Generator[None]:
        """Have `take` given all that is published while the block lasts; one block at a time."""
        self._take = take
        try:
            yield
        finally:
            self._take = None

    def send(self, data: bytes, *, audio: bool = False) -> None:
        """Queue a message.

        Args:
            data: What is published.
            audio: Whether it is sound, which is dropped first where too much waits.
        """
        self._waiting.append((data, audio))
        self._bytes += len(data)
        while len(self._waiting) > WAITING_LETTERS or self._bytes > WAITING_BYTES:
            self._drop()
        self._empty.clear()
        self._news.set()

    def _drop(self) -> None:
        """Drop the oldest sound, or where there is none, what came last."""
        sound = (place for place, (_, audio) in enumerate(self._waiting) if audio)
        place = next(sound, None)
        if place is None:
            self._bytes -= len(self._waiting.pop()[0])
            self._lose(1, "too many wait")
        else:
            self._bytes -= len(self._waiting[place][0])
            del self._waiting[place]
            self.counts.shed += 1

    def _lose(self, messages: int, why: str) -> None:
        if not self.counts.lost:
            logger.warning(f"messages are lost: {why}")
        self.counts.lost += messages

    async def run(self) -> None:
        """Send and receive until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen(), name="channel in")
            tasks.create_task(self._publish(), name="channel out")

    async def _listen(self) -> None:
        pause = Backoff()
        while True:
            try:
                async with self._requests.listen(self.name) as published:
                    pause.reset()
                    await self._take_all(published)
            except PmwError as down:
                self._note_failure(down)
                await pause.wait()

    async def _take_all(self, published: AsyncGenerator[bytes]) -> None:
        self._note_success()
        number = 0
        async for data in published:
            number += 1
            if self._take is not None:
                try:
                    self._take(data)
                except Refused as refused:
                    self._refuse(refused.why)
                except Exception as error:  # a stranger's message; the others' are still to come
                    logger.opt(exception=error).debug("a message was not taken")
                    self._refuse(f"{type(error).__name__} when it was taken")
            if number % YIELD_EVERY == 0:
                await asyncio.sleep(0)

    async def _publish(self) -> None:
        """Publish what waits, once this process also hears what comes of it."""
        pause = Backoff()
        while True:
            await self._news.wait()
            await self._hearing.wait()
            if not self._waiting:
                self._news.clear()
                self._empty.set()
                continue
            batch = [self._waiting.popleft()[0] for _ in range(min(AT_ONCE, len(self._waiting)))]
            self._bytes -= sum(map(len, batch))
            try:
                await self._requests.ask(*(("PUBLISH", self.name, data) for data in batch))
            except PmwError as down:  # if it goes on, the listener notices it as well
                self._lose(len(batch), down.what)
                await pause.wait()
            else:
                self.counts.sent += len(batch)
                pause.reset()

    async def heard(self, *, within: float) -> bool:
        """Wait until what is published arrives here; tell whether it does."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._hearing.wait(), within)
        return self._hearing.is_set()

    async def flush(self) -> None:
        """Wait until the server has all that was queued, if that takes no more than a moment."""
        if self.failure is None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), LAST_WORDS)

    def _note_failure(self, down: PmwError) -> None:
        self._hearing.clear()
        if self._returning is not None:
            self._returning.cancel()
        if self.failure is None:
            self.counts.failures += 1
            logger.warning(f"{down.what}; going on as soon as it is back")
        self.failure = down.what

    def _note_success(self) -> None:
        if self.failure is None:
            self._hearing.set()
            return
        logger.warning("the bus is back")
        self.failure = None
        loop = asyncio.get_running_loop()
        self._returning = loop.call_later(OTHERS_BACK, self._hearing.set)

    def _refuse(self, why: str) -> None:
        refused = self.counts.refused
        if why not in refused and len(refused) >= REASONS:
            why = "other reasons"
        refused[why] += 1
        if refused[why] == 1:
            logger.warning(f"a message was dropped: {why}")


class PubSubBus(LocalBus):
    """One process's part of the call on a channel."""

    def __init__(
        self,
        channel: Channel,
        *,
        admits: Callable[[BusMessage], bool],
        hands_on: Callable[[], str | None] = lambda: None,
    ) -> None:
        """Make a bus on which nobody is yet; `channel.taking(bus.take)` lets it hear.

        Args:
            channel: This process's.
            admits: Told each message from elsewhere; whether it may come in.
            hands_on: Returns who here has the call and, as a stock agent does, gives frames
                back that mean nothing to it; None if nobody has.
        """
        super().__init__()
        self._channel = channel
        self._codec = StockCodec()
        self._admits = admits
        self._hands_on = hands_on
        self._ours: set[str] = set()

    async def publish(self, message: BusMessage) -> None:
        """Deliver a message here, and publish it for all others."""
        self.on_message_received(message)
        self._ours.add(message.source)
        try:
            data = self._codec.encode(message)
        except Refused as refused:
            logger.warning(f"a message of {message.source} did not cross: {refused}")
            return
        if data is not None:
            frame = message.frame if isinstance(message, BusFrameMessage) else None
            self._channel.send(data, audio=isinstance(frame, AudioRawFrame))

    def take(self, data: bytes) -> None:
        """Take what was published, unless it is said by somebody here: that is its echo.

        Raises:
            Refused: It can't be read, or a type that stays in its process.
        """
        head = self._codec.look(data)
        if head.source in self._ours:
            return
        if head.hands_on:
            self._hand_on(data, head)
            return
        message = self._codec.decode(data)
        if self._admits(message):
            self.on_message_received(message)

    def _hand_on(self, data: bytes, head: Head) -> None:
        agent = self._hands_on()
        if agent is not None and head.target in (None, agent):
            sound = (head.frame or "").endswith("AudioRawFrame")
            self._channel.send(self._codec.sent_back(data, agent), audio=sound)


@asynccontextmanager
async def open_channel(url: str, *, channel: str) -> AsyncGenerator[Channel]:
    """Connect to a channel while the block lasts; what waits at its end is sent if there is time.

    Args:
        url: `redis+pubsub://user:password@host:port/db`, or `rediss+pubsub://…` with TLS and
            its options as in `redis.open_network`.
        channel: Its name there, as stock processes give it.

    Raises:
        ConfigurationError: The URL is wrong.
        PmwError: The server can't be reached, refuses, or is none.
    """
    rights = f"&{channel} +publish +subscribe +@connection"
    requests = Requests(url.replace("+pubsub", "", 1), rights=rights)
    opened = Channel(requests, channel)
    try:
        async with requests.listen(channel):
            pass  # what it raises is for whoever opens it; later it is tried again
        running = asyncio.create_task(opened.run(), name="channel")
        running.add_done_callback(_tell_failure)
        try:
            await opened.heard(within=ANSWER_WITHIN)
            yield opened
            await opened.flush()
        finally:
            running.cancel()
            await asyncio.wait({running}, timeout=LAST_WORDS)
    finally:
        await requests.close()


def _tell_failure(running: "asyncio.Task[None]") -> None:
    if not running.cancelled() and (error := running.exception()) is not None:
        logger.opt(exception=error).error(f"the channel failed: {type(error).__name__}")
