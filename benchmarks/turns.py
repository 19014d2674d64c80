"""How long a turn in words takes: `pmw` beside a bare pipeline and beside stock Pipecat.

    python benchmarks/turns.py [--check] [--calls 10] [--rounds 6]

From the caller's turn sent to the first text of the answer that reaches the output. The
three arrangements stand in `arrangements.py`: a call of ours; one pipeline of the same
processors without a bus (RTVI, user aggregator, LLM, assistant aggregator); a multi-worker
call on Pipecat's own API, in one process. They take each turn one after another, in an order
that rotates, so that whatever else the machine does hits all of them. A call holds four
turns a round, two of them handoffs; a bare pipeline has nobody to hand over to. `--check`
exits with 1 if a median of ours is over its target.
"""

import argparse
import asyncio
import statistics
import sys
from collections import defaultdict
from contextlib import AsyncExitStack
from dataclasses import dataclass

from arrangements import TURNS, Arrangement, bare, handoff_plan, ours, stock
from loguru import logger

from pipecat_workers_cli.traffic.tap import Tap

TARGETS = {"turn": 25.0, "handoff": 60.0}  # ms, the median of ours
PAUSE = 0.03  # seconds after an answer, in which its last frames leave the pipelines


@dataclass(frozen=True, slots=True)
class Column:
    """The times of one kind of turn in one arrangement, in ms."""

    median: float
    p95: float
    count: int


Times = dict[tuple[str, str], list[float]]
"""Seconds, by kind of turn and arrangement."""


async def hold_calls(arrangements: dict[str, Arrangement], times: Times, *, rounds: int) -> None:
    """Hold one call in each arrangement and note how long each turn took."""
    async with AsyncExitStack() as calls:
        callers = {
            name: await calls.enter_async_context(opened()) for name, opened in arrangements.items()
        }
        order = list(callers)
        for turn in TURNS * rounds:
            kind = "handoff" if turn.handoff else "turn"
            for name in order:
                if turn.handoff and name == "bare":
                    continue
                await asyncio.sleep(PAUSE)
                took = await callers[name].say(turn)
                times[kind, name].append(took.first)
            order.append(order.pop(0))


def summed_up(seconds: list[float]) -> Column:
    """Return median and 95th percentile in ms."""
    p95 = statistics.quantiles(seconds, n=20)[-1]
    return Column(statistics.median(seconds) * 1000, p95 * 1000, len(seconds))


def print_table(times: Times) -> bool:
    """Print the figures and say whether ours are within the targets."""
    names = ("pmw", "bare", "stock")
    print("ms from turn sent to first text: median, 95th percentile")
    print(f"{'':10}{'turns':>6}", *(f"{name:>15}" for name in names), end="")
    print(f"{'target':>9}{'pmw/bare':>10}{'pmw/stock':>11}")
    good = True
    for kind, target in TARGETS.items():
        columns = {name: summed_up(times[kind, name]) for name in names if times[kind, name]}
        median = columns["pmw"].median
        print(f"{kind:10}{columns['pmw'].count:>6}", end="")
        for name in names:
            column = columns.get(name)
            cell = f"{column.median:.1f} {column.p95:6.1f}" if column else "-"
            print(f"{cell:>16}", end="")
        print(f"{target:>9.0f}", end="")
        for name, width in (("bare", 10), ("stock", 11)):
            ratio = f"{median / columns[name].median:.2f}" if name in columns else "-"
            print(f"{ratio:>{width}}", end="")
        print()
        good = good and median <= target
    return good


async def measure(*, calls: int, rounds: int) -> Times:
    """Hold `calls` calls in each arrangement; the first of them warms up and isn't counted."""
    plan = handoff_plan()
    arrangements = {"pmw": ours(plan, Tap()), "bare": bare(plan), "stock": stock(plan, lean=True)}
    await hold_calls(arrangements, defaultdict(list), rounds=rounds)
    times: Times = defaultdict(list)
    for _ in range(calls):
        await hold_calls(arrangements, times, rounds=rounds)
    return times


def main() -> None:
    """Measure, print, and check if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit 1 over a target")
    parser.add_argument("--calls", type=int, default=10, help="in each arrangement")
    parser.add_argument("--rounds", type=int, default=6, help="of four turns, in a call")
    options = parser.parse_args()
    logger.remove()
    logger.add(sys.stderr, level="WARNING")

    good = print_table(asyncio.run(measure(calls=options.calls, rounds=options.rounds)))
    if options.check and not good:
        sys.exit(1)


if __name__ == "__main__":
    main()
