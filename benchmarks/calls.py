"""What many calls in words cost one process: time a turn, memory, and what stays behind.

    python benchmarks/calls.py [--check] [--calls 1 10 50] [--seconds 15] [--serial 200]

A process of its own for each arrangement, so that resident memory is its alone: a call of
ours, Pipecat's two-agent handoff as its examples have it (`stock`), and the same without the
turn-taking model that a call in words doesn't need (`lean`). At each number of calls, all of
them take a turn every second, first spread over that second, then all at the same moment. A
watch beside them measures how late the event loop wakes it. Then they end, and that many
other calls are held one after another. `--check` exits with 1 if with ours

- the time of a turn grows faster than the number of calls,
- a further call takes more than a quarter of what the first one took,
- a task, a thread or an object of a class of ours is left at the end, or
- resident memory still grows in the second half of the calls held one after another.
"""

import argparse
import asyncio
import gc
import json
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass

import psutil
from arrangements import ANSWER_WITHIN, TURNS, Arrangement, Caller, Took, handoff_plan, ours, stock
from loguru import logger

from pipecat_workers_cli.traffic.tap import Tap

EVERY = 1.0  # seconds between a call's turns
BURSTS = 5  # turns of all calls at the same moment
LOOK_EVERY = 0.02  # seconds that the watch of the event loop sleeps
QUESTION = TURNS[-1]  # answered by the agent that opened the call
FURTHER = 0.25  # of the first call's memory
LEVEL = 2.0  # MiB that memory may still grow in the second half: allocators round up
NOISE = 1.25  # on a shared machine a time is no more exact than that
NAMES = ("pmw", "stock", "lean")


def arrangement_of(name: str) -> Arrangement:
    """Return the arrangement of that name."""
    plan = handoff_plan()
    return ours(plan, Tap()) if name == "pmw" else stock(plan, lean=name == "lean")


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a process holds: whatever a call brought must be gone after it.

    Attributes:
        tasks: Unfinished tasks of the event loop.
        threads: Living threads.
        own: Objects of our classes that the garbage collector knows, by class.
        workers: Objects of Pipecat's worker, pipeline and bus classes likewise.
    """

    tasks: int
    threads: int
    own: dict[str, int]
    workers: dict[str, int]

    @classmethod
    def taken(cls) -> "Footprint":
        """Collect garbage and count what is left."""
        gc.collect()
        own: Counter[str] = Counter()
        workers: Counter[str] = Counter()
        for held in gc.get_objects():
            kind = type(held)
            module = kind.__module__
            if not isinstance(module, str):
                continue
            if module.startswith("pipecat_workers_cli"):
                own[f"{module}.{kind.__name__}"] += 1
            elif module.startswith(("pipecat.pipeline", "pipecat.workers", "pipecat.bus")):
                workers[f"{module}.{kind.__name__}"] += 1
        return cls(len(asyncio.all_tasks()), threading.active_count(), dict(own), dict(workers))

    def left_since(self, before: "Footprint") -> dict[str, int]:
        """Return what there is now and wasn't before."""
        grown = {"tasks": self.tasks - before.tasks, "threads": self.threads - before.threads}
        for now, then in ((self.own, before.own), (self.workers, before.workers)):
            grown |= {kind: count - then.get(kind, 0) for kind, count in now.items()}
        return {kind: count for kind, count in grown.items() if count > 0}


def resident() -> float:
    """Return the process's resident memory in MiB."""
    return psutil.Process().memory_info().rss / 2**20


class Lines:
    """Calls held open at the same time, each by a task of its own."""

    def __init__(self, opened: Arrangement, tasks: asyncio.TaskGroup) -> None:
        self._opened = opened
        self._tasks = tasks
        self._leave = asyncio.Event()
        self._held: list[asyncio.Task[None]] = []
        self.callers: list[Caller] = []

    async def open_one(self) -> None:
        """Open one more call and take a round of turns in it, handoffs among them."""
        entered: asyncio.Queue[Caller] = asyncio.Queue(1)
        self._held.append(self._tasks.create_task(self._hold(entered)))
        caller = await asyncio.wait_for(entered.get(), ANSWER_WITHIN)
        self.callers.append(caller)
        for turn in TURNS:
            await caller.say(turn)

    async def close(self) -> None:
        """End all calls and wait until they are down."""
        self._leave.set()
        await asyncio.wait_for(asyncio.gather(*self._held), ANSWER_WITHIN)
        self._held.clear()
        self.callers.clear()

    async def _hold(self, entered: asyncio.Queue[Caller]) -> None:
        async with self._opened() as caller:
            entered.put_nowait(caller)
            await self._leave.wait()


