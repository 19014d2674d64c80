"""What a link to a worker elsewhere costs, beside a bare WebSocket and Pipecat's own proxy.

    python benchmarks/proxy.py [link] [calls] [flood] [--check] [--rounds 5] [--jobs 200]
        [--frames 5000] [--calls 200] [--seconds 5]

Each far end is a process of its own; ours is `pmw proxy serve` as anybody starts it.

- `link`: a worker here asks one there for jobs, one after another, and for 20 ms of sound as
  often as it can be sent; stock is Pipecat's own pair of proxy workers, bare an echo of as many
  bytes by `websockets`, local the same two workers in one process. All take turns.
- `calls`: more and more calls of words in one far end: its memory a call, the time of a turn
  while the others rest, and the processor time of all that rest.
- `flood`: jobs over an open link while others knock without a token, a thousand a second, in
  turns with jobs while nobody does.

Figures are medians of the rounds. `--check` exits with 1 if a ratio is worse than its limit.
"""

import argparse
import asyncio
import gc
import socket
import statistics
import subprocess
import sys
import threading
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import psutil
from arrangements import Caller, Turn
from far_ends import ASKER, LISTENER, PAYLOAD, Asker, Listener
from loguru import logger
from pipecat.bus import (
    AsyncQueueBus,
    BusActivateWorkerMessage,
    BusFrameMessage,
    BusJobRequestMessage,
)
from pipecat.workers.proxy.websocket import WebSocketProxyClient
from websockets.asyncio.client import connect

from pipecat_workers_cli.buses.door import CallersDoor
from pipecat_workers_cli.buses.link import CALLERS_END, WORKERS_END
from pipecat_workers_cli.buses.local import LocalBus
from pipecat_workers_cli.buses.post import running_post
from pipecat_workers_cli.buses.remote import HubBus, Seat
from pipecat_workers_cli.buses.way import Way, open_link
from pipecat_workers_cli.call.links import Links
from pipecat_workers_cli.call.plan import plan_call
from pipecat_workers_cli.call.run import open_call, running
from pipecat_workers_cli.options import LinkOptions, Profile, ServiceOptions
from pipecat_workers_cli.recipe.load import load_recipe
from pipecat_workers_cli.traffic.tap import Tap
from pipecat_workers_cli.transports.console import ConsoleTransport
from pipecat_workers_cli.wire.format import Codec
from pipecat_workers_cli.wire.notice import Offer

HERE = Path(__file__).parent
TOKEN = "a-token-of-the-benchmark"
BURST = 250  # frames that one job asks for; two jobs at a time keep the line busy
STARTED_WITHIN = 60.0  # seconds
REST = 10.0  # seconds that calls are left alone to see what they cost then
QUESTION = Turn("How much are the rocket boots?", "$299")


