"""What 10,000 readings a second cost: the sensor's pipeline beside a bare one of Pipecat's.

    python benchmarks/sensor.py [--check] [--ticks 10000] [--seconds 3] [--rounds 5]

Both pipelines run in turns in this process, each for the same time at the same rate. Ours is
thermometer and statistics, with noise, lag, window and summary; the bare one hands the same
number of the same frames from a processor that does nothing else to one that does nothing
at all. The share of a core is processor time over the time it took. `--check` exits with 1
if ours takes a core or more, loses over one reading in a hundred, or costs over 1.3 times
what the bare one does.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from loguru import logger
from pipecat.frames.frames import CancelFrame, EndFrame, Frame, StartFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from pipecat_workers_cli.buses.local import LocalBus
from pipecat_workers_cli.call.run import running
from pipecat_workers_cli.workers.readings import Statistics
from pipecat_workers_cli.workers.thermometer import ReadingFrame, Thermometer

CORE = 1.0
LOST = 0.01  # of the readings
CEILING = 1.3  # times the bare pipeline


class Source(FrameProcessor):
    """Pushes frames at a rate, as many as are due each time it wakes."""

    def __init__(self, period: float) -> None:
        super().__init__()
        self._period = period
        self._pushing: asyncio.Task[None] | None = None

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Hand frames on, and begin and end with the pipeline."""
        await super().process_frame(frame, direction)
        if isinstance(frame, EndFrame | CancelFrame) and self._pushing:
            await self.cancel_task(self._pushing)
        await self.push_frame(frame, direction)
        if isinstance(frame, StartFrame):
            self._pushing = self.create_task(self._push())

    async def _push(self) -> None:
        clock = self.get_event_loop().time
        began, pushed = clock(), 0
        while True:
            await asyncio.sleep(self._period)
            while pushed * self._period < clock() - began:
                await self.push_frame(ReadingFrame(22.0, 0.0))
                pushed += 1


class Sink(FrameProcessor):
    """Takes frames and does nothing with them."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Count readings; hand on what runs the pipeline."""
        if isinstance(frame, ReadingFrame):
            self.count += 1
            return
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)


def ours(period: float) -> tuple[list[FrameProcessor], Callable[[], int]]:
    """Make our pipeline's processors, and what tells how many readings it took."""
    taken = Statistics(sample_period=period, noise=0.1)
    thermometer = Thermometer(sample_period=period, seed=1)

    def count() -> int:
        summary = taken.summarise(target=22.0)
        return summary.readings if summary else 0

    return [thermometer, taken], count


def bare(period: float) -> tuple[list[FrameProcessor], Callable[[], int]]:
    """Make the bare pipeline's."""
    sink = Sink()
    return [Source(period), sink], lambda: sink.count


@dataclass(frozen=True)
class Run:
    """What one run took; `core` is its share of a core, `reading` seconds of it a reading."""

    core: float
    reading: float
    a_second: float


async def measure(
    make: Callable[[float], tuple[list[FrameProcessor], Callable[[], int]]],
    *,
    ticks: float,
    seconds: float,
) -> Run:
    """Run a pipeline for a while, and count."""
    processors, count = make(1 / ticks)
    worker = PipelineWorker(
        Pipeline(processors),
        name="worker",
        enable_rtvi=False,
        enable_turn_tracking=False,
        idle_timeout_secs=None,
    )
    async with running([worker], LocalBus()):
        await asyncio.sleep(0.3)  # until it has started
        cpu, wall, before = time.process_time(), time.perf_counter(), count()
        await asyncio.sleep(seconds)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        came = count() - before
    return Run(cpu / wall, cpu / max(1, came), came / wall)


def main() -> None:
    """Measure, print, and check if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit 1 past the limits")
    parser.add_argument("--ticks", type=float, default=10_000, help="readings a second")
    parser.add_argument("--seconds", type=float, default=3, help="a run; under a minute")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    logger.remove()
    logger.add(sys.stderr, level="ERROR")

    runs: dict[str, list[Run]] = {"bare Pipecat pipeline": [], "thermometer, statistics": []}
    for _ in range(options.rounds):
        for name, make in zip(runs, (bare, ours), strict=True):
            run = measure(make, ticks=options.ticks, seconds=options.seconds)
            runs[name].append(asyncio.run(run))
    print(f"{options.ticks:,.0f} readings a second asked for; medians of {options.rounds} rounds")
    print(f"{'':26}{'readings/s':>12}{'of a core':>12}{'µs each':>10}")
    for name, done in runs.items():
        core, each, came = (
            statistics.median(getattr(run, field) for run in done)
            for field in ("core", "reading", "a_second")
        )
        print(f"{name:26}{came:>12,.0f}{core:>12.3f}{each * 1e6:>10.1f}")
    reference, measured = runs.values()
    ratio = statistics.median(
        one.reading / other.reading for one, other in zip(measured, reference, strict=True)
    )
    core = statistics.median(run.core for run in measured)
    lost = 1 - statistics.median(run.a_second for run in measured) / options.ticks
    print(f"a reading costs {ratio:.2f} times what the bare pipeline's does (ceiling {CEILING})")
    if options.check and (core >= CORE or lost > LOST or ratio > CEILING):
        sys.exit(1)


if __name__ == "__main__":
    main()