async def watch_loop(lags: list[float]) -> None:
    """Note by how many seconds the event loop wakes this late, until cancelled."""
    while True:
        due = time.perf_counter() + LOOK_EVERY
        await asyncio.sleep(LOOK_EVERY)
        lags.append(max(0.0, time.perf_counter() - due))


async def talk(callers: list[Caller], *, turns: int, spread: float) -> list[Took]:
    """Have each call take `turns` turns, one a second, the calls spread over `spread` seconds."""
    took: list[Took] = []
    began = time.perf_counter()

    async def one(place: int, caller: Caller) -> None:
        for number in range(turns):
            due = began + number * EVERY + place * spread / len(callers)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            took.append(await caller.say(QUESTION))

    async with asyncio.TaskGroup() as tasks:
        for place, caller in enumerate(callers):
            tasks.create_task(one(place, caller))
    return took


def spans(seconds: list[float]) -> "Spans":
    """Return median, 95th percentile and maximum in ms."""
    p95 = statistics.quantiles(seconds, n=20)[-1]
    return Spans(statistics.median(seconds) * 1000, p95 * 1000, max(seconds) * 1000)


@dataclass(frozen=True, slots=True)
class Spans:
    """How long something took, in ms."""

    median: float
    p95: float
    worst: float

    def __str__(self) -> str:
        return f"{self.median:7.1f} {self.p95:7.1f}"


@dataclass(frozen=True, slots=True)
class Level:
    """What so many calls at once cost.

    Attributes:
        calls: How many are open.
        memory: MiB resident, before the turns were timed.
        spread: Until a turn's first text, the calls' turns spread over a second.
        at_once: Until a turn's last text, all calls' turns sent at the same moment. The
            first texts come late too then, since all calls get on by small steps.
        lag: By which the event loop woke late, with the turns spread.
        cpu: Of the process for each turn, all of the turn, in ms.
    """

    calls: int
    memory: float
    spread: Spans
    at_once: Spans
    lag: Spans
    cpu: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What an arrangement costs.

    Attributes:
        first: MiB that the first call took.
        levels: From few calls to many.
        together: What was left once the calls held together had ended.
        serial: What was left once the calls held one after another had ended.
        curve: MiB resident, at even steps of the calls held one after another.
        opened_in: Seconds to open one of those and be welcomed, median.
    """

    first: float
    levels: tuple[Level, ...]
    together: dict[str, int]
    serial: dict[str, int]
    curve: tuple[float, ...]
    opened_in: float

    @property
    def further(self) -> float:
        """MiB for each call beyond the first."""
        one, most = self.levels[0], self.levels[-1]
        return (most.memory - one.memory) / max(1, most.calls - one.calls)

    @classmethod
    def parse(cls, text: str) -> "Measured":
        """Read what `print_measured` wrote."""
        told = json.loads(text)
        times = ("spread", "at_once", "lag")
        told["levels"] = tuple(
            Level(**level | {name: Spans(**level[name]) for name in times})
            for level in told["levels"]
        )
        return cls(**told | {"curve": tuple(told["curve"])})


async def measure_level(lines: Lines, *, seconds: float) -> Level:
    """Time the turns of the open calls, spread and at once."""
    gc.collect()
    memory = resident()
    lags: list[float] = []
    cpu = time.process_time()
    watch = asyncio.create_task(watch_loop(lags))
    try:
        spread = await talk(lines.callers, turns=round(seconds / EVERY), spread=EVERY)
    finally:
        watch.cancel()
    cpu = (time.process_time() - cpu) / len(spread) * 1000
    at_once = await talk(lines.callers, turns=BURSTS, spread=0.0)
    first, whole = [took.first for took in spread], [took.whole for took in at_once]
    return Level(len(lines.callers), memory, spans(first), spans(whole), spans(lags), cpu)


async def hold_one_by_one(opened: Arrangement, *, calls: int) -> tuple[list[float], list[float]]:
    """Hold calls one after another; return resident memory along the way, and opening times."""
    curve, opening = [resident()], []
    for number in range(1, calls + 1):
        began = time.perf_counter()
        async with opened() as caller:
            opening.append(time.perf_counter() - began)
            for turn in TURNS:
                await caller.say(turn)
        if number % max(1, calls // 10) == 0:
            curve.append(resident())
    return curve, opening


async def hold_together(
    opened: Arrangement, *, calls: list[int], seconds: float
) -> tuple[Level, ...]:
    """Hold more and more calls at the same time and measure at each number of them."""
    levels: list[Level] = []
    async with asyncio.TaskGroup() as tasks:
        lines = Lines(opened, tasks)
        for count in calls:
            while len(lines.callers) < count:
                await lines.open_one()
            levels.append(await measure_level(lines, seconds=seconds))
        await lines.close()
    return tuple(levels)


async def hold_first(opened: Arrangement) -> float:
    """Hold the process's first call; return the MiB resident while it was open."""
    async with opened() as caller:
        for turn in TURNS:
            await caller.say(turn)
        gc.collect()
        return resident()