class FarEnd:
    """A `pmw proxy serve` in a process of its own, and what it says."""

    def __init__(self, *words: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        command = [sys.executable, "-m", "pipecat_workers_cli", "proxy", "serve", *words]
        command += ["--port", str(self.port), "--token", TOKEN, "--services", "offline"]
        self.popen = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.process = psutil.Process(self.popen.pid)
        self.lines: list[str] = []
        self._serves = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()
        if not self._serves.wait(STARTED_WITHIN):
            self.popen.kill()
            raise RuntimeError("\n".join(self.lines))

    @property
    def url(self) -> str:
        """Where links are opened."""
        return f"ws://127.0.0.1:{self.port}/ws"

    def _read(self) -> None:
        assert self.popen.stderr is not None
        for line in self.popen.stderr:
            self.lines.append(line.rstrip())
            if "Ctrl-C" in line:
                self._serves.set()

    def spent(self) -> float:
        """Return the processor's seconds until now."""
        times = self.process.cpu_times()
        return times.user + times.system

    def resident(self) -> float:
        """Return the memory in MiB."""
        return self.process.memory_info().rss / 2**20


@contextmanager
def far_end(*words: str) -> Generator[FarEnd]:
    """Run ours while the block lasts."""
    end = FarEnd(*words)
    try:
        yield end
    finally:
        end.popen.terminate()
        end.popen.wait(30)


def listener_end() -> list[str]:
    """Return the words that serve the listener."""
    return [LISTENER, "--recipe", str(HERE / "far_ends.toml")]


@asynccontextmanager
async def other_end(name: str) -> AsyncGenerator[int]:
    """Run one of `far_ends.py`; gives its port."""
    program = str(HERE / "far_ends.py")
    process = await asyncio.create_subprocess_exec(sys.executable, program, name, stdout=PIPE)
    try:
        assert process.stdout is not None
        yield int(await process.stdout.readline())
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def open_local() -> AsyncGenerator[Asker]:
    """Both in this process."""
    asker = Asker(ASKER)
    async with running([asker, Listener(LISTENER)], LocalBus()):
        yield asker


@asynccontextmanager
async def open_ours(url: str) -> AsyncGenerator[Asker]:
    """The listener behind a link, by the parts of which a call is made."""
    offer = Offer("benchmark", LISTENER, ASKER, CALLERS_END, 1, "", speech=False)
    joined = asyncio.Event()
    bus = HubBus(offer.call, main=ASKER, on_notice=lambda *_: joined.set(), on_end=lambda _: None)
    door = CallersDoor(LISTENER, bus, main=ASKER, transfers=(), asks=())
    asker = Asker(ASKER)
    async with open_link(Way(LISTENER, url, TOKEN, LinkOptions())) as link:
        await link.greet(offer)
        async with running_post(link.post()) as post:
            with post.taking(offer.call, [LISTENER], bus.take), post.keeping(WORKERS_END):
                async with running([asker], bus):
                    await asyncio.wait_for(joined.wait(), STARTED_WITHIN)
                    bus.take_in(LISTENER, Seat(WORKERS_END, offer.epoch(1), post, door))
                    await bus.send(BusActivateWorkerMessage(source=ASKER, target=LISTENER))
                    yield asker


@asynccontextmanager
async def open_stock(port: int) -> AsyncGenerator[Asker]:
    """The listener behind Pipecat's own pair of proxy workers."""
    asker, bus = Asker(ASKER), AsyncQueueBus()
    proxy = WebSocketProxyClient(
        "proxy",
        url=f"ws://127.0.0.1:{port}/ws",
        remote_worker_name=LISTENER,
        local_worker_name=ASKER,
        forward_messages=(BusFrameMessage,),
        active=True,
    )
    async with running([asker, proxy], bus):
        yield asker


async def timed(asked: Callable[[], Awaitable[object]], times: int) -> list[float]:
    """Return how many ms each of so many took, one after another."""
    took: list[float] = []
    for _ in range(times):
        began = time.perf_counter()
        await asked()
        took.append(1000 * (time.perf_counter() - began))
    return took


async def heard(asker: Asker, frames: int) -> float:
    """Return how many frames a second came."""
    jobs, before = max(1, frames // BURST // 2), asker.heard

    async def listen() -> None:
        for _ in range(jobs):
            await asker.ask({"frames": BURST})

    began = time.perf_counter()
    await asyncio.gather(listen(), listen())
    took = time.perf_counter() - began
    await asyncio.sleep(0.1)  # what was said last is being counted
    if (got := asker.heard - before) != 2 * jobs * BURST:
        raise RuntimeError(f"of {2 * jobs * BURST} frames came {got}")
    return got / took


def encoded() -> bytes:
    """Return as many bytes as a job is asked by."""
    job = BusJobRequestMessage(source=ASKER, target=LISTENER, job_id="0" * 36, payload=PAYLOAD)
    return Codec().encode(job) or b""


Told = list[tuple[str, float, float]]
"""What was measured, its figure, and its limit: at most, or at least if that is negative."""


async def measure_link(options: argparse.Namespace) -> Told:
    """Measure jobs and sound each way, in turns."""
    jobs: dict[str, list[float]] = {}
    sound: dict[str, list[float]] = {}
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        end = stack.enter_context(far_end(*listener_end()))
        echo = await enter(connect(f"ws://127.0.0.1:{await enter(other_end('echo'))}"))
        ways = {
            "local": await enter(open_local()),
            "ours": await enter(open_ours(end.url)),
            "stock": await enter(open_stock(await enter(other_end("stock")))),
        }
        size = encoded()

        async def bare() -> None:
            await echo.send(size)
            await echo.recv()

        for number in range(options.rounds + 1):
            for name, asker in ways.items():
                took = await timed(asker.ask, options.jobs)
                frames = await heard(asker, options.frames) if name != "local" else 0.0
                if number:  # the first round warms up
                    jobs.setdefault(name, []).append(statistics.median(took))
                    sound.setdefault(name, []).append(frames)
            took = await timed(bare, options.jobs)
            if number:
                jobs.setdefault("bare", []).append(statistics.median(took))
    print(f"\n{'link':10}{'ms a job':>10}{'frames/s':>11}")
    for name, rounds in jobs.items():
        frames = statistics.median(sound.get(name, [0.0]))
        print(f"{name:10}{statistics.median(rounds):>10.3f}{frames:>11,.0f}")
    beside = zip(jobs["ours"], jobs["bare"], jobs["local"], strict=True)
    against = zip(sound["ours"], sound["stock"], strict=True)
    return [
        (
            "ms a job: ours / (bare + local)",
            statistics.median(o / (b + h) for o, b, h in beside),
            1.5,
        ),
        ("frames: ours / stock", statistics.median(o / s for o, s in against), -3.0),
    ]


async def measure_calls(options: argparse.Namespace) -> Told:
    """Measure more and more calls in one far end."""
    print(
        f"\n{'calls':>6}{'MiB':>8}{'a call':>8}{'turn, ms':>10}{'p95':>8}{'at rest: far, near':>22}"
    )
    levels: list[tuple[int, float, float]] = []
    with far_end("assistant", "--max-calls", str(options.calls)) as end:
        sets = (f'workers.assistant.at="{end.url}"', f'workers.assistant.token="{TOKEN}"')
        recipe = load_recipe("assistant", sets=sets)
        plan = plan_call(recipe, ServiceOptions(profile=Profile.OFFLINE), speech=False).linking()
        tap, links = Tap(), Links(LinkOptions())
        async with AsyncExitStack() as stack:
            callers: list[Caller] = []
            for count in sorted({1, max(1, options.calls // 10), options.calls}):
                while len(callers) < count:
                    transport = ConsoleTransport()
                    caller = Caller(transport)
                    await stack.enter_async_context(
                        open_call(
                            plan,
                            transport,
                            tap=tap,
                            idle_timeout=3600,
                            has_client=False,
                            distribution=links,
                        )
                    )
                    await caller.answered()
                    callers.append(caller)
                gc.collect()
                away, here = end.spent(), time.process_time()
                await asyncio.sleep(REST)
                away, here = end.spent() - away, time.process_time() - here
                took: list[float] = []
                for number in range(40):
                    caller = callers[number * len(callers) // 40 % len(callers)]
                    took.append(1000 * (await caller.say(QUESTION)).first)
                    await asyncio.sleep(0.05)
                memory, turn = end.resident(), statistics.median(took)
                first = levels[0] if levels else (0, memory, turn)
                each = (memory - first[1]) / max(1, count - first[0])
                levels.append((count, memory, turn))
                p95 = statistics.quantiles(took, n=20)[-1]
                rest = f"{100 * away / REST:.1f} %, {100 * here / REST:.1f} %"
                print(
                    f"{count:>6}{memory:>8.1f}{each:>8.2f}{turn:>10.1f}{p95:>8.1f}{rest:>22}",
                    flush=True,
                )
    return []


async def measure_flood(options: argparse.Namespace) -> Told:
    """Measure jobs over an open link while others knock, in turns with quiet."""
    quiet: list[float] = []
    flooded: list[float] = []
    rises: list[float] = []
    rates: list[float] = []
    with far_end(*listener_end()) as end:
        async with open_ours(end.url) as asker:

            async def paced(until: Callable[[], bool]) -> list[float]:
                took: list[float] = []
                while not until():
                    took += await timed(asker.ask, 1)
                    await asyncio.sleep(0.005)
                return took

            await timed(asker.ask, 500)
            lines = len(end.lines)
            for _ in range(options.rounds):
                over = time.perf_counter() + options.seconds
                still = await paced(lambda over=over: time.perf_counter() > over)
                words = [str(HERE / "knocking.py"), str(end.port), str(options.seconds)]
                knocking = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=PIPE)
                ended = asyncio.create_task(knocking.communicate())
                await asyncio.sleep(0.3)  # until it knocks
                under = await paced(ended.done)
                rates.append(float((await ended)[0]))
                rises.append(statistics.median(under) / statistics.median(still))
                quiet += still
                flooded += under
            said = end.lines[lines:]
    p99, before = (statistics.quantiles(trips, n=100)[-1] for trips in (flooded, quiet))
    print(f"\n{'flood':10}{'ms p50':>9}{'ms p99':>9}")
    print(f"{'quiet':10}{statistics.median(quiet):>9.3f}{before:>9.3f}")
    print(f"{'flooded':10}{statistics.median(flooded):>9.3f}{p99:>9.3f}")
    print(f"{statistics.median(rates):,.0f} turned away a second; logged: {len(said)} lines")
    return [
        ("p50: flooded / quiet", statistics.median(rises), 1.1),
        ("ms p99, flooded", p99, 3.0),
        ("log lines a second", len(said) / (options.seconds * options.rounds), 1.0),
    ]


PARTS = {"link": measure_link, "calls": measure_calls, "flood": measure_flood}


def main() -> None:
    """Measure, print, and check if asked to."""
    logger.remove()
    logger.add(sys.stderr, level="ERROR")
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--check", action="store_true", help="exit 1 beyond a limit")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=200, help="a round")
    parser.add_argument("--frames", type=int, default=5_000, help="a round")
    parser.add_argument("--calls", type=int, default=200, help="at once, at last")
    parser.add_argument("--seconds", type=float, default=5.0, help="of knocking, a round")
    options = parser.parse_args()
    within = True
    for part in options.parts or PARTS:
        for what, figure, limit in asyncio.run(PARTS[part](options)):
            good = figure >= -limit if limit < 0 else figure <= limit
            within = within and good
            print(f"{what}: {figure:.2f} (at {'least' if limit < 0 else 'most'} {abs(limit):g})")
    if options.check and not within:
        sys.exit(1)


if __name__ == "__main__":
    main()
