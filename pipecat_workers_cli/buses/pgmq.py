"""The network on Postgres with PGMQ: queues by its functions, woken by NOTIFY.

Three connections a process: one listens and reads the inbox, one sends, one does the rest, so
that none of the three waits for another. Everything lives in unlogged queues, which an engine
that crashes empties; that is as much as calls that are going on can use of them.

The least rights that work: usage and create on schema `pgmq`, and select, insert, delete on
`pgmq.meta`. All processes of a channel use one role, for only its owner may drop a queue. Before
PGMQ 1.6 each queue becomes part of the extension, which that role has to own, too.
"""

import asyncio
import re
import secrets
import time
from base64 import b64decode
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import asyncpg
from loguru import logger

from pipecat_workers_cli.buses import pgmq_sql as sql
from pipecat_workers_cli.buses.network import (
    INBOX_KEPT,
    INBOX_PARCELS,
    LEASE,
    OFFERS_WAITING,
    WAIT_FOR_NEWS,
    BusDown,
    Claim,
    Presence,
)
from pipecat_workers_cli.buses.postgres import Line, place
from pipecat_workers_cli.buses.waits import claimed

T = TypeVar("T")

ADDRESS = re.compile("[0-9a-f]{14}")
"""What may be put into a statement; others are asked for in `pgmq.meta`."""

LOOK_EVERY = 0.5  # seconds; the net below NOTIFY, and when an expired lease is seen
LOOK_EVERY_DEAF = 0.05  # seconds; where no NOTIFY comes through
HEAR_WITHIN = 1.0  # seconds that a first notification may take
STATEMENTS_KEPT = 200  # prepared ones, for each connection: one for each process it sends to
KEEP_EVERY = 5.0  # seconds; an inbox is kept for six times as long
SETTLED = 15.0  # seconds without a failure before others' inboxes are dropped, see `keep_house`
LEAVE_WITHIN = 0.8  # seconds; who leaves waits twice so long, with a dead Postgres
TRIM_EVERY = 100  # parcels or offers by whose number a queue is cut to its size
SEND_AGAIN = 5  # times; each time an inbox has been dropped in the same millisecond


