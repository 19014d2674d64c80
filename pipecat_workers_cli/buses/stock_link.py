"""A WebSocket to a proxy worker of stock Pipecat's, on which a post's letters are its messages.

Each letter goes as one message, as stock writes it. What processes of ours tell each other
beside messages has no place there: what of it counts is learnt from what stock says. That is
little: a worker is there when its server's one registry says so, and has said goodbye when the
server closes as if all were well.
"""

import asyncio
import itertools
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager

from loguru import logger
from pipecat import bus as messages
from pipecat.bus import BusMessage
from pipecat.frames import frames
from pipecat.registry.types import WorkerRegistryEntry
from websockets.asyncio.connection import Connection
from websockets.exceptions import ConnectionClosed

from pipecat_workers_cli.buses.door import (
    ANSWERING,
    ASKING,
    FROM_WORKER,
    TO_WORKER,
    CallersDoor,
    WorkersDoor,
)
from pipecat_workers_cli.buses.link import (
    CALLERS_END,
    DEFAULT_BYTES,
    NO_PARCEL,
    PING_EVERY,
    WORKERS_END,
    Code,
    Link,
    LinkRefused,
)
from pipecat_workers_cli.buses.post import ALIVE_EVERY, SIGN_OF_LIFE, Counts, Post
from pipecat_workers_cli.buses.way import Way, connect_to
from pipecat_workers_cli.wire.letter import Letter, Parcel
from pipecat_workers_cli.wire.letter import decode as decode_parcel
from pipecat_workers_cli.wire.letter import encode as encode_parcel
from pipecat_workers_cli.wire.limits import MESSAGE_BYTES, Refused
from pipecat_workers_cli.wire.notice import (
    Joined,
    Notice,
    Offer,
    Present,
    decode_notice,
    encode_notice,
)
from pipecat_workers_cli.wire.stock import Head, StockCodec
from pipecat_workers_cli.wire.stock_values import type_name

INTRODUCED_WITHIN = 7.5  # seconds from the connection until the server tells of its worker
GATEWAY = "gateway"  # what stock's examples call the server's own worker
STOCK = Joined(host="stock Pipecat", version="unknown", hash="")

COPIED = frozenset[type]({frames.BotStartedSpeakingFrame, frames.BotStoppedSpeakingFrame})
"""Frames of which our main worker sends copies; a stock agent hands them on like all others."""

FROM_STOCK = FROM_WORKER | COPIED
_FROM_STOCK = {type_name(cls) for cls in FROM_STOCK}
_TO_WORKER = {type_name(cls) for cls in TO_WORKER}
_ACTIVATE = type_name(messages.BusActivateWorkerMessage)
_DEACTIVATE = type_name(messages.BusDeactivateWorkerMessage)


class StockCallersDoor(CallersDoor):
    """The rules where the caller is, with a stock agent at the other end."""

    from_worker = FROM_STOCK

    def lets_out(self, message: BusMessage) -> bool:
        """Say whether a message is for the worker, and none that only lengthens its waits."""
        is_progress = isinstance(message, messages.BusFlushProgressMessage)
        return not is_progress and super().lets_out(message)


class StockWorkersDoor(WorkersDoor):
    """The rules where the worker is, with a stock main worker at the other end.

    That takes every frame out of its pipeline and waits for it, and takes in nothing else that
    isn't for itself by name.
    """

    def lets_out(self, message: BusMessage) -> bool:
        """Say whether the other end would take a message; the rest is this process's alone."""
        match message:
            case messages.BusFrameMessage():
                return type(message.frame) in FROM_STOCK and message.target in (None, self._main)
            case messages.BusEndMessage():
                return True
            case messages.BusTTSSpeakMessage():
                return message.target == self._main
            case _:
                answers = isinstance(message, (*ANSWERING, *ASKING))
                return answers and message.target == self._main


