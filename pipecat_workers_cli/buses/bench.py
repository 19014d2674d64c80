"""How fast a shared bus is from here, beside its engine without us in the same run.

This process and another send each other messages over both, in turns, on a channel that nobody
else uses and that is gone afterwards. What `benchmarks/network.py` holds to limits is measured
by the same code.
"""

import asyncio
import os
import re
import secrets
import statistics
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field

import msgspec

from pipecat_workers_cli.buses.bare import BARE, Place, open_bare
from pipecat_workers_cli.buses.network import BusDown, Network
from pipecat_workers_cli.buses.pgmq_sql import Names
from pipecat_workers_cli.buses.post import Post, open_post
from pipecat_workers_cli.buses.postgres import Line
from pipecat_workers_cli.buses.redis_requests import Requests
from pipecat_workers_cli.buses.urls import PGMQ, SharedBus, open_network
from pipecat_workers_cli.errors import ConfigurationError, PmwError
from pipecat_workers_cli.wire.letter import Letter

MESSAGE = 400  # bytes; what a job asks
FRAME = 700  # bytes; 20 ms of speech at 16 kHz, and what goes with it
AT_ONCE = 16  # frames on their way at the same time
IN_PARCELS = 500  # letters that may wait before the next has to
TRIPS, FRAMES, CLAIMS = 100, 1000, 10  # in one round
ANSWER_WITHIN = 20.0  # seconds; a round's frames take one or two
START_WITHIN = 30.0  # seconds for the other process to be there
LEAVE_WITHIN = 5.0  # seconds for it to be gone
CALL = "bench"
QUEUE = "bench"
PEER = "pipecat_workers_cli.buses.bench_peer"


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """What one way bears.

    Attributes:
        p50_ms: A message there and an answer back, median.
        p99_ms: The same, 99th percentile.
        frames_per_s: 20 ms audio frames one way, as fast as they go; median of the rounds.
        lost: Frames that did not arrive.
    """

    p50_ms: float
    p99_ms: float
    frames_per_s: float
    lost: int


class Bench(msgspec.Struct, frozen=True, kw_only=True):
    """How fast a bus is.

    Attributes:
        bus: Which one, as it may be shown.
        rounds: How often each was measured, in turns.
        seconds: How long all of it took.
        raw: The engine by its client library alone, each frame a message of its own.
        pmw: The same over a bus of ours, as calls use it.
        ratio: Of `pmw` to `raw`, by the names of `Speed`: medians of the rounds' ratios.
        claim_p50_ms: From an offer to its claim by another who waits for one, median.
        claim_p99_ms: The same, 99th percentile.
        load: How many processes wanted a processor of this machine in the last minute.
        processors: How many it has.
    """

    bus: str
    rounds: int
    seconds: float
    raw: Speed
    pmw: Speed
    ratio: dict[str, float]
    claim_p50_ms: float
    claim_p99_ms: float
    load: float
    processors: int


@dataclass
class Samples:
    """What was measured of one way until now: ms there and back, and frames a second, by round."""

    trips: list[list[float]] = field(default_factory=list[list[float]])
    rates: list[float] = field(default_factory=list[float])
    lost: int = 0

    def speed(self) -> Speed:
        """Sum it up."""
        trips = [trip for round_ in self.trips for trip in round_]
        return Speed(
            p50_ms=round(statistics.median(trips), 3),
            p99_ms=round(percentile(trips, 0.99), 3),
            frames_per_s=round(statistics.median(self.rates)),
            lost=self.lost,
        )


class OnPost:
    """A post, as all calls of a process use it: what waits goes in one parcel."""

    def __init__(self, post: Post) -> None:
        self.address = post.address
        self._post = post
        self._came: deque[bytes] = deque(maxlen=100_000)
        self._news = asyncio.Event()
        self._unsent = 0

    def take(self, _sender: str, letter: Letter) -> None:
        """Keep what came for `receive`."""
        self._came.append(letter.body)
        self._news.set()

    async def send(self, address: str, parcel: bytes) -> None:
        """Post a letter; wait only where too many wait already."""
        self._post.send(address, Letter(CALL, CALL, 1, parcel))
        self._unsent += 1
        if self._unsent >= IN_PARCELS:
            self._unsent = 0
            await self._post.sent(address, within=ANSWER_WITHIN)

    async def receive(self) -> Sequence[bytes]:
        """Return what came."""
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self._news.wait()
        self._news.clear()
        came = list(self._came)
        self._came.clear()
        return came


