"""What a call's bus over two processes costs, beside stock Pipecat's and one in a process.

    python benchmarks/remote.py [redis] [pgmq] [--check] [--jobs 300] [--frames 20000] [--rounds 5]

A worker of this process asks one of another process for jobs, one after another, and sends it
20 ms audio frames as fast as it can; a job at their end tells when all are there. Ours goes over
a server of its own (a Valkey, a Postgres with PGMQ) by hub and spoke; stock is Pipecat's
`RedisBus` on the same Valkey; local is one process; raw is the engine's Network, there and back.
All take turns; figures are medians of the rounds, bytes are what the Valkey was sent a frame for
640 of sound. `--check` exits with 1 if a ratio is worse than its limit.
"""

import argparse
import asyncio
import statistics
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from loguru import logger
from network import ENGINES, open_pair
from network import measure as measure_pair
from pipecat.bus import (
    BusActivateWorkerMessage,
    BusFrameMessage,
    BusJobRequestMessage,
    BusMessage,
    WorkerBus,
)
from pipecat.bus.network.redis import RedisBus
from pipecat.frames.frames import TTSAudioRawFrame
from pipecat.pipeline.job_context import JobParams
from pipecat.processors.frame_processor import FrameDirection
from pipecat.workers.base_worker import BaseWorker
from redis.asyncio import Redis

from pipecat_workers_cli.buses.local import LocalBus
from pipecat_workers_cli.buses.post import open_post
from pipecat_workers_cli.buses.remote import HubBus, Seat, SpokeBus
from pipecat_workers_cli.call.run import running
from pipecat_workers_cli.workers.jobs import JobsEnd

PAYLOAD = {"topic": "Should we work from home, and if so, on how many days of the week?"}
ANSWER = {"answer": "It gives people hours back that they lost on the road. " * 4}
SOUND = bytes(640)  # 20 ms at 16 kHz
AT_ONCE = 500  # frames until those before are on their way; more would be shed as late
EPOCH = 1


class Asker(JobsEnd, BaseWorker):
    """Asks."""


class Listener(JobsEnd, BaseWorker):
    """Counts frames, and answers jobs at once; `heard` when so many frames were."""

    frames = 0
    wanted: tuple[int, str] | None = None

    def accepts_bus_message(self, message: BusMessage) -> bool:
        """Count what is heard, active or not."""
        return isinstance(message, BusFrameMessage) or super().accepts_bus_message(message)

    async def on_bus_message(self, message: BusMessage) -> None:
        """Count a frame."""
        if isinstance(message, BusFrameMessage):
            self.frames += message.source != self.name
            await self._tell()
            return
        await super().on_bus_message(message)

    async def on_job_request(self, message: BusJobRequestMessage) -> None:
        """Answer."""
        wanted = (message.payload or {}).get("frames")
        if wanted is None:
            await self.send_job_response(message.job_id, ANSWER)
        else:
            self.wanted = (wanted, message.job_id)
            await self._tell()

    async def _tell(self) -> None:
        if self.wanted is not None and self.frames >= self.wanted[0]:
            _, job = self.wanted
            self.wanted, self.frames = None, 0
            await self.send_job_response(job, ANSWER)


async def ask(asker: BaseWorker, payload: dict[str, Any]) -> None:
    """Ask the listener, and wait for its answer."""
    async with asker.job("listener", params=JobParams(payload=payload, timeout=120)):
        pass


@dataclass(frozen=True)
class Figures:
    """What one way took: ms a job, frames a second, bytes that the server was sent a frame."""

    p50: float
    p99: float
    frames: float
    bytes: float