class StockLink(Link, ABC):
    """An open WebSocket to a stock proxy worker, as what carries a post's letters."""

    alive_every = PING_EVERY
    """Seconds without a word from the other end until it is asked for a sign of life."""

    def __init__(
        self, connection: Connection, *, address: str, peer: str, most_there: int, codec: StockCodec
    ) -> None:
        """Take up a connection whose handshake is done.

        Args:
            connection: The WebSocket.
            address: This end's.
            peer: The other end's.
            most_there: Bytes that the other end takes in one message.
            codec: Writes and reads the messages.
        """
        super().__init__(connection, address=address, peer=peer, most_there=most_there)
        self._codec = codec
        self._offer: Offer
        self._numbers = itertools.count(1)
        self._pong: Awaitable[float] | None = None

    @property
    def codec(self) -> StockCodec:
        """What writes and reads the messages that cross."""
        return self._codec

    async def greet(self, offer: Offer) -> None:
        """Note which worker the link is for; a stock end is told nothing."""
        self._offer = offer

    async def send(self, parcels: Mapping[str, bytes]) -> Collection[str]:
        """Send each letter of a parcel as a message; see `Carrier`."""
        gone: list[str] = []
        for to, parcel in parcels.items():
            try:
                for letter in decode_parcel(parcel).letters:
                    if letter.notice:
                        await self._tell(decode_notice(letter.body))
                    elif letter.call != SIGN_OF_LIFE:
                        await self._connection.send(letter.body)
            except ConnectionClosed:  # what came before is still to be taken, so it isn't over
                gone.append(to)
        return gone

    async def _tell(self, notice: Notice) -> None:
        """Say what of a notice a stock end can be told."""

    async def receive(self) -> Sequence[bytes]:
        """Wait for a message or a sign of life; when the other end is gone, until cancelled."""
        try:
            data = await self._next()
        except ConnectionClosed:
            if (last := self._last()) is not None:
                return [last]
            self.over.set()
            await asyncio.Event().wait()  # whoever holds the link sees that it is over
            raise
        if data is None:
            return [self._parcel()]
        await self._pace.spend(len(data))
        if isinstance(data, str):
            return [NO_PARCEL]
        try:
            stays = self._keeps(data, self.codec.look(data))
        except Refused:
            stays = False  # to be refused by whoever reads it, who says why
        return [] if stays else [self._letter(data)]

    @abstractmethod
    def _keeps(self, data: bytes, head: Head) -> bool:
        """Tell whether a message goes no further than here.

        Raises:
            Refused: It can't be read.
        """

    def _last(self) -> bytes | None:
        """Return what remains to be said once the other end is gone; None if nothing does."""
        return None

    async def _next(self) -> bytes | str | None:
        """Wait for what comes next; None is a sign of life, for which stock has no message."""
        while True:
            try:
                async with asyncio.timeout(self.alive_every):
                    return await self._connection.recv()
            except TimeoutError:
                asked = self._pong
                if asked is None or (isinstance(asked, asyncio.Future) and asked.done()):
                    self._pong = await self._connection.ping()
                    return None

    def _letter(self, body: bytes, *, notice: bool = False) -> bytes:
        offer = self._offer
        return self._parcel(Letter(offer.call, offer.worker, offer.epoch(1), body, notice=notice))

    def _parcel(self, *letters: Letter) -> bytes:
        return encode_parcel(Parcel(self.peer, next(self._numbers), letters))


class StockCallersLink(StockLink):
    """The caller's end: a stock `WebSocketProxyServer` is at the other."""

    alive_every = ALIVE_EVERY / 2

    def __init__(self, connection: Connection) -> None:
        """Take up a connection whose other end has told of its worker."""
        super().__init__(
            connection,
            address=CALLERS_END,
            peer=WORKERS_END,
            most_there=MESSAGE_BYTES,
            codec=StockCodec(),
        )
        self._counts = Counts()
        self._is_told = self._is_over = False

    def post(self, counts: Counts | None = None) -> "Post[Link]":
        """Make the post that goes over it; see `Link`."""
        self._counts = counts or self._counts
        return super().post(self._counts)

    async def receive(self) -> Sequence[bytes]:
        """Wait for a message; the first is that the worker is there."""
        if not self._is_told:
            self._is_told = True
            return [self._letter(encode_notice(STOCK), notice=True)]
        return await super().receive()

    def _keeps(self, data: bytes, head: Head) -> bool:
        """Drop frames that mean nothing here: a stock agent hands on whatever it makes."""
        if head.frame is None or head.frame in _FROM_STOCK:
            return False
        why = "a frame of a stock agent's that means nothing here"
        self._counts.refused[why] += 1
        if self._counts.refused[why] == 1:
            logger.info(f"dropped: {why}")
        return True

    def _last(self) -> bytes | None:
        """Return the goodbye that a close in good order stands for: stock says no other."""
        closed = self._connection.protocol.close_rcvd
        if self._is_over or closed is None or closed.code != Code.DONE:
            return None
        self._is_over = True
        goodbye = messages.BusEndMessage(
            source=self._offer.worker, reason="the worker at the other end said goodbye"
        )
        return self._letter(self.codec.encode(goodbye) or b"")


