"""Statistics of the window are what the textbook's formulas give, at a constant cost."""

import random
import statistics
import tracemalloc

import pytest
from pipecat.frames.frames import TextFrame
from pipecat.processors.frame_processor import FrameDirection

from pipecat_workers_cli.workers.readings import (
    SLOTS,
    STABLE_AFTER,
    Moments,
    Statistics,
    Summary,
)
from pipecat_workers_cli.workers.thermometer import ReadingFrame

NOISE = 0.1
LATE = 1e6  # seconds of the loop's clock: a machine that has run for days


async def summary(values, *, period=1.0, target=22.0, noise=NOISE) -> Summary | None:
    taken = Statistics(sample_period=period, noise=noise)
    for number, value in enumerate(values):
        frame = ReadingFrame(value, LATE + number * period)
        await taken.process_frame(frame, FrameDirection.DOWNSTREAM)
    return taken.summarise(target=target)


def noisy(count, *, seed=3, start=22.0, per_second=0.0, noise=NOISE, period=1.0):
    source = random.Random(seed)
    return [start + per_second * n * period + source.gauss(0, noise) for n in range(count)]


async def test_without_a_reading_there_is_nothing_to_tell():
    assert await summary([]) is None


@pytest.mark.parametrize("period", [1.0, 5.0, 0.1, 0.25])
async def test_figures_are_those_of_the_window(period):
    per_slot = max(1, round(1 / period))
    values = noisy(1000, per_second=0.03, period=period)
    told = await summary(values, period=period)
    assert told is not None
    window = values[-told.readings :]
    assert SLOTS - 1 < told.readings / per_slot <= SLOTS
    assert told.latest == values[-1]
    assert (told.lowest, told.highest) == (min(window), max(window))
    assert told.mean == pytest.approx(statistics.fmean(window))
    assert told.deviation == pytest.approx(statistics.pstdev(window))
    line = statistics.linear_regression([n * period for n in range(len(window))], window)
    assert told.per_minute == pytest.approx(60 * line.slope, rel=1e-5)
    assert told.seconds == pytest.approx((told.readings - 1) * period)


def test_joined_moments_are_those_of_all_points():
    points = [(LATE + n, value) for n, value in enumerate(noisy(50, per_second=1.0))]
    whole, joined = Moments(), Moments()
    for at, value in points:
        whole.add(at, value)
    for part in (points[:0], points[:1], points[1:30], points[30:]):
        moments = Moments()
        for at, value in part:
            moments.add(at, value)
        if moments.count:
            joined.join(moments)
    for name in ("count", "first", "last", "low", "high", "mean", "deviation", "slope"):
        assert getattr(joined, name) == pytest.approx(getattr(whole, name))


async def test_memory_stays_level_however_many_readings_come():
    taken = Statistics(sample_period=0.01, noise=NOISE)

    async def read(count):
        for number in range(count):
            frame = ReadingFrame(22.0 + number % 7, LATE + number * 0.01)
            await taken.process_frame(frame, FrameDirection.DOWNSTREAM)

    await read(7_000)  # the window is full
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    await read(20_000)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 40_000  # bytes; the readings alone would take over a million


@pytest.mark.parametrize("count", [STABLE_AFTER, 60, 500])
async def test_still_air_at_the_target_is_stable(count):
    for seed in range(40):
        told = await summary(noisy(count, seed=seed))
        assert told is not None
        assert told.stable, (seed, told)
        assert told.trend == "steady"
    assert "it has kept within 0." in told.because


async def test_few_readings_are_too_few_to_tell():
    told = await summary(noisy(4))
    assert (told.stable, told.trend) == (False, "steady")
    assert told.because == f"it takes {STABLE_AFTER} readings to tell, and I have 4 readings"
    told = await summary([22.0])
    assert told.because.endswith("I have 1 reading")


@pytest.mark.parametrize(("per_second", "trend"), [(0.01, "rising"), (-0.01, "falling")])
async def test_drifting_air_is_not_stable(per_second, trend):
    values = noisy(60, per_second=per_second)
    told = await summary(values, target=values[-1])
    assert (told.stable, told.trend) == (False, trend)
    assert told.because == f"it is still {trend} by {abs(told.per_minute):.1f} degrees a minute"
    assert told.per_minute == pytest.approx(60 * per_second, abs=0.15)


async def test_air_that_swings_is_not_stable_though_it_has_no_trend():
    values = [22.0 + (1.0 if n % 2 else -1.0) for n in range(59)] + [22.0]
    told = await summary(values)
    assert (told.stable, told.trend) == (False, "steady")
    assert told.because == "it varies by 2.0 degrees"


async def test_air_that_rests_off_its_target_is_not_stable():
    told = await summary([22.0] * 60, target=30.0)
    assert not told.stable
    assert told.because == "it is still 8.0 degrees below the target"
    told = await summary(noisy(60, start=40, per_second=-0.1), target=30.0)
    assert "above the target and falling by" in told.because


async def test_a_thermometer_without_noise_can_come_to_rest():
    told = await summary([30 - 8 * 0.95**n for n in range(60)], target=30.0, noise=0.0)
    assert not told.stable
    told = await summary([30 - 8 * 0.95**n for n in range(240)], target=30.0, noise=0.0)
    assert told.stable


async def test_readings_go_no_further():
    taken = Statistics(sample_period=1.0, noise=NOISE)
    pushed = []

    @taken.event_handler("on_before_push_frame")
    async def on_push(_taken, frame):
        pushed.append(frame)

    await taken.process_frame(ReadingFrame(22.0, 0.0), FrameDirection.DOWNSTREAM)
    assert not pushed
    await taken.process_frame(TextFrame("words"), FrameDirection.DOWNSTREAM)
    assert [str(frame)[:9] for frame in pushed] == ["TextFrame"]
