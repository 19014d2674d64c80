"""Readings come on time, follow the target by the formula, and end with the pipeline."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest
from pipecat.clocks.system_clock import SystemClock
from pipecat.frames.frames import CancelFrame, EndFrame, Frame, StartFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.frame_processor import (
    FrameDirection,
    FrameProcessor,
    FrameProcessorSetup,
)
from pipecat.utils.asyncio.task_manager import TaskManager

from pipecat_workers_cli.buses.local import LocalBus
from pipecat_workers_cli.call.run import running
from pipecat_workers_cli.workers.thermometer import CATCH_UP, ReadingFrame, Thermometer

PERIOD = 0.002  # seconds


class Collector(FrameProcessor):
    """Keeps what arrives, and when."""

    def __init__(self) -> None:
        super().__init__(enable_direct_mode=True)  # nothing is on its way between the two
        self.readings: list[ReadingFrame] = []
        self.came: list[float] = []
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._changed = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, ReadingFrame):
            self.readings.append(frame)
            self.came.append(asyncio.get_running_loop().time())
            self._changed.set()
        if isinstance(frame, EndFrame | CancelFrame):
            self.ended.set_result(len(self.readings))
        await self.push_frame(frame, direction)

    def celsius(self) -> list[float]:
        return [reading.celsius for reading in self.readings]

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.readings) < count:
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def ticking(**options):
    """Run a thermometer and give it with what it shows and the worker that it is in."""
    thermometer = Thermometer(**{"sample_period": PERIOD, "noise": 0.0, "seed": 1} | options)
    collector = Collector()
    worker = PipelineWorker(
        Pipeline([thermometer, collector]),
        name="worker",
        enable_rtvi=False,
        enable_turn_tracking=False,
        idle_timeout_secs=None,
    )
    async with running([worker], LocalBus()):
        yield thermometer, collector, worker


async def readings(count: int, **options) -> list[float]:
    async with ticking(**options) as (_, collector, _worker):
        await collector.until(count)
    return collector.celsius()[:count]


async def test_still_air_shows_the_start_temperature():
    assert await readings(5, start_temp=18.5) == [18.5] * 5


async def test_the_air_goes_its_share_of_the_way_with_each_sample():
    async with ticking(start_temp=20.0, rate=0.25) as (thermometer, collector, _):
        await collector.until(1)
        thermometer.target = 30.0
        before = len(collector.readings)
        await collector.until(before + 12)
    expected = [30 - 10 * 0.75**n for n in range(1, 13)]
    assert collector.celsius()[before : before + 12] == pytest.approx(expected)


async def test_at_the_fastest_rate_the_target_is_the_next_reading():
    async with ticking(rate=1.0) as (thermometer, collector, _):
        await collector.until(1)
        thermometer.target = 99.0
        before = len(collector.readings)
        await collector.until(before + 1)
    assert collector.celsius()[before] == 99.0


async def test_the_noise_is_gaussian_about_the_air():
    shown = await readings(400, noise=0.5, seed=7, sample_period=0.0005)
    mean = sum(shown) / 400
    deviation = (sum((one - mean) ** 2 for one in shown) / 400) ** 0.5
    assert mean == pytest.approx(22.0, abs=0.1)  # four standard errors
    assert deviation == pytest.approx(0.5, abs=0.07)
    within = sum(abs(one - 22.0) < 0.5 for one in shown) / 400
    assert within == pytest.approx(0.683, abs=0.093)


async def test_one_seed_gives_one_row_of_readings_and_another_another():
    one, again, other = [await readings(20, noise=0.1, seed=seed) for seed in (5, 5, 6)]
    assert one == again
    assert one != other
    assert await readings(20, noise=0.1, seed=None) != await readings(20, noise=0.1, seed=None)


async def test_readings_are_due_at_whole_periods_and_never_early():
    async with ticking(sample_period=0.01) as (_, collector, _worker):
        await collector.until(10)
        time.sleep(0.025)  # noqa: ASYNC251  # the loop is late
        await collector.until(30)
    due = [reading.at for reading in collector.readings]
    periods = [(at - due[0]) / 0.01 for at in due]
    assert periods == pytest.approx(range(len(due)), abs=1e-6)
    # A clock's resolution may let a timer fire a little ahead.
    assert all(came > at - 1e-6 for came, at in zip(collector.came, due, strict=True))


async def test_after_a_short_delay_what_was_missed_is_taken_at_once():
    async with ticking(sample_period=0.01) as (thermometer, collector, _):
        await collector.until(3)
        time.sleep(0.2)  # noqa: ASYNC251
        before = len(collector.readings)
        await collector.until(before + 20)
        assert collector.came[before + 17] - collector.came[before] < 0.1
    assert thermometer.skipped == 0


async def test_after_a_long_delay_readings_are_lost_but_the_air_has_moved_on():
    async with ticking(sample_period=0.001, start_temp=20.0, rate=0.001) as (
        thermometer,
        collector,
        _,
    ):
        await collector.until(2)
        thermometer.target = 30.0
        before = len(collector.readings)
        time.sleep(0.6)  # noqa: ASYNC251
        await collector.until(before + 2 * CATCH_UP)
        lost = thermometer.skipped
    assert lost > 200
    late = collector.readings[before]
    samples = round((late.at - collector.readings[before - 1].at) / 0.001)
    assert samples == lost + 1
    assert late.celsius == pytest.approx(30 - 10 * 0.999**samples)


@pytest.mark.parametrize("how", [EndFrame, CancelFrame])
async def test_it_stops_with_the_pipeline(how):
    async with ticking() as (_, collector, worker):
        await collector.until(5)
        await worker.queue_frame(how())
        async with asyncio.timeout(5):
            shown = await collector.ended
            await worker.wait()
        assert not [task for task in asyncio.all_tasks() if "ticking" in task.get_name()]
    assert len(collector.readings) == shown


async def test_it_stops_when_it_is_cleaned_up_though_no_end_came():
    # By itself: a pipeline always ends before it is cleaned up, unless it never came to run.
    thermometer = Thermometer(sample_period=PERIOD)
    tasks = TaskManager(loop=asyncio.get_running_loop())
    worker = PipelineWorker(Pipeline([]))
    await thermometer.setup(
        FrameProcessorSetup(clock=SystemClock(), task_manager=tasks, pipeline_worker=worker)
    )
    await thermometer.process_frame(StartFrame(), FrameDirection.DOWNSTREAM)
    assert [task for task in asyncio.all_tasks() if "ticking" in task.get_name()]
    await thermometer.cleanup()
    assert not [task for task in asyncio.all_tasks() if "ticking" in task.get_name()]


async def test_leaving_the_call_leaves_no_task_behind():
    async with ticking() as (_, collector, _worker):
        await collector.until(5)
    assert not [task for task in asyncio.all_tasks() if "ticking" in task.get_name()]
