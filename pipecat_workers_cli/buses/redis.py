"""A process's place on a Redis or a Valkey: streams, a consumer group for each queue.

An inbox is a stream that its owner keeps alive by reading it. An offer queue is a stream with
the group `hosts`: what is pending there is what is claimed, how long it idles is what is
left of its lease, and how often it was delivered is the claim's number. All keys
begin with `pmw:` and the channel, and every key expires unless it is used.
"""

import secrets
from collections.abc import AsyncGenerator, Collection, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from time import monotonic
from typing import Any
from urllib.parse import quote

from pipecat_workers_cli.buses import redis_scripts as scripts
from pipecat_workers_cli.buses.network import (
    INBOX_KEPT,
    INBOX_PARCELS,
    LEASE,
    OFFERS_WAITING,
    WAIT_FOR_NEWS,
    Claim,
    Presence,
)
from pipecat_workers_cli.buses.redis_requests import LEAVE_WITHIN, Command, Requests
from pipecat_workers_cli.buses.waits import claimed
from pipecat_workers_cli.errors import PmwError

PARCELS_AT_ONCE = 256  # that one `receive` returns; more would come late for their size
KEEP_EVERY = 0.5  # seconds between two deletions of what was read, which cost as much as a read
KEEP_BYTES = 256 * 1024  # read since the last one, after which the next comes at once
LOOK_FOR_EXPIRED = 0.4  # seconds between two looks while waiting; nothing wakes us for them
QUEUE_KEPT = 600_000  # ms that a queue outlives its last offer, claim and renewal
TIDY_EVERY = 30.0  # seconds
DEAD_AFTER = 60_000  # ms; a live host claims or renews far more often
LONG_PART = 80  # characters of a key's part, beyond which it is hashed
NOTHING_READ = b"0-1"  # 0-0 is no id that a stream can begin after