class PgmqNetwork:
    """A process's place in one Postgres, on one channel; see `Network` for what it promises.

    Attributes:
        address: This process's inbox.
    """

    def __init__(self, url: str, *, channel: str) -> None:
        """Prepare; `open_network` connects.

        Args:
            url: `postgresql://…`, as asyncpg takes it.
            channel: The application's name on a shared Postgres.
        """
        self.address = secrets.token_hex(7)  # see ADDRESS
        self._url = url
        self._names = sql.Names.of(channel)
        self._inbox = f"{self._names.inboxes}{self.address}"
        self._tables = {
            "inbox": sql.table(self._inbox),
            "offers": sql.table(self._names.offers),
            "presence": sql.table(self._names.presence),
        }
        self._reading = Line(url, on_connect=self._listen)
        self._sending = Line(url)
        self._working = Line(url)
        # Each is set once, by the next notification, and replaced: whoever took it before
        # looking misses none, however many wait.
        self._bells = {self._inbox: asyncio.Event(), self._names.offers: asyncio.Event()}
        self._lost = asyncio.Event()
        self._hears = False
        self._given: list[int] = []

    async def send(self, parcels: Mapping[str, bytes]) -> Collection[str]:
        """Put a parcel into each inbox that is there, by one statement."""
        queues = {f"{self._names.inboxes}{address}": address for address in parcels}
        if len(parcels) == 1 and all(map(ADDRESS.fullmatch, parcels)):
            ((queue, parcel),) = zip(queues, parcels.values(), strict=True)
            numbers = await self._send_one(queue, parcel)
        else:
            numbers = await self._send_all(list(queues), list(parcels.values()))
        for queue, number in numbers.items():
            if number % TRIM_EVERY == 0:
                await self._trim(queue, number)
        return [address for queue, address in queues.items() if queue not in numbers]

    async def _send_one(self, queue: str, parcel: bytes) -> Mapping[str, int]:
        statement = sql.SEND_ONE.format(inbox=sql.table(queue))

        async def put(line: Any) -> Sequence[Any]:
            try:
                return await line.fetch(statement, queue, parcel)
            except asyncpg.UndefinedTableError:
                return []

        return {row[0]: row[1] for row in await self._sending.run(put)}

    async def _send_all(self, queues: list[str], parcels: list[bytes]) -> Mapping[str, int]:
        async def put(line: Any) -> Sequence[Any]:
            for _ in range(SEND_AGAIN):
                with suppress(asyncpg.UndefinedTableError):
                    return await line.fetch(sql.SEND, queues, parcels)
            return await line.fetch(sql.SEND, queues, parcels)

        return {row[0]: row[1] for row in await self._sending.run(put)}

    async def _trim(self, queue: str, number: int) -> None:
        statement = sql.TRIM_INBOX.format(inbox=sql.table(queue))

        async def trim(line: Any) -> None:
            with suppress(asyncpg.UndefinedTableError):  # its owner has just left
                await line.execute(statement, number - INBOX_PARCELS)

        await self._sending.run(trim)

    async def receive(self) -> Sequence[bytes]:
        """Wait for parcels; those that were returned before are deleted on the way."""
        statement = sql.RECEIVE.format(**self._tables)

        async def read(line: Any) -> Sequence[Any]:
            try:
                return await line.fetch(statement, self._given, sql.READ_AT_ONCE)
            except asyncpg.UndefinedTableError:
                await line.execute(sql.MAKE, self._inbox)
                return []
            except asyncpg.DataError:
                text = sql.RECEIVE_TEXT.format(**self._tables)
                rows = await line.fetch(text, self._given, sql.READ_AT_ONCE)
                return [(row[0], _bytes(row[1])) for row in rows]

        rows = await self._wait_for(self._inbox, lambda: self._reading.run(read))
        self._given = [row[0] for row in rows]
        return [row[1] for row in rows]

    async def offer(self, queue: str, body: bytes) -> str:
        """Offer work; whoever waits for it is woken."""
        token = secrets.token_hex(4)
        row = (await self._shared(sql.OFFER, queue, token, body, self._names.offers))[0]
        if row[0] % TRIM_EVERY == 0:
            await self._shared(sql.TRIM_OFFERS, queue, OFFERS_WAITING)
        return f"{row[0]}-{token}"

    async def withdraw(self, queue: str, offer: str) -> None:
        """Take an offer back."""
        await self._shared(sql.WITHDRAW, *_parts(offer))

    async def claim(self, queues: Sequence[str], *, most: int) -> Sequence[Claim]:
        """Wait for work; offers of all the queues are taken in the order they were made."""
        return await self._wait_for(self._names.offers, lambda: self._claim(queues, most))

    async def _claim(self, queues: Sequence[str], most: int) -> Sequence[Claim]:
        async def ask() -> Sequence[Claim]:
            return _claims(await self._shared(sql.CLAIM, list(queues), most, LEASE))

        return await claimed(ask(), self.give_back, within=LEAVE_WITHIN)

    async def renew(self, claims: Collection[Claim]) -> Collection[Claim]:
        """Hold claims for `LEASE` seconds from now."""
        if not claims:
            return ()
        ids, tokens = zip(*(_parts(claim.offer) for claim in claims), strict=True)
        numbers = [claim.number for claim in claims]
        kept = {tuple(row) for row in await self._shared(sql.RENEW, ids, tokens, numbers, LEASE)}
        held = zip(ids, tokens, numbers, strict=True)
        return [claim for claim, it in zip(claims, held, strict=True) if it not in kept]

    async def settle(self, claim: Claim) -> None:
        """Be done with an offer for good."""
        await self._shared(sql.SETTLE, *_parts(claim.offer), claim.number)

    async def give_back(self, claim: Claim) -> None:
        """Let another claim it at once; whoever waits for it is woken."""
        await self._shared(sql.GIVE_BACK, *_parts(claim.offer), claim.number, self._names.offers)

    async def announce(self, kind: str, name: str, body: bytes, *, ttl: float) -> None:
        """Say that somebody is there."""
        await self._shared(sql.ANNOUNCE, kind, name, body, ttl)

    async def take_leave(self, kind: str, name: str) -> None:
        """Say that somebody is no longer there."""
        await self._shared(sql.TAKE_LEAVE, kind, name)

    async def present(self, kind: str) -> Sequence[Presence]:
        """Return who is there of a kind, by name."""
        rows = await self._shared(sql.PRESENT, kind)
        return [Presence(name, _bytes(body), age) for name, body, age in rows]

    async def _shared(self, statement: str, *values: Any) -> Sequence[Any]:
        """Do a statement on the channel's own queues, which are made if they aren't there."""
        statement = statement.format(**self._tables)

        async def do(line: Any) -> Sequence[Any]:
            try:
                return await line.fetch(statement, *values)
            except asyncpg.UndefinedTableError:
                await self._make_shared(line)
                return await line.fetch(statement, *values)

        return await self._working.run(do)

    async def _make_shared(self, line: Any) -> None:
        async with line.transaction():
            await line.execute(sql.ALONE, self._names.prefix)
            for queue in (self._names.offers, self._names.presence):
                await line.execute(sql.MAKE, queue)
            for index, queue in (
                (sql.OFFERS_INDEX, self._names.offers),
                (sql.PRESENCE_INDEX, self._names.presence),
            ):
                await line.execute(index.format(name=queue, **self._tables))

    async def _wait_for(
        self, queue: str, look: Callable[[], Awaitable[Sequence[T]]]
    ) -> Sequence[T]:
        """Look until there is something, whenever a queue is notified and now and then."""
        until = time.monotonic() + WAIT_FOR_NEWS
        while True:
            bell = self._bells[queue]
            found = await look()
            left = until - time.monotonic()
            if found or left <= 0:
                return found
            hears = self._hears and self._reading.connected
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, LOOK_EVERY if hears else LOOK_EVERY_DEAF)):
                    await bell.wait()

    async def _listen(self, line: Any) -> None:
        # The engine may have lost its data and begun to count anew, and what has these numbers
        # now was never given.
        self._given = []
        for queue in self._bells:
            await line.add_listener(queue, self._on_notice)
        line.add_termination_listener(self._on_loss)

    def _on_notice(self, line: Any, pid: int, queue: str, payload: str) -> None:
        self._hears = True
        self._ring(queue)

    def _on_loss(self, line: Any) -> None:
        self._lost.set()
        for queue in self._bells:
            self._ring(queue)

    def _ring(self, queue: str) -> None:
        self._bells[queue].set()
        self._bells[queue] = asyncio.Event()

    async def enter(self) -> None:
        """Connect, see whether notifications come through, and make the inbox.

        Raises:
            BusDown: Postgres can't be reached, refuses, or has no PGMQ.
        """
        bell = self._bells[self._inbox]
        await self._reading.run(lambda line: line.execute("SELECT 1"))
        await self._sending.run(lambda line: line.execute(f"NOTIFY {self._inbox}"))
        try:
            async with asyncio.timeout(HEAR_WITHIN):
                await bell.wait()
        except TimeoutError:
            logger.warning(
                f"Postgres at {place(self._url)} is behind a pooler that carries no LISTEN: "
                f"everything waits up to {LOOK_EVERY_DEAF * 1000:.0f} ms longer "
                "(a session pooler, or its own port, would be faster)"
            )
        else:  # nothing stands in between
            for line in self._lines:
                line.drop()
                line.statements_kept = STATEMENTS_KEPT
        await self._reading.run(lambda line: line.execute(sql.MAKE, self._inbox))

    @property
    def _lines(self) -> tuple[Line, Line, Line]:
        return self._reading, self._sending, self._working

    async def keep_house(self) -> None:
        """Keep the inbox as long as this process lives, and drop those of the dead.

        After an outage everybody's time is over, and whoever comes back first must not take
        the others for dead: inboxes are dropped only by those for whom all went well lately.
        """
        last = well_since = time.monotonic()
        while True:
            try:
                # Whoever claims is woken over this line, too, and may be alone in the process.
                await self._reading.run(lambda line: line.execute("SELECT 1"))
                await self._shared(sql.ANNOUNCE, sql.INBOXES, self._inbox, b"", INBOX_KEPT)
                now = time.monotonic()
                if now - last > 2 * KEEP_EVERY:
                    well_since = now
                last = now
                if now - well_since >= SETTLED:
                    await self._drop_the_dead()
            except BusDown:
                pass
            except Exception as error:  # whatever it is: the inbox is to be kept all the same
                logger.opt(exception=error).warning(f"keeping house: {type(error).__name__}")
            with suppress(TimeoutError):
                async with asyncio.timeout(KEEP_EVERY):
                    await self._lost.wait()
            self._lost.clear()

    async def _drop_the_dead(self) -> None:
        await self._shared(sql.FORGET_EXPIRED, sql.INBOXES)
        await self._shared(sql.ADOPT, self._names.inboxes, INBOX_KEPT, sql.INBOXES)
        expired = await self._shared(sql.TAKE_EXPIRED, sql.INBOXES, INBOX_KEPT)
        for (queue,) in expired:  # one a transaction, so that no sender waits for more
            await self._drop(queue)
        if expired:
            logger.info(f"dropped {len(expired)} inboxes of processes that are gone")

    async def _drop(self, inbox: str) -> None:
        await self._shared(sql.DROP, inbox)
        await self._shared(sql.TAKE_LEAVE, sql.INBOXES, inbox)

    async def leave(self) -> None:
        """Take the inbox along if Postgres answers at once; never fails."""
        try:
            with suppress(TimeoutError, BusDown):
                async with asyncio.timeout(LEAVE_WITHIN):
                    await self._drop(self._inbox)
                    for line in self._lines:
                        await line.close()
        finally:
            for line in self._lines:
                line.drop()