@dataclass
class Way:
    """One way from the asker to the listener, open for all rounds."""

    asker: BaseWorker
    bus: WorkerBus
    server: Redis | None = None
    sent: Callable[[], Awaitable[object]] = lambda: asyncio.sleep(0)

    async def measure(self, *, jobs: int, frames: int) -> Figures:
        """Ask for jobs, then send frames."""
        trips: list[float] = []
        for _ in range(jobs):
            began = time.perf_counter()
            await ask(self.asker, PAYLOAD)
            trips.append(1000 * (time.perf_counter() - began))
        before = await self._received()
        began = time.perf_counter()
        for number in range(frames):
            frame = TTSAudioRawFrame(audio=SOUND, sample_rate=16_000, num_channels=1)
            await self.bus.send(
                BusFrameMessage(source="asker", frame=frame, direction=FrameDirection.DOWNSTREAM)
            )
            if number % AT_ONCE == 0:
                await self.sent()
        await ask(self.asker, {"frames": frames})
        took = time.perf_counter() - began
        sent = (await self._received() - before) / frames
        p99 = statistics.quantiles(trips, n=100)[-1]
        return Figures(statistics.median(trips), p99, frames / took, sent)

    async def _received(self) -> int:
        if self.server is None:
            return 0
        return (await self.server.info("stats"))["total_net_input_bytes"]


@asynccontextmanager
async def open_local() -> AsyncGenerator[Way]:
    """Both in this process."""
    asker, bus = Asker("asker"), LocalBus()
    async with running([asker, Listener("listener")], bus):
        yield Way(asker, bus)


@asynccontextmanager
async def other_process(*words: str) -> AsyncGenerator[str]:
    """Run the listener's process; gives the line that it says first."""
    process = await asyncio.create_subprocess_exec(sys.executable, __file__, *words, stdout=PIPE)
    try:
        assert process.stdout is not None
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def open_ours(engine: str, url: str) -> AsyncGenerator[Way]:
    """The listener behind a hub and a spoke."""
    async with (
        ENGINES[engine].open_network(url, channel="benchmark") as network,
        open_post(network) as post,
        other_process("--ours", engine, url, post.address) as address,
    ):
        bus = HubBus("benchmark", main="asker", on_notice=lambda *_: None, on_end=lambda _: None)
        asker = Asker("asker")
        with post.taking("benchmark", ["listener"], bus.take), post.keeping(address):
            async with running([asker], bus):
                bus.take_in("listener", Seat(address, EPOCH, post))
                await bus.send(BusActivateWorkerMessage(source="asker", target="listener"))
                server = Redis.from_url(url) if engine == "redis" else None
                yield Way(asker, bus, server, lambda: post.sent(address, within=30))


async def answer_ours(engine: str, url: str, hub: str) -> None:
    """Be the listener's process for ours."""
    async with (
        ENGINES[engine].open_network(url, channel="benchmark") as network,
        open_post(network) as post,
    ):
        bus = SpokeBus(
            "benchmark",
            worker="listener",
            hub=Seat(hub, EPOCH, post),
            on_notice=lambda *_: None,
        )
        with post.taking("benchmark", ["listener"], bus.take), post.keeping(hub):
            async with running([Listener("listener")], bus):
                print(post.address, flush=True)
                await asyncio.Event().wait()


@asynccontextmanager
async def open_stock(url: str) -> AsyncGenerator[Way]:
    """The listener behind Pipecat's own bus."""
    async with Redis.from_url(url) as client, other_process("--stock", url):
        asker, bus = Asker("asker"), RedisBus(redis=client, channel="stock")
        async with running([asker], bus):
            yield Way(asker, bus, Redis.from_url(url))


async def answer_stock(url: str) -> None:
    """Be the listener's process for stock."""
    async with (
        Redis.from_url(url) as client,
        running([Listener("listener")], RedisBus(redis=client, channel="stock")),
    ):
        print("ready", flush=True)
        await asyncio.Event().wait()