class RedisNetwork:
    """Implements `Network` with a server's streams; see there for what the methods promise.

    Attributes:
        address: This process's inbox.
    """

    def __init__(self, requests: Requests, channel: str) -> None:
        """Choose an address on a channel; `open` makes its inbox.

        Args:
            requests: The server.
            channel: Any text of 1 to 80 characters.
        """
        self.address = secrets.token_hex(8)
        self._requests = requests
        self._channel = f"pmw:{_part(channel)}"
        self._inbox = self._inbox_of(self.address)
        self._read_to = NOTHING_READ
        self._keep_at = 0.0
        self._read_since = 0
        self._turn = 0
        self._tidied = 0.0

    async def open(self) -> None:
        """Connect and make the inbox, so that others may know the address at once."""
        await self._requests.ask(self._keep_inbox())

    async def close(self) -> None:
        """Delete the inbox if the server is there, and disconnect."""
        await self._requests.close(("DEL", self._inbox))

    async def send(self, parcels: Mapping[str, bytes]) -> Collection[str]:
        """Add to each stream that is there; return the addresses that have none."""
        bound = ("NOMKSTREAM", "MAXLEN", "~", INBOX_PARCELS)
        replies = await self._requests.ask(
            *(
                ("XADD", self._inbox_of(address), *bound, "*", "p", parcel)
                for address, parcel in parcels.items()
            ),
            unless="WRONGTYPE",  # what isn't a stream is nobody's inbox, and holds up no other
        )
        return [address for address, added in zip(parcels, replies, strict=True) if added is None]

    async def receive(self) -> Sequence[bytes]:
        """Wait for parcels; those returned before are deleted when some have come together."""
        most = ("COUNT", PARCELS_AT_ONCE, "BLOCK", _ms(WAIT_FOR_NEWS))
        read = ("XREAD", *most, "STREAMS", self._inbox, self._read_to)
        now = monotonic()
        if now < self._keep_at and self._read_since < KEEP_BYTES:
            (came,) = await self._ask_inbox(read)
        else:
            _, came = await self._ask_inbox(self._keep_inbox(), read)
            self._keep_at, self._read_since = now + KEEP_EVERY, 0
        if not came:
            self._keep_at = 0.0
            return ()
        ((_, entries),) = came
        self._read_to = entries[-1][0]
        parcels = [fields[1] for _, fields in entries]  # anybody may have put in more of them
        self._read_since += sum(map(len, parcels))
        return parcels

    async def _ask_inbox(self, *commands: Command) -> list[Any]:
        try:
            return await self._requests.ask(*commands, wait=WAIT_FOR_NEWS)
        except PmwError:
            self._keep_at = 0.0  # the server may come back without it
            raise

    async def offer(self, queue: str, body: bytes) -> str:
        """Add to the queue's stream; return the id it got there."""
        key = self._queue(queue)
        offer, _ = await self._requests.ask(
            ("XADD", key, "MAXLEN", "~", OFFERS_WAITING, "*", "b", body),
            ("PEXPIRE", key, QUEUE_KEPT),
        )
        return offer.decode()

    async def withdraw(self, queue: str, offer: str) -> None:
        """Delete an offer, held or not."""
        key = self._queue(queue)
        await self._requests.ask(("XACK", key, "hosts", offer), ("XDEL", key, offer))

    async def claim(self, queues: Sequence[str], *, most: int) -> Sequence[Claim]:
        """Wait for offers that nobody has, new ones or expired ones."""
        until = monotonic() + WAIT_FOR_NEWS
        self._turn = (self._turn + 1) % len(queues)  # so that no queue is always the last
        in_turn = (*queues[self._turn :], *queues[: self._turn])
        while not (claims := await self._claimed(self._take(in_turn, most))):
            left = until - monotonic()
            if left <= 0:
                break
            if claims := await self._claimed(self._await_offer(in_turn, most, left)):
                break
        return claims

    async def _claimed(self, claiming: Coroutine[Any, Any, Sequence[Claim]]) -> Sequence[Claim]:
        return await claimed(claiming, self.give_back, within=LEAVE_WITHIN)

    async def _take(self, queues: Sequence[str], most: int) -> Sequence[Claim]:
        """Claim what is there, the expired before the new."""
        tidy = monotonic() - self._tidied > TIDY_EVERY
        if tidy:
            self._tidied = monotonic()
        taken: list[tuple[int, bytes, bytes, int]] = await self._requests.run(
            scripts.TAKE,
            [self._queue(queue) for queue in queues],
            self.address,
            _ms(LEASE),
            most,
            QUEUE_KEPT,
            DEAD_AFTER if tidy else "",
        )
        return [
            Claim(queues[at], offer.decode(), body, number) for at, offer, body, number in taken
        ]

    async def _await_offer(self, queues: Sequence[str], most: int, left: float) -> Sequence[Claim]:
        """Wait for new offers until it is time to look for expired ones."""
        wait = min(left, LOOK_FOR_EXPIRED)
        by_key = {self._queue(queue).encode(): queue for queue in queues}
        # The count is one for each queue, so that all together may still be too many.
        each = ("COUNT", max(1, most // len(queues)), "BLOCK", max(1, _ms(wait)))
        streams = (*by_key, *(">" for _ in by_key))
        (came,) = await self._requests.ask(
            ("XREADGROUP", "GROUP", "hosts", self.address, *each, "STREAMS", *streams),
            wait=wait,
            unless="NOGROUP",
        )
        claims = [
            Claim(by_key[key], offer.decode(), fields[1], 1)
            for key, offers in came or ()
            for offer, fields in offers
        ]
        for claim in claims[most:]:
            await self.give_back(claim)
        return claims[:most]

    async def renew(self, claims: Collection[Claim]) -> Collection[Claim]:
        """Let the leases of all claims begin anew; return those that are lost."""
        if not claims:
            return ()
        renewed = tuple(claims)
        lost = await self._requests.run(
            scripts.RENEW,
            [self._queue(claim.queue) for claim in renewed],
            self.address,
            QUEUE_KEPT,
            *(part for claim in renewed for part in (claim.offer, claim.number)),
        )
        return [renewed[at] for at in lost]

    async def settle(self, claim: Claim) -> None:
        """Delete a claimed offer, unless the claim is lost."""
        await self._end(scripts.SETTLE, claim)

    async def give_back(self, claim: Claim) -> None:
        """Let the lease of a claim be over, unless the claim is lost."""
        await self._end(scripts.GIVE_BACK, claim, _ms(LEASE))

    async def _end(self, script: str, claim: Claim, *more: int) -> None:
        held = (self.address, claim.offer, claim.number)
        await self._requests.run(script, [self._queue(claim.queue)], *held, *more)

    async def announce(self, kind: str, name: str, body: bytes, *, ttl: float) -> None:
        """Write down what somebody says, and until when."""
        await self._requests.run(scripts.ANNOUNCE, self._presence(kind), name, body, _ms(ttl))

    async def take_leave(self, kind: str, name: str) -> None:
        """Delete what somebody said."""
        until, said = self._presence(kind)
        await self._requests.ask(("ZREM", until, name), ("HDEL", said, name))

    async def present(self, kind: str) -> Sequence[Presence]:
        """Return who has said something and when, as long as it counts."""
        now, said = await self._requests.run(scripts.PRESENT, self._presence(kind))
        there: list[Presence] = []
        for name, words in sorted(zip(said[::2], said[1::2], strict=True)):
            at, _, body = words.partition(b":")
            there.append(Presence(name.decode(), body, (now - int(at)) / 1000))
        return there

    def _keep_inbox(self) -> Command:
        time, _, number = self._read_to.partition(b"-")
        following = f"{time.decode()}-{int(number) + 1}"
        kept = (self._read_to, following, _ms(INBOX_KEPT))
        return ("EVAL", scripts.KEEP_INBOX, 1, self._inbox, *kept)

    def _inbox_of(self, address: str) -> str:
        return f"{self._channel}:in:{address}"

    def _queue(self, queue: str) -> str:
        return f"{self._channel}:offers:{_part(queue)}"

    def _presence(self, kind: str) -> tuple[str, str]:
        return f"{self._channel}:until:{kind}", f"{self._channel}:said:{kind}"


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


def _part(text: str) -> str:
    """Return what stands for a text within a key: never the same for two texts."""
    quoted = quote(text, safe="")
    if len(quoted) <= LONG_PART:
        return quoted
    return f"{quoted[:40]}={sha256(text.encode()).hexdigest()[:32]}"  # no quoted text has a =


@asynccontextmanager
async def open_network(url: str, *, channel: str) -> AsyncGenerator[RedisNetwork]:
    """Connect to a Redis or a Valkey; leaving deletes this process's inbox, if it can.

    Args:
        url: `redis://user:password@host:port/db`, or `rediss://…` with TLS, whose options are
            a query with redis-py's names, such as `?ssl_ca_certs=FILE`.
        channel: The application's name there, 1 to 80 characters.

    Raises:
        ConfigurationError: The URL is wrong.
        PmwError: The server can't be reached, refuses, or is none.
    """
    network = RedisNetwork(Requests(url), channel)
    try:
        await network.open()
        yield network
    finally:
        await network.close()
