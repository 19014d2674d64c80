"""One WebSocket between a call and a worker of it elsewhere, which carries letters both ways.

The call's end opens it and says first of all which worker it wants, by an `Offer`; all that
follows are parcels. Over each link goes a `Post` of its own, and with the link ends all that
was said over it: another link is another process, as far as a call knows.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING

from websockets.asyncio.connection import Connection
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from pipecat_workers_cli.buses.outbox import Bounds
from pipecat_workers_cli.buses.pace import Pace
from pipecat_workers_cli.buses.post import Counts, Post
from pipecat_workers_cli.errors import PmwError
from pipecat_workers_cli.wire.limits import MESSAGE_BYTES
from pipecat_workers_cli.wire.notice import Offer, encode_notice

if TYPE_CHECKING:  # it brings Pipecat, which `pmw doctor` does without
    from pipecat_workers_cli.wire.stock import StockCodec

VERSION = 1  # of all that is said over a link; another is refused before anything is
SUBPROTOCOL = Subprotocol(f"pmw.{VERSION}")
WORKER, MOST_BYTES = "Pmw-Worker", "Pmw-Max-Message-Bytes"
"""Headers by which either end says which worker it is about, and how much it takes at once."""

CALLERS_END, WORKERS_END = "call", "worker"
"""The addresses of a link's two ends."""

DEFAULT_BYTES = 1_048_576  # of one message, where nobody says anything else
LEAST_BYTES = 65_536  # of one message; a conversation of a few minutes
CLOSE_WITHIN = 1.0  # seconds for the other end to close, too
PING_EVERY, PONG_WITHIN = 2.0, 6.0  # seconds; a lost packet is sent again within three
QUEUE = 16  # messages read ahead; beyond them TCP holds the sender up
WAITING = 4_194_304  # bytes that wait for a reader that is slow
REFUSALS = 100  # over one link, until it is closed
MIND_EVERY = 0.5  # seconds
LETTERS_PER_SECOND, BYTES_PER_SECOND = 20_000, 33_554_432  # twenty calls' audio, and a burst


class Code(IntEnum):
    """Why a link was closed, as WebSocket closes say it.

    Those from 4000 are ours: the digits after it are HTTP's for the like.
    """

    DONE = 1000
    LEAVING = 1012
    FULL = 1013
    GARBAGE = 4400
    UNKNOWN_WORKER = 4404
    IDLE = 4408


class LinkRefused(PmwError):
    """A link could not be opened; it may be possible later."""


class Link:
    """An open WebSocket, as what carries a post's letters.

    Attributes:
        address: This end's.
        peer: The other end's.
        over: Set once it is closed, by whomever.
    """

    def __init__(self, connection: Connection, *, address: str, peer: str, most_there: int) -> None:
        """Take up a connection whose handshake is done.

        Args:
            connection: The WebSocket.
            address: This end's.
            peer: The other end's.
            most_there: Bytes that the other end takes in one message.
        """
        self.address = address
        self.peer = peer
        self.over = asyncio.Event()
        self._connection = connection
        self._most_there = most_there
        self._pace = Pace(BYTES_PER_SECOND, burst=BYTES_PER_SECOND)

    @property
    def codec(self) -> "StockCodec | None":
        """What writes and reads the messages that cross; None is the bus's own."""
        return None

    @property
    def latency(self) -> float:
        """Seconds for a ping to the other end and back; 0 before the first."""
        return self._connection.latency

    @property
    def told(self) -> str:
        """Why it is over, in a few words."""
        code, reason = self._connection.close_code, self._connection.close_reason
        if code is None or code == ABNORMAL:
            return "the connection broke"
        return f"it was closed: {reason or CLOSES.get(code, code)}"

    def post(self, counts: Counts | None = None) -> "Post[Link]":
        """Make the post that goes over it.

        Args:
            counts: Where to count, with the posts of other links.
        """
        # What is round the letters of a parcel takes some of it, and half of it is left for that.
        letter = min(MESSAGE_BYTES, self._most_there - LEAST_BYTES // 2)
        return Post(
            self,
            peer=self.peer,
            counts=counts,
            bounds=Bounds(
                bytes=max(WAITING, letter), letter_bytes=letter, parcel_bytes=self._most_there
            ),
            pace=Pace(LETTERS_PER_SECOND, burst=LETTERS_PER_SECOND),
        )

    async def send(self, parcels: Mapping[str, bytes]) -> Collection[str]:
        """Send a parcel to the other end; see `Carrier`."""
        gone: list[str] = []
        for to, parcel in parcels.items():
            try:
                if to != self.peer:
                    raise KeyError(to)
                await self._connection.send(parcel)
            except ConnectionClosed:
                self.over.set()
                gone.append(to)
        return gone

    async def receive(self) -> Sequence[bytes]:
        """Wait for a parcel from the other end; when that is gone, until cancelled."""
        try:
            data = await self._connection.recv()
        except ConnectionClosed:
            self.over.set()
            await asyncio.Event().wait()  # whoever holds the link sees that it is over
            raise
        await self._pace.spend(len(data))
        return [data if isinstance(data, bytes) else NO_PARCEL]

    async def greet(self, offer: Offer) -> None:
        """Say which worker is wanted, before anything else is said.

        Raises:
            LinkRefused: The other end has closed already.
        """
        try:
            await self._connection.send(encode_notice(offer))
        except ConnectionClosed:
            raise LinkRefused(self.told, mend="see the log at the other end") from None

    async def close(self, code: Code, why: str = "") -> None:
        """Close it, and say why; returns within a moment."""
        self.over.set()
        await self._connection.close(code, why)


async def mind(link: Link, post: Post[Link]) -> None:
    """Close a link over which too much comes that has to be refused; returns when it has."""
    while post.refused <= REFUSALS:  # noqa: ASYNC110  # counting must not cost an event each
        await asyncio.sleep(MIND_EVERY)
    await link.close(Code.GARBAGE, "too much of what was sent had to be refused")


ABNORMAL = 1006
NO_PARCEL = b""  # in the place of text, which nobody sends here
CLOSES: Mapping[int, str] = {
    1001: "it goes away",
    1009: "a message was too large",
    1011: "no answer to a ping",
}


def single(headers: Headers, name: str) -> str:
    """Return what a header says; nothing if it is there twice, or not at all."""
    values = headers.get_all(name)
    return values[0] if len(values) == 1 else ""


def bytes_of(header: str) -> int:
    """Return what a header says of how much its sender takes at once, if it is sensible."""
    if header.isascii() and header.isdigit() and len(header) < 12:
        return max(LEAST_BYTES, int(header))
    return DEFAULT_BYTES