def _parts(offer: str) -> tuple[int, str]:
    number, _, token = offer.partition("-")
    return int(number), token


def _bytes(text: str | None) -> bytes:
    """Return what was put there; of what isn't ours, something that no reader takes for theirs."""
    try:
        return b64decode(text or "")
    except ValueError:
        return b""


def _claims(rows: Sequence[Any]) -> Sequence[Claim]:
    return [
        Claim(queue=queue, offer=f"{number}-{token}", body=_bytes(body), number=count)
        for number, count, queue, token, body in sorted(rows)
    ]


@asynccontextmanager
async def open_network(url: str, *, channel: str) -> AsyncGenerator[PgmqNetwork]:
    """Take a place on a channel in Postgres; leaving gives it up, dead or alive.

    Args:
        url: `postgresql://…`, as asyncpg takes it, `sslmode` and the like included.
        channel: The application's name on a shared Postgres, 1 to 80 characters.

    Raises:
        ConfigurationError: The URL is none.
        BusDown: On entering, Postgres can't be reached, refuses, or has no PGMQ.
    """
    network = PgmqNetwork(url, channel=channel)
    try:
        await network.enter()
        keeping = asyncio.create_task(network.keep_house(), name="keep house")
        try:
            yield network
        finally:
            keeping.cancel()
            await asyncio.wait({keeping}, timeout=LEAVE_WITHIN)
    finally:
        await network.leave()