async def measure(engine: str, url: str, options: argparse.Namespace) -> dict[str, list[Figures]]:
    """Measure all ways in turns; raw has no frames."""
    figures: dict[str, list[Figures]] = {}
    async with AsyncExitStack() as stack:
        raw = await stack.enter_async_context(open_pair(engine, "network", url))
        ways = {"local": await stack.enter_async_context(open_local())}
        ways["ours"] = await stack.enter_async_context(open_ours(engine, url))
        if engine == "redis":
            ways["stock"] = await stack.enter_async_context(open_stock(url))
        frames = options.frames if engine == "redis" else options.frames // 5
        for number in range(options.rounds + 1):
            for name, way in ways.items():
                few = name == "stock"
                sent = frames // 10 if few else frames
                measured = await way.measure(jobs=options.jobs, frames=sent)
                if number:  # the first round warms up
                    figures.setdefault(name, []).append(measured)
            trips = await measure_pair(raw, 3 * options.jobs)
            if number:
                figures.setdefault("raw", []).append(Figures(trips.p50, trips.p99, 0, 0))
    return figures


def medians(rounds: list[Figures]) -> Figures:
    """Return the median of each figure."""
    columns = zip(*((one.p50, one.p99, one.frames, one.bytes) for one in rounds), strict=True)
    return Figures(*map(statistics.median, columns))


STOCK_PGMQ = (107.0, 290.0)
"""Of stock Pipecat on PGMQ, which needs an environment of its own: ms a job and the most frames
a second, measured once on a machine of two cores, beside 1.0 ms and 2,600 of its Redis."""


def judge(engine: str, told: dict[str, Figures]) -> dict[str, tuple[float, float, bool]]:
    """Return ratios, each with its limit and whether it must not be above it."""
    ours, raw, local = told["ours"], told["raw"], told["local"]
    bare = raw.p50 + local.p50
    if engine == "pgmq":
        return {
            "ms a job: ours / (raw + local)": (ours.p50 / bare, 2.0, True),
            "ms a job: stock as once measured / ours": (STOCK_PGMQ[0] / ours.p50, 20, False),
            "frames: ours / stock as once measured": (ours.frames / STOCK_PGMQ[1], 5, False),
        }
    stock = told["stock"]
    return {
        "ms a job: ours / stock": (ours.p50 / stock.p50, 1.0, True),
        "ms a job, p99: ours / stock": (ours.p99 / stock.p99, 1.0, True),
        "ms a job: ours / (raw + local)": (ours.p50 / bare, 1.3, True),
        "frames: ours / stock": (ours.frames / stock.frames, 4.0, False),
        "bytes: ours / 640": (ours.bytes / len(SOUND), 1.25, True),
    }


def run(engine: str, options: argparse.Namespace) -> bool:
    """Measure one engine and print it; tell whether all is within its limits."""
    with ENGINES[engine].start() as url:
        told = {
            name: medians(rounds)
            for name, rounds in asyncio.run(measure(engine, url, options)).items()
        }
    print(f"\n{engine:10}{'ms p50':>9}{'ms p99':>9}{'frames/s':>11}{'bytes':>8}")
    for name, figures in told.items():
        print(
            f"{name:10}{figures.p50:>9.3f}{figures.p99:>9.3f}"
            f"{figures.frames:>11,.0f}{figures.bytes:>8,.0f}"
        )
    within = True
    for what, (ratio, limit, ceiling) in judge(engine, told).items():
        good = ratio <= limit if ceiling else ratio >= limit
        within = within and good
        print(f"{what}: {ratio:.2f} ({'at most' if ceiling else 'at least'} {limit:g})")
    return within


def main() -> None:
    """Measure, print, and check if asked to."""
    logger.remove()
    logger.add(sys.stderr, level="ERROR")
    if sys.argv[1:2] == ["--ours"]:
        asyncio.run(answer_ours(*sys.argv[2:]))
    elif sys.argv[1:2] == ["--stock"]:
        asyncio.run(answer_stock(*sys.argv[2:]))
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("engines", nargs="*", choices=[*ENGINES, []], default=[])
    parser.add_argument("--check", action="store_true", help="exit 1 beyond a limit")
    parser.add_argument("--jobs", type=int, default=300, help="a round")
    parser.add_argument("--frames", type=int, default=20_000, help="a round")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    within = [run(engine, options) for engine in options.engines or ENGINES]
    if options.check and not all(within):
        sys.exit(1)


if __name__ == "__main__":
    main()
