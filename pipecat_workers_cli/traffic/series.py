"""The latest figures that a call's workers showed, read from its messages."""

import math
from collections import deque
from collections.abc import Iterator

from pipecat_workers_cli.buses.local import LocalBus
from pipecat_workers_cli.traffic.ring import RingReader
from pipecat_workers_cli.wire.reading import BusReadingMessage

POINTS = 120  # kept of a series: two minutes at a reading a second, a wide terminal's line
SERIES = 20  # in a call; who shows more than that shows nothing


class Series:
    """What one worker measured of one thing.

    Attributes:
        worker: Who measured.
        reading: What.
        unit: As it is written after a figure.
        values: The latest figures, the oldest first.
    """

    __slots__ = ("reading", "unit", "values", "worker")

    def __init__(self, worker: str, reading: str) -> None:
        """Begin without a figure."""
        self.worker = worker
        self.reading = reading
        self.unit = ""
        self.values: deque[float] = deque(maxlen=POINTS)


class SeriesLog:
    """Keeps the series on one bus, as far as its ring of recent messages reaches."""

    def __init__(self, bus: LocalBus) -> None:
        """Begin with what the ring of `bus` holds."""
        self._ring = RingReader(bus)
        self._series: dict[tuple[str, str], Series] = {}

    def __iter__(self) -> Iterator[Series]:
        """Give the series in the order in which they began."""
        yield from self._series.values()

    def catch_up(self) -> None:
        """Read what came since the last time."""
        for _, message in self._ring.read():
            # A worker of somebody else's may send what is no figure, and can't be drawn.
            if isinstance(message, BusReadingMessage) and math.isfinite(message.value):
                self._add(message)

    def _add(self, message: BusReadingMessage) -> None:
        key = (message.source, message.reading)
        series = self._series.get(key)
        if series is None:
            if len(self._series) >= SERIES:
                return
            series = self._series[key] = Series(*key)
        series.unit = message.unit
        series.values.append(message.value)