@asynccontextmanager
async def open_on_post(network: Network) -> AsyncGenerator[Place]:
    """Run a post on a network while the block lasts."""
    async with open_post(network) as post:
        place = OnPost(post)
        with post.taking(CALL, [CALL], place.take):
            yield place


async def answer(place: Place) -> None:
    """Be the other end, until cancelled: answer what asks for it, count the rest.

    A parcel begins with the sender's address and, on a line of its own, what it wants: `?` to
    be answered, with the number of those that came before it, `.` nothing.
    """
    counted = 0
    while True:
        for parcel in await place.receive():
            sender, wish, rest = parcel.split(b"\n", 2)
            if wish == b"?":
                await place.send(sender.decode(), b"%d\n" % counted + rest)
                counted = 0
            else:
                counted += 1


class Pair:
    """Two ends of one way, the other of them in another process."""

    def __init__(self, here: Place, there: str) -> None:
        self._here = here
        self._there = there

    async def trips(self, count: int) -> list[float]:
        """Return the ms there and back of so many messages, one after another."""
        took: list[float] = []
        for _ in range(count):
            began = time.perf_counter()
            await self._ask()
            took.append(1000 * (time.perf_counter() - began))
        return took

    async def rate(self, count: int, *, at_once: int, size: int) -> tuple[float, int]:
        """Send parcels one way as fast as they go.

        Args:
            count: How many.
            at_once: How many are on their way at the same time.
            size: Of each, in bytes.

        Returns:
            How many a second, and how many were lost.
        """
        each = count // at_once

        async def send_some() -> None:
            for _ in range(each):
                await self._here.send(self._there, self._parcel(b".", size))

        began = time.perf_counter()
        async with asyncio.TaskGroup() as senders:
            for _ in range(at_once):
                senders.create_task(send_some())
        arrived = await self._ask()
        sent = each * at_once
        return sent / (time.perf_counter() - began), sent - arrived

    async def _ask(self) -> int:
        """Have what was sent counted, and wait for the answer."""
        await self._here.send(self._there, self._parcel(b"?", MESSAGE))
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                while not (came := await self._here.receive()):
                    pass
        except TimeoutError:
            raise _silent() from None
        return int(came[-1].partition(b"\n")[0])

    def _parcel(self, wish: bytes, size: int) -> bytes:
        return b"%b\n%b\n" % (self._here.address.encode(), wish) + bytes(size)


async def claim_times(one: Network, other: Network, *, offers: int) -> list[float]:
    """Return the ms from an offer of one until the other, who waits for it, has claimed it."""
    took: list[float] = []
    for _ in range(offers):
        async with asyncio.TaskGroup() as claiming:
            claimed = claiming.create_task(_claim(other))
            await asyncio.sleep(0.01)  # it waits by then
            began = time.perf_counter()
            await one.offer(QUEUE, bytes(MESSAGE))
        took.append(1000 * (claimed.result() - began))
    return took


async def _claim(network: Network) -> float:
    """Claim one offer; return when that was."""
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            while not (claims := await network.claim([QUEUE], most=1)):
                pass
    except TimeoutError:
        raise _silent() from None
    claimed = time.perf_counter()
    await network.settle(claims[0])
    return claimed


def _silent() -> BusDown:
    what = f"nothing came back over the bus for {ANSWER_WITHIN:.0f} s"
    return BusDown(what, mend="see whether it still answers, and what else it does")


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that a share of all are not above."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


