"""What many calls in words cost one process: time a turn, memory, and what stays behind.

    python benchmarks/calls.py [--check] [--calls 1 10 50] [--seconds 15] [--serial 200]

A process of its own for each arrangement, so that resident memory is its alone: a call of
ours, Pipecat's two-agent handoff as its examples have it (`stock`), and the same without the
turn-taking model that a call in words doesn't need (`lean`). At each number of calls, all of
them take a turn every second, spread over that second, then some turns all at the same
moment. A watch beside the former measures how late the event loop wakes it. Where calls times
CPU a turn nears a second, one core is used up and the spread turns queue. Then the calls end,
and others are held one after another. `--check` exits with 1 if with ours

- the time of a turn, all at the same moment, grows faster than the number of calls,
- a turn takes more of the CPU among many calls than in one,
- a further call takes more than a quarter of what the first one took,
- a turn gets no answer,
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
import time
from dataclasses import asdict

from arrangements import ANSWER_WITHIN, TURNS, Arrangement, Caller, Took, handoff_plan, ours, stock
from figures import Level, Measured, Serial, spans
from footprint import Footprint, resident
from loguru import logger

from pipecat_workers_cli.traffic.tap import Tap

PAUSE = 0.03  # seconds after an answer, in which its last frames leave the pipelines
EVERY = 1.0  # seconds between a call's turns
BURSTS = 10  # turns of all calls at the same moment
LOOK_EVERY = 0.02  # seconds that the watch of the event loop sleeps
QUESTION = TURNS[-1]  # answered by the agent that opened the call
FURTHER = 0.25  # of the first call's memory
LEVEL = 2.0  # MiB that memory may still grow in the second half: allocators round up
NOISE = 1.25  # on a shared machine a time is no more exact than that
NAMES = ("pmw", "stock", "lean")


def arrangement_of(name: str) -> Arrangement:
    """Return the arrangement of that name, a tap of its own with it."""
    plan = handoff_plan()
    return ours(plan, Tap()) if name == "pmw" else stock(plan, lean=name == "lean")


class Lines:
    """Calls held open at the same time, each by a task of its own."""

    def __init__(self, opened: Arrangement, tasks: asyncio.TaskGroup) -> None:
        """Begin with no call; `tasks` will own those that are opened."""
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
            await asyncio.sleep(PAUSE)
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
    at_once: list[Took] = []
    for _ in range(BURSTS):
        at_once += await talk(lines.callers, turns=1, spread=0.0)
        await asyncio.sleep(PAUSE)
    first, whole = [took.first for took in spread], [took.whole for took in at_once]
    return Level(len(lines.callers), memory, spans(first), spans(whole), spans(lags), cpu)


async def hold_one_by_one(opened: Arrangement, *, calls: int) -> Serial:
    """Hold calls one after another, each with a round of turns."""
    curve: list[float] = [resident()]
    opening: list[float] = []
    unanswered = 0
    for number in range(1, calls + 1):
        began = time.perf_counter()
        async with opened() as caller:
            opening.append(time.perf_counter() - began)
            try:
                for turn in TURNS:
                    await caller.say(turn)
            except TimeoutError:  # counted: one lost answer must not end the measuring
                unanswered += 1
        if number % max(1, calls // 10) == 0:
            curve.append(resident())
    return Serial(tuple(curve), statistics.median(opening) * 1000, unanswered)


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
    """Measure one arrangement in this process, in parts that share no tap.

    What a session rightly keeps of its calls would look like something left behind.
    """
    base = resident()
    first = await hold_first(arrangement_of(name)) - base
    before = Footprint.taken()
    levels = await hold_together(arrangement_of(name), calls=calls, seconds=seconds)
    together = Footprint.taken().left_since(before)
    serially = await hold_one_by_one(arrangement_of(name), calls=serial)
    left = (together, Footprint.taken().left_since(before))
    return Measured(first, levels, serially, left)


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
    serial = found.serial
    curve = " ".join(f"{mib:.0f}" for mib in serial.curve)
    lost = f"without an answer {serial.unanswered}"
    print(f"one after another: opened in {serial.opened_in:.0f} ms; MiB {curve}; {lost}")
    print("left behind:", "; ".join(str(left or "nothing") for left in found.left))


def faults(found: Measured) -> list[str]:
    """Name the targets that ours misses."""
    missed: list[str] = []
    one = found.levels[0]
    for level in found.levels[1:]:
        now, most = level.at_once.median, one.at_once.median * level.calls / one.calls * NOISE
        if now > most:
            missed.append(f"{level.calls} calls at once: {now:.0f} ms a turn, over {most:.0f}")
        if level.cpu > one.cpu * NOISE:
            missed.append(f"{level.calls} calls: {level.cpu:.1f} ms CPU a turn, one {one.cpu:.1f}")
    if found.further > found.first * FURTHER:
        missed.append(f"a further call takes {found.further / found.first:.2f} of the first")
    if found.serial.unanswered:
        missed.append(f"{found.serial.unanswered} calls with a turn that got no answer")
    for left in found.left:
        missed += [f"left behind: {count} of {kind}" for kind, count in left.items()]
    curve = found.serial.curve
    if (grown := curve[-1] - curve[len(curve) // 2]) > LEVEL:
        missed.append(f"memory grew {grown:.1f} MiB in the second half")
    return missed


def main() -> None:
    """Measure, print, and check if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--check", action="store_true", help="exit 1 if ours misses a target")
    add("--calls", type=int, nargs="+", default=[1, 10, 50], help="at once")
    add("--seconds", type=float, default=15.0, help="of turns at each number")
    add("--serial", type=int, default=200, help="calls one after another")
    add("--only", choices=NAMES, help="measure here, and print JSON")
    options = parser.parse_args()
    logger.remove()
    logger.add(sys.stderr, level="WARNING")

    if options.only:
        shape = {"calls": options.calls, "seconds": options.seconds, "serial": options.serial}
        found = asyncio.run(measure(options.only, **shape))
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
