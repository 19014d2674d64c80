"""What many calls at once over four worker hosts take: time a turn, memory a call, what is lost.

    python benchmarks/hosts.py [redis] [pgmq] [--check] [--calls 1 10 100 300] [--hosts 4]

The main workers run in this process, greeter and support in `--hosts` processes of `pmw worker
--all`, over a server of their own; all are on this machine. At each number of calls, every call
takes a turn each ten seconds, spread over them, as callers do who also listen; then all of them
take one at the same moment, from which CPU and letters a turn are. Times are worth what else
the machine did not do; CPU a turn is worth more: calls times CPU a turn, of the main process or
of all, in ten seconds is what there has to be of one processor, or of all. `--check` exits with
1 if a turn got no answer, a letter was lost, or a turn takes more of the CPU among many calls
than among few.
"""

import argparse
import asyncio
import gc
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

import psutil
from arrangements import TURNS, Arrangement, Caller, Took, handoff_plan
from figures import Spans, spans
from footprint import resident
from loguru import logger
from network import ENGINES

from pipecat_workers_cli.buses.urls import SharedBus
from pipecat_workers_cli.call.distribution import open_distribution
from pipecat_workers_cli.call.hosts import Hosts
from pipecat_workers_cli.call.run import open_call
from pipecat_workers_cli.traffic.tap import Tap
from pipecat_workers_cli.transports.console import ConsoleTransport

EVERY = 10.0  # seconds between a call's turns
QUESTION = TURNS[-1]  # answered by the agent that opened the call
OPENING_AT_ONCE = 8
MEBI = 1 << 20
NOISE = 1.25  # on a shared machine a figure is no more exact than that
CHANNEL = "benchmark"


@contextmanager
def hosting(url: str, *, hosts: int, max_calls: int) -> Generator[list[psutil.Process]]:
    """Run worker hosts while the block lasts."""
    words = ("worker", "--all", "--services", "offline", "--max-calls", str(max_calls))
    where = ("--bus", url, "--channel", CHANNEL)
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "pipecat_workers_cli", *words, *where],
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(hosts)
    ]
    try:
        for host in started:
            if not any("Ctrl-C" in line for line in host.stderr or ()):
                raise RuntimeError("a host did not start")
        yield [psutil.Process(host.pid) for host in started]
    finally:
        for host in started:
            host.kill()
            host.wait()


def elsewhere(distribution: Hosts) -> Arrangement:
    """Arrange calls whose agents are with hosts."""
    plan = handoff_plan().main_alone(at="a benchmark")
    tap = Tap()

    @asynccontextmanager
    async def opened() -> AsyncGenerator[Caller]:
        transport = ConsoleTransport()
        caller = Caller(transport)
        call = open_call(
            plan, transport, tap=tap, idle_timeout=600, has_client=False, distribution=distribution
        )
        async with call:
            await caller.answered()
            yield caller

    return opened


@dataclass(frozen=True, slots=True)
class Level:
    """What so many calls at once take.

    Attributes:
        calls: How many are open.
        opening: ms until a call's greeting has been said, median.
        spread: Until a turn's first text, the turns spread over `EVERY`.
        at_once: Until a turn's last text, all sent at the same moment.
        cpu_main: ms a turn of the main workers' process.
        cpu_hosts: The same of all hosts.
        letters: That cross the bus in a turn, both ways.
        main: MiB resident in the main workers' process.
        hosts: The same in all hosts.
        unanswered: Turns without an answer, and calls without a greeting.
        lost: Letters that did not get where they should.
    """

    calls: int
    opening: float
    spread: Spans | None
    at_once: Spans | None
    cpu_main: float
    cpu_hosts: float
    letters: float
    main: float
    hosts: float
    unanswered: int
    lost: int