async def measure(name: str, *, calls: list[int], seconds: float, serial: int) -> Measured:
    """Measure one arrangement in this process.

    Each part gets a tap of its own, so that what a session rightly keeps of its calls isn't
    taken for something that they left behind.
    """
    base = resident()
    first = await hold_first(arrangement_of(name)) - base
    before = Footprint.taken()
    levels = await hold_together(arrangement_of(name), calls=calls, seconds=seconds)
    together = Footprint.taken().left_since(before)
    curve, opening = await hold_one_by_one(arrangement_of(name), calls=serial)
    left = Footprint.taken().left_since(before)
    opened_in = statistics.median(opening)
    return Measured(first, levels, together, left, tuple(curve), opened_in)


def run_measure(name: str, options: argparse.Namespace) -> Measured:
    """Measure one arrangement in a process of its own."""
    calls = [str(count) for count in options.calls]
    command = [sys.executable, __file__, "--only", name, "--calls", *calls]
    command += ["--seconds", str(options.seconds), "--serial", str(options.serial)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Measured.parse(done.stdout)


def print_table(name: str, found: Measured) -> None:
    """Print what an arrangement costs."""
    print(f"\n{name}: ms, median and p95, of a turn and by which the event loop is late")
    heads = ("first text, spread", "last text, at once", "loop late", "CPU a turn", "MiB")
    print(f"{'calls':>6}{heads[0]:>20}{heads[1]:>20}{heads[2]:>17}{heads[3]:>12}{heads[4]:>8}")
    for level in found.levels:
        times = f"{level.spread!s:>20}{level.at_once!s:>20}{level.lag!s:>17}"
        print(f"{level.calls:>6}{times}{level.cpu:>12.1f}{level.memory:>8.1f}")
    print(f"first call {found.first:.1f} MiB, each further one {found.further:.2f} MiB")
    curve = " ".join(f"{mib:.1f}" for mib in found.curve)
    print(f"one after another, opened in {found.opened_in * 1000:.0f} ms, MiB: {curve}")
    print(f"left: {found.together or 'nothing'}; one after another: {found.serial or 'nothing'}")


def faults(found: Measured) -> list[str]:
    """Name the targets that ours misses."""
    missed: list[str] = []
    one = found.levels[0]
    for level in found.levels[1:]:
        more = level.calls / one.calls
        for kind in ("spread", "at_once"):
            now, then = getattr(level, kind).median, getattr(one, kind).median
            if now > then * more * NOISE:
                missed.append(f"{level.calls} calls, {kind}: {now:.0f} ms a turn, {then:.1f} at 1")
    if found.further > found.first * FURTHER:
        missed.append(f"a further call takes {found.further / found.first:.2f} of the first")
    for left in (found.together, found.serial):
        missed += [f"left behind: {count} of {kind}" for kind, count in left.items()]
    if (grown := found.curve[-1] - found.curve[len(found.curve) // 2]) > LEVEL:
        missed.append(f"memory grew {grown:.1f} MiB in the second half")
    return missed


def main() -> None:
    """Measure, print, and check if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit 1 if ours misses a target")
    parser.add_argument("--calls", type=int, nargs="+", default=[1, 10, 50], help="at once")
    parser.add_argument("--seconds", type=float, default=15.0, help="of turns at each number")
    parser.add_argument("--serial", type=int, default=200, help="calls one after another")
    parser.add_argument("--only", choices=NAMES, help="measure here, and print JSON")
    options = parser.parse_args()
    logger.remove()
    logger.add(sys.stderr, level="WARNING")

    if options.only:
        found = asyncio.run(
            measure(
                options.only, calls=options.calls, seconds=options.seconds, serial=options.serial
            )
        )
        print(json.dumps(asdict(found)))
        return
    missed: list[str] = []
    for name in NAMES:
        found = run_measure(name, options)
        print_table(name, found)
        if name == "pmw":
            missed = faults(found)
    print("\npmw misses:", "; ".join(missed) or "no target")
    if options.check and missed:
        sys.exit(1)


if __name__ == "__main__":
    main()
