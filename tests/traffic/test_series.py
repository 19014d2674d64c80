"""A call's series are kept within bounds, off the bus's path."""

import math

import pytest
from pipecat.bus import BusActivateWorkerMessage

from pipecat_workers_cli.buses.local import RECENT_MESSAGES, LocalBus
from pipecat_workers_cli.traffic.kinds import Kind, kind_of
from pipecat_workers_cli.traffic.series import POINTS, SERIES, SeriesLog
from pipecat_workers_cli.traffic.tap import Tap
from pipecat_workers_cli.wire.reading import BusReadingMessage


def reading(value, *, source="controller", of="temperature", unit="°C"):
    return BusReadingMessage(source=source, reading=of, value=value, unit=unit)


def told(log):
    log.catch_up()
    return [(one.worker, one.reading, one.unit, [*one.values]) for one in log]


async def test_figures_are_kept_by_worker_and_by_what_they_are_of():
    bus = LocalBus()
    log = SeriesLog(bus)
    await bus.send(reading(22.0))
    await bus.send(reading(40.0, of="humidity", unit="%"))
    await bus.send(BusActivateWorkerMessage(source="main", target="controller"))
    await bus.send(reading(23.0, source="other"))
    assert told(log) == [
        ("controller", "temperature", "°C", [22.0]),
        ("controller", "humidity", "%", [40.0]),
        ("other", "temperature", "°C", [23.0]),
    ]
    await bus.send(reading(22.5))
    assert told(log)[0] == ("controller", "temperature", "°C", [22.0, 22.5])
    assert told(log)[0] == ("controller", "temperature", "°C", [22.0, 22.5])


async def test_only_the_latest_figures_of_a_bounded_number_of_series_are_kept():
    bus = LocalBus()
    log = SeriesLog(bus)
    for value in range(RECENT_MESSAGES + 10):
        await bus.send(reading(value))
    for number in range(SERIES + 5):
        await bus.send(reading(1.0, source=f"w{number}"))
    kept = told(log)
    assert len(kept) == SERIES
    last = RECENT_MESSAGES + 10
    assert kept[0][-1] == [*range(last - POINTS, last)]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
async def test_what_is_no_figure_is_left_out(value):
    bus = LocalBus()
    log = SeriesLog(bus)
    await bus.send(reading(value))
    assert told(log) == []


async def test_a_snapshot_has_the_series_of_the_open_calls_and_counts_their_messages():
    tap = Tap()
    for call in ("c1", "c2"):
        bus = LocalBus()
        tap.open_call(call, bus, recipe="sensor", workers=["controller"], main="main")
        await bus.send(reading(22.0))
    await bus.send(reading(22.5))
    views = tap.snapshot().series
    assert [(view.call, view.worker, view.values) for view in views] == [
        ("c1", "controller", (22.0,)),
        ("c2", "controller", (22.0, 22.5)),
    ]
    (edge,) = tap.snapshot().edges
    assert (edge.kind, edge.source, edge.target, edge.count) == (
        Kind.READING,
        "controller",
        "*",
        3,
    )
    tap.close_call("c2")
    assert [view.call for view in tap.snapshot().series] == ["c1"]


def test_a_reading_has_a_kind_of_its_own():
    assert kind_of(BusReadingMessage) is Kind.READING