class Measuring:
    """Calls held open at the same time over hosts, more and more of them."""

    def __init__(self, distribution: Hosts, hosts: Sequence[psutil.Process]) -> None:
        self._opened = elsewhere(distribution)
        self._post = distribution.post
        self._hosts = hosts
        self._callers: list[Caller] = []
        self._opening: list[float] = []
        self._unanswered = 0

    async def level(self, calls: int, stack: AsyncExitStack) -> Level:
        """Open calls up to a number and time their turns."""
        self._opening.clear()
        self._unanswered = 0
        to_open = calls - len(self._callers)
        while to_open > 0:
            count = min(OPENING_AT_ONCE, to_open)
            opened = await asyncio.gather(*(self._open(stack) for _ in range(count)))
            self._callers += filter(None, opened)
            to_open -= count
        gc.collect()
        main, hosts = resident(), sum(host.memory_info().rss for host in self._hosts) / MEBI
        spread = await self._talk(EVERY)
        before = self._used()
        at_once = await self._talk(0.0)
        used = [(now - then) / calls for now, then in zip(self._used(), before, strict=True)]
        return Level(
            calls,
            1000 * statistics.median(self._opening) if self._opening else 0.0,
            _spans([took.first for took in spread]),
            _spans([took.whole for took in at_once]),
            1000 * used[0],
            1000 * used[1],
            used[2],
            main,
            hosts,
            self._unanswered,
            self._post.counts.lost + self._post.counts.shed,
        )

    async def _open(self, stack: AsyncExitStack) -> Caller | None:
        began = time.perf_counter()
        # A call ends in the task that began it.
        entered: asyncio.Future[Caller] = asyncio.get_running_loop().create_future()
        leave = asyncio.Event()

        async def hold() -> None:
            with suppress(TimeoutError):  # no greeting, or no end: counted, or too late to count
                async with self._opened() as caller:
                    entered.set_result(caller)
                    await leave.wait()

        task = asyncio.create_task(hold())

        async def end() -> None:
            leave.set()
            await asyncio.wait({task}, timeout=10)

        stack.push_async_callback(end)
        await asyncio.wait({task, entered}, return_when=asyncio.FIRST_COMPLETED)
        if not entered.done():
            self._unanswered += 1
            return None
        self._opening.append(time.perf_counter() - began)
        return await entered

    async def _talk(self, spread: float) -> list[Took]:
        took: list[Took] = []
        began = time.perf_counter()

        async def one(place: int, caller: Caller) -> None:
            due = began + place * spread / len(self._callers)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            try:
                took.append(await caller.say(QUESTION))
            except (TimeoutError, RuntimeError):
                self._unanswered += 1

        await asyncio.gather(*(one(place, caller) for place, caller in enumerate(self._callers)))
        return took

    def _used(self) -> tuple[float, float, float]:
        """Return the seconds of CPU here and in the hosts, and the letters, until now."""
        here, *there = (sum(p.cpu_times()[:2]) for p in (psutil.Process(), *self._hosts))
        counts = self._post.counts
        return here, sum(there), counts.sent + counts.taken


def _spans(seconds: list[float]) -> Spans | None:
    if not seconds:
        return None
    return spans(seconds if len(seconds) > 1 else seconds * 2)


async def measure(url: str, options: argparse.Namespace) -> list[Level]:
    """Measure each number of calls over running hosts."""
    most = max(options.calls)
    levels: list[Level] = []
    with hosting(url, hosts=options.hosts, max_calls=most) as hosts:
        bus = SharedBus(url, CHANNEL)
        async with open_distribution(bus, Tap()) as distribution, AsyncExitStack() as stack:
            assert isinstance(distribution, Hosts)  # for its URL is an engine's
            measuring = Measuring(distribution, hosts)
            for calls in sorted(options.calls):
                levels.append(await measuring.level(calls, stack))
                print_level(levels[-1], levels[0])
    return levels


def print_level(level: Level, one: Level) -> None:
    """Print a row; memory a call is what each beyond the first level's has taken."""
    further = level.calls - one.calls
    a_call = "-"
    if further:
        main, hosts = (level.main - one.main) / further, (level.hosts - one.hosts) / further
        a_call = f"{main:.2f} + {hosts:.2f}"
    cpu = f"{level.cpu_main:.0f} + {level.cpu_hosts:.0f}"
    lost = f"{level.unanswered} / {level.lost}"
    print(
        f"{level.calls:>6}{level.opening:>9.0f}{level.spread or '-'!s:>18}"
        f"{level.at_once or '-'!s:>18}{cpu:>13}{level.letters:>9.0f}{a_call:>13}{lost:>8}",
        flush=True,
    )


def cpu_of(level: Level) -> float:
    """Return the ms of CPU that a turn takes in all processes."""
    return level.cpu_main + level.cpu_hosts


def run(engine: str, options: argparse.Namespace) -> bool:
    """Measure one engine and print it; tell whether nothing was lost and all stayed linear."""
    print(
        f"\n{engine}: {options.hosts} hosts, load {os.getloadavg()[0]:.1f} on {os.cpu_count()}"
        " processors; ms, median and p95; CPU and MiB in main + hosts"
    )
    heads = ("opened", "first text", "last, at once", "CPU a turn", "letters", "MiB a call", "lost")
    widths = (9, 18, 18, 13, 9, 13, 8)
    cells = (f"{head:>{width}}" for head, width in zip(heads, widths, strict=True))
    print(f"{'calls':>6}{''.join(cells)}", flush=True)
    with ENGINES[engine].start() as url:
        levels = asyncio.run(measure(url, options))
    few, many = levels[min(1, len(levels) - 1)], levels[-1]
    lost = any(level.unanswered or level.lost for level in levels)
    return not lost and cpu_of(many) <= NOISE * cpu_of(few)


def main() -> None:
    """Measure, print, and check if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("engines", nargs="*", choices=[*ENGINES, []], default=[])
    parser.add_argument("--check", action="store_true", help="exit 1 if something is lost")
    parser.add_argument("--calls", type=int, nargs="+", default=[1, 10, 100, 300], help="at once")
    parser.add_argument("--hosts", type=int, default=4)
    options = parser.parse_args()
    logger.remove()
    logger.add(sys.stderr, level="WARNING")
    within = [run(engine, options) for engine in options.engines or ENGINES]
    if options.check and not all(within):
        sys.exit(1)


if __name__ == "__main__":
    main()