async def run_bench(
    bus: SharedBus,
    *,
    seconds: float | None,
    rounds: int | None,
    tell: Callable[[int, float], None],
) -> Bench:
    """Measure a bus and its engine in turns.

    Args:
        bus: Which one. A channel beside its own is used, and cleared in the end.
        seconds: For how long, the start left out; the round that goes on then is finished.
        rounds: How many rounds; None is as many as fit into the seconds.
        tell: Given the number of rounds that are over, and the seconds since the first began.

    Raises:
        ConfigurationError: It isn't a bus of ours.
        PmwError: It can't be reached, stopped answering, or the other process died.
    """
    if bus.kind not in BARE:
        raise ConfigurationError(
            "stock Pipecat's processes answer no bench",
            mend="--bus redis://… measures the same server, by our own messages",
        )
    plain = re.sub("[^A-Za-z0-9_.-]", "-", bus.channel)[:40]
    private = SharedBus(bus.url, f"{plain}-bench-{secrets.token_hex(4)}")
    try:
        async with AsyncExitStack() as stack:
            one = await stack.enter_async_context(open_network(private))
            other = await stack.enter_async_context(open_network(private))
            bare = await stack.enter_async_context(open_bare(private))
            posted = await stack.enter_async_context(open_on_post(one))
            there = await stack.enter_async_context(_peer(private))
            pairs = {"raw": Pair(bare, there["raw"]), "pmw": Pair(posted, there["pmw"])}
            samples = {way: Samples() for way in pairs}
            claims: list[float] = []
            for pair in pairs.values():
                await pair.trips(TRIPS)  # whoever comes first would pay for what is made once
            began = time.monotonic()
            done, took = 0, 0.0
            while done < rounds if rounds else took < (seconds or 0):
                for way, pair in pairs.items():
                    samples[way].trips.append(await pair.trips(TRIPS))
                    rate, lost = await pair.rate(FRAMES, at_once=AT_ONCE, size=FRAME)
                    samples[way].rates.append(rate)
                    samples[way].lost += lost
                claims += await claim_times(one, other, offers=CLAIMS)
                done, took = done + 1, time.monotonic() - began
                tell(done, took)
    finally:
        await clear(private)
    return Bench(
        bus=bus.shown,
        rounds=done,
        seconds=round(took, 1),
        raw=samples["raw"].speed(),
        pmw=samples["pmw"].speed(),
        ratio=_ratios(samples["raw"], samples["pmw"]),
        claim_p50_ms=round(statistics.median(claims), 3),
        claim_p99_ms=round(percentile(claims, 0.99), 3),
        load=round(os.getloadavg()[0], 2),
        processors=os.cpu_count() or 1,
    )


def _ratios(raw: Samples, ours: Samples) -> dict[str, float]:
    def middle(ratios: Sequence[float]) -> float:
        return round(statistics.median(ratios), 2)

    trips = list(zip(ours.trips, raw.trips, strict=True))
    return {
        "p50_ms": middle([statistics.median(a) / statistics.median(b) for a, b in trips]),
        "p99_ms": middle([percentile(a, 0.99) / percentile(b, 0.99) for a, b in trips]),
        "frames_per_s": middle([a / b for a, b in zip(ours.rates, raw.rates, strict=True)]),
    }


@asynccontextmanager
async def _peer(bus: SharedBus) -> AsyncGenerator[dict[str, str]]:
    """Run the other process while the block lasts; gives its addresses, by way."""
    # By stdin, for arguments can be read by anybody on this machine; its end is the peer's end.
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", PEER), stdin=PIPE, stdout=PIPE, stderr=DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(msgspec.json.encode([bus.url, bus.channel]) + b"\n")
        line = b""
        with suppress(TimeoutError):
            async with asyncio.timeout(START_WITHIN):
                line = await process.stdout.readline()
        if not line:
            raise PmwError("the bench's other process did not start", mend="run it again with -v")
        yield msgspec.json.decode(line, type=dict[str, str])
    finally:
        await _end(process)


async def _end(process: Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(LEAVE_WITHIN):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


async def clear(bus: SharedBus) -> None:
    """Delete what a bench's channel still has; what can't be deleted now expires on Redis."""
    with suppress(PmwError, TimeoutError):
        async with asyncio.timeout(LEAVE_WITHIN):
            if bus.kind is PGMQ:
                await _clear_pgmq(bus)
            else:
                await _clear_redis(bus)


async def _clear_redis(bus: SharedBus) -> None:
    await Requests(bus.url).close(("DEL", f"pmw:{bus.channel}:offers:{QUEUE}"))


async def _clear_pgmq(bus: SharedBus) -> None:
    drop = "SELECT pgmq.drop_queue(queue_name) FROM pgmq.meta WHERE starts_with(queue_name, $1)"
    line = Line(bus.url)
    await line.run(lambda connection: connection.fetch(drop, Names.of(bus.channel).prefix))
    await line.close()
