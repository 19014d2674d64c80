"""A shared engine alone: what it takes to send and to read there, and no promise kept.

What a bus of ours is measured beside. What was read is not tidied away, nothing is sent again;
all of it is under names that belong to the channel, so that the same rights suffice.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from types import MappingProxyType
from typing import Any, Protocol

from pipecat_workers_cli.buses.network import INBOX_PARCELS
from pipecat_workers_cli.buses.pgmq_sql import Names
from pipecat_workers_cli.buses.postgres import FAILURES, failure, open_connection
from pipecat_workers_cli.buses.redis_requests import Requests
from pipecat_workers_cli.buses.urls import PGMQ, REDIS, BusKind, SharedBus

WAIT = 1.0  # seconds that `receive` waits when there is nothing
AT_ONCE = 256  # parcels that one `receive` takes
KEPT = 600  # seconds that a stream outlives a process that was killed
LEAVE_WITHIN = 2.0  # seconds


class Place(Protocol):
    """A process's end of whatever carries parcels.

    Attributes:
        address: Where parcels to it are sent.
    """

    address: str

    async def send(self, address: str, parcel: bytes) -> None:
        """Send a parcel; returns when one more may be sent."""
        ...

    async def receive(self) -> Sequence[bytes]:
        """Wait for parcels, about a second at most; oldest first."""
        ...


class BareRedis:
    """XADD and XREAD over redis-py's connections.

    Without its client, which at times takes a cancelled command for one to be tried again.
    """

    def __init__(self, requests: Requests, channel: str) -> None:
        self.address = secrets.token_hex(8)
        self._requests = requests
        self._keys = f"pmw:{channel}:bare"
        self._own = self._key(self.address)
        self._last = b""

    async def enter(self) -> None:
        """Make the stream, so that it has an end."""
        add = ("XADD", self._own, "*", "p", b"")
        self._last, _ = await self._requests.ask(add, ("EXPIRE", self._own, KEPT))

    async def leave(self) -> None:
        """Delete the stream, if the server is there."""
        await self._requests.close(("DEL", self._own))

    async def send(self, address: str, parcel: bytes) -> None:
        """Add to a stream; never to one whose owner has left, which nobody would delete."""
        bound = ("NOMKSTREAM", "MAXLEN", "~", INBOX_PARCELS)
        await self._requests.ask(("XADD", self._key(address), *bound, "*", "p", parcel))

    async def receive(self) -> Sequence[bytes]:
        """Read on in a stream."""
        most = ("COUNT", AT_ONCE, "BLOCK", int(1000 * WAIT))
        read = ("XREAD", *most, "STREAMS", self._own, self._last)
        (came,) = await self._requests.ask(read, wait=WAIT)
        if not came:
            return ()
        ((_, parcels),) = came
        self._last = parcels[-1][0]
        return [fields[1] for _, fields in parcels]

    def _key(self, address: str) -> str:
        return f"{self._keys}:{address}"


@asynccontextmanager
async def open_bare_redis(url: str, *, channel: str) -> AsyncGenerator[BareRedis]:
    """Open a stream of one's own.

    Raises:
        PmwError: On entering or later, the server can't be reached or refuses.
    """
    place = BareRedis(Requests(url), channel)
    try:
        await place.enter()
        yield place
    finally:
        await place.leave()


POP = """
SELECT msg_id, decode(message #>> '{}', 'base64') FROM pgmq.pop($1::text%s) ORDER BY 1
"""
TAKES_MANY = """
SELECT EXISTS (
    SELECT FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname = 'pgmq' AND p.proname = 'pop' AND p.pronargs = 2
)
"""
PUT = "SELECT pgmq.send($1::text, to_jsonb(encode($2::bytea, 'base64'))), pg_notify($1::text, '')"


class BarePgmq:
    """PGMQ's send and pop, woken by NOTIFY; one connection to send, one to read."""

    def __init__(self, reading: Any, sending: Any, channel: str) -> None:
        self.address = f"{Names.of(channel).prefix}bare_{secrets.token_hex(7)}"
        self._reading = reading
        self._sending = sending
        self._pop = POP % ""
        self._turn = asyncio.Lock()
        self._news = asyncio.Event()

    async def enter(self) -> None:
        """Make the queue and listen."""
        await self._reading.fetch("SELECT pgmq.create_unlogged($1::text)", self.address)
        if await self._reading.fetchval(TAKES_MANY):  # not so before PGMQ 1.7
            self._pop = POP % f", {AT_ONCE}"
        await self._reading.add_listener(self.address, lambda *_: self._news.set())

    async def leave(self) -> None:
        """Drop the queue, if Postgres is there."""
        with suppress(*FAILURES):
            async with asyncio.timeout(LEAVE_WITHIN):
                await self._sending.fetch("SELECT pgmq.drop_queue($1::text)", self.address)

    async def send(self, address: str, parcel: bytes) -> None:
        """Add to a queue."""
        async with self._turn:
            await self._sending.fetch(PUT, address, parcel)

    async def receive(self) -> Sequence[bytes]:
        """Read and delete in one; what is lost on the way is lost."""
        self._news.clear()
        rows = await self._reading.fetch(self._pop, self.address)
        if not rows:
            with suppress(TimeoutError):
                async with asyncio.timeout(WAIT):
                    await self._news.wait()
        return [parcel for _, parcel in rows]


@asynccontextmanager
async def open_bare_pgmq(url: str, *, channel: str) -> AsyncGenerator[BarePgmq]:
    """Open a queue of one's own.

    Raises:
        BusDown: On entering or later, Postgres can't be reached or refuses.
    """
    connections: list[Any] = []
    try:
        for _ in range(2):
            connections.append(await open_connection(url))
        reading, sending = connections
        place = BarePgmq(reading, sending, channel)
        try:
            await place.enter()
            yield place
        finally:
            await place.leave()
    except FAILURES as error:
        raise failure(error, url) from error
    finally:
        for connection in connections:
            connection.terminate()


Open = Callable[..., AbstractAsyncContextManager[Place]]
BARE: Mapping[BusKind, Open] = MappingProxyType({REDIS: open_bare_redis, PGMQ: open_bare_pgmq})


def open_bare(bus: SharedBus) -> AbstractAsyncContextManager[Place]:
    """Return what opens a place on a bus's engine when it is entered, and clears it when left.

    Args:
        bus: Which one, by a kind that is in `BARE`; its channel of plain letters alone.
    """
    return BARE[bus.kind](bus.url, channel=bus.channel)