class StockWorkersLink(StockLink):
    """The worker's end: a stock `WebSocketProxyClient` is at the other."""

    def __init__(self, connection: Connection, offer: Offer) -> None:
        """Take up a connection.

        Args:
            connection: The WebSocket.
            offer: Which worker is served over it, and to whom.
        """
        super().__init__(
            connection,
            address=WORKERS_END,
            peer=CALLERS_END,
            most_there=DEFAULT_BYTES,
            codec=FarCodec(offer.main),
        )
        self._offer = offer
        self._ready = asyncio.Event()
        self._is_introduced = self._is_active = False
        self._post: Post[Link]

    def post(self, counts: Counts | None = None) -> "Post[Link]":
        """Make the post that goes over it; see `Link`."""
        self._post = super().post(counts)
        return self._post

    async def _tell(self, notice: Notice) -> None:
        if isinstance(notice, Joined):
            worker = self._offer.worker
            registry = messages.BusWorkerRegistryMessage(
                source=GATEWAY,
                runner=f"runner-{self._offer.call}",
                workers=[WorkerRegistryEntry(name=worker)],
            )
            await self._connection.send(self.codec.encode(registry) or b"")
            self._ready.set()

    async def receive(self) -> Sequence[bytes]:
        """Wait for a message, once the worker is there to be given it."""
        if not self._is_introduced:
            await self._ready.wait()
            self._is_introduced = True
            return [self._letter(encode_notice(Present([self._offer.main])), notice=True)]
        return await super().receive()

    def _keeps(self, data: bytes, head: Head) -> bool:
        """Hand frames back that mean nothing to the worker: a stock main worker waits for them."""
        worker = self._offer.worker
        if head.kind in (_ACTIVATE, _DEACTIVATE) and head.target == worker:
            self._is_active = head.kind == _ACTIVATE
        is_ours = head.source == self._offer.main and head.target in (None, worker)
        if head.frame is None or head.frame in _TO_WORKER or not is_ours:
            return False
        self._post.taken_at = asyncio.get_running_loop().time()
        if self._is_active:
            offer = self._offer
            body = self.codec.sent_back(data, worker)
            sound = head.frame.endswith("AudioRawFrame")
            letter = Letter(offer.call, worker, offer.epoch(1), body)
            self._post.send(self.peer, letter, audio=sound)
        return True


class FarCodec(StockCodec):
    """Writes for a stock client, which takes in what is for its own worker by name alone."""

    def __init__(self, main: str) -> None:
        """Know the other end's worker."""
        super().__init__()
        self._main = main

    def encode(self, message: BusMessage) -> bytes | None:
        """Return a message as it crosses; a goodbye is addressed, or it would not arrive."""
        if isinstance(message, messages.BusEndMessage):
            message = messages.BusEndMessage(
                source=message.source, target=self._main, reason=message.reason
            )
        return super().encode(message)


@asynccontextmanager
async def open_stock_link(way: Way) -> AsyncGenerator[StockCallersLink]:
    """Open a link to where a stock proxy serves a worker; leaving closes it.

    Args:
        way: The way there.

    Raises:
        LinkRefused: It can't be opened, or another worker is there.
        ConfigurationError: The URL or the certificates' file is wrong.
    """
    connection = await connect_to(way)
    try:
        link = StockCallersLink(connection)
        try:
            async with asyncio.timeout(INTRODUCED_WITHIN):
                first = await connection.recv()
        except TimeoutError:
            what = f"{way.shown} tells of no worker"
            raise LinkRefused(what, mend=way.mend) from None
        except ConnectionClosed:
            raise LinkRefused(f"{way.shown}: {link.told}", mend=way.mend) from None
        _require_worker(first, link.codec, way)
        yield link
    finally:
        await connection.close(Code.DONE)


def _require_worker(first: bytes | str, codec: StockCodec, way: Way) -> None:
    """Refuse a server that serves none, or another worker.

    Raises:
        LinkRefused: As said.
    """
    try:
        data = first if isinstance(first, bytes) else first.encode()
        codec.look(data)
        registry = codec.decode(data)
    except (Refused, UnicodeEncodeError):
        registry = None
    if not isinstance(registry, messages.BusWorkerRegistryMessage):
        raise LinkRefused(f"{way.shown} is no proxy of stock Pipecat's", mend=way.mend)
    served = [entry.name for entry in registry.workers]
    if served != [way.worker]:
        names = ", ".join(name[:40] for name in served[:3] if name.isprintable()) or "?"
        mend = f"name it {way.worker} there, or call the recipe's worker as it is called there"
        raise LinkRefused(f"{way.shown} serves {names}, not {way.worker}", mend=mend)
