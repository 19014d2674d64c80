"""What a thermometer's latest readings come to: lowest, highest, mean, trend, steadiness."""

import math
from collections import deque
from dataclasses import dataclass
from typing import Self

from pipecat.frames.frames import Frame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from pipecat_workers_cli.workers.thermometer import ReadingFrame

SLOTS = 60  # that the window holds: a minute of readings a second
SLOT = 1.0  # seconds that a slot holds, unless readings are rarer: then it holds one

STABLE_AFTER = 30  # readings; a line through fewer is too uncertain to be called level
SPREAD = 1.5  # times the noise; of 30 readings of still air it is exceeded one time in 10,000
DRIFT = 2.0  # times the noise over the window; of 60 readings still air's line shows 0.45
STRAY = 4.0  # times the noise off the target: one reading of still air in 16,000
SURE = 3.0  # standard errors that a line of few readings must rise by to count as rising
RESOLUTION = 0.01  # °C; what a thermometer without noise is taken to have


class Moments:
    """Count, means, spread and slope of points, in constant space.

    Points are taken in one at a time (Welford 1962) and sums are joined (Chan, Golub and
    LeVeque 1979) around their means, so that no digits are lost however late `at` is.
    """

    __slots__ = ("_at", "_at_at", "_at_x", "_x_x", "count", "first", "high", "last", "low", "mean")

    def __init__(self) -> None:
        """Begin with no point."""
        self.count = 0
        self.first = self.last = self._at = self.mean = 0.0
        self._at_at = self._at_x = self._x_x = 0.0
        self.low, self.high = math.inf, -math.inf

    def add(self, at: float, x: float) -> None:
        """Take a point in; they come in the order of `at`."""
        if not self.count:
            self.first = at
        self.count += 1
        self.last = at
        off_at, off = at - self._at, x - self.mean
        self._at += off_at / self.count
        self.mean += off / self.count
        self._at_at += off_at * (at - self._at)
        self._at_x += off_at * (x - self.mean)
        self._x_x += off * (x - self.mean)
        self.low = min(self.low, x)
        self.high = max(self.high, x)

    def join(self, later: Self) -> None:
        """Take all points of `later` in."""
        if not self.count:
            self.first = later.first
        count = self.count + later.count
        off_at, off = later._at - self._at, later.mean - self.mean
        weight = self.count * later.count / count
        self._at_at += later._at_at + off_at * off_at * weight
        self._at_x += later._at_x + off_at * off * weight
        self._x_x += later._x_x + off * off * weight
        self._at += off_at * later.count / count
        self.mean += off * later.count / count
        self.count, self.last = count, later.last
        self.low, self.high = min(self.low, later.low), max(self.high, later.high)

    @property
    def deviation(self) -> float:
        """The standard deviation."""
        return math.sqrt(self._x_x / self.count) if self.count else 0.0

    @property
    def slope(self) -> float:
        """The least-squares line's, in `x` a second; 0 if there is no line."""
        return self._at_x / self._at_at if self._at_at else 0.0


@dataclass(frozen=True, slots=True)
class Summary:
    """What the readings in the window come to.

    Attributes:
        readings: How many there are.
        seconds: The time from the first to the last of them.
        latest: The last one, in °C, like all that follow.
        lowest: The lowest one.
        highest: The highest one.
        mean: Their mean.
        deviation: Their standard deviation.
        per_minute: By how much the line through them rises a minute.
        trend: `rising` or `falling`, if the line does so beyond doubt, else `steady`.
        stable: Whether the air has come to rest at the target.
        because: Why it is or isn't stable, as what follows "because".
    """

    readings: int
    seconds: float
    latest: float
    lowest: float
    highest: float
    mean: float
    deviation: float
    per_minute: float
    trend: str
    stable: bool
    because: str


class Statistics(FrameProcessor):
    """Takes readings in, and hands on nothing of them: an LLM's aggregators never see one.

    The window is the last `SLOTS` slots of `SLOT` seconds, or of one reading each if those
    are rarer. A reading costs the same however many the window holds, and a slot's memory
    is the same however many readings it sums up.

    The air counts as stable if all of this holds, the noise being the thermometer's, but
    at least `RESOLUTION`:

    - there are `STABLE_AFTER` readings in the window;
    - the latest is within `STRAY` times the noise of the target;
    - the least-squares line through them changes by at most `DRIFT` times the noise over
      the window;
    - their standard deviation is at most `SPREAD` times the noise.
    """

    def __init__(self, *, sample_period: float, noise: float) -> None:
        """Begin without a reading.

        Args:
            sample_period: Seconds between two readings.
            noise: Standard deviation of a reading of still air, in °C.
        """
        # Direct mode takes a frame in where it is pushed: no queue that could grow.
        super().__init__(enable_direct_mode=True)
        self._noise = max(noise, RESOLUTION)
        self._per_slot = max(1, round(SLOT / sample_period))
        self._slots: deque[Moments] = deque([Moments()], maxlen=SLOTS)
        self._filling = self._slots[-1]
        self._latest: ReadingFrame | None = None

    @property
    def latest(self) -> float | None:
        """The last reading, in °C; None before the first."""
        return self._latest.celsius if self._latest else None

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Take a reading in; hand every other frame on."""
        if isinstance(frame, ReadingFrame):
            self._take(frame)
            return
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)

    def summarise(self, *, target: float) -> Summary | None:
        """Sum the window up; None before the first reading.

        Args:
            target: What the air goes towards, in °C.
        """
        if self._latest is None:
            return None
        window = Moments()
        for slot in self._slots:
            window.join(slot)
        latest = self._latest.celsius
        trend = self._trend(window)
        trouble = self._trouble(window, latest, target, trend)
        seconds = window.last - window.first
        rest = (
            f"it has kept within {window.high - window.low:.1f} degrees for {seconds:.0f} seconds"
        )
        return Summary(
            readings=window.count,
            seconds=seconds,
            latest=latest,
            lowest=window.low,
            highest=window.high,
            mean=window.mean,
            deviation=window.deviation,
            per_minute=60 * window.slope,
            trend=trend,
            stable=trouble is None,
            because=trouble or rest,
        )

    def _take(self, reading: ReadingFrame) -> None:
        if self._filling.count >= self._per_slot:
            self._filling = Moments()
            self._slots.append(self._filling)
        self._filling.add(reading.at, reading.celsius)
        self._latest = reading

    def _trend(self, window: Moments) -> str:
        doubt = SURE * math.sqrt(12 / window.count)  # n points' standard error, over their span
        change = window.slope * (window.last - window.first)
        if abs(change) <= self._noise * max(DRIFT, doubt):
            return "steady"
        return "rising" if change > 0 else "falling"

    def _trouble(self, window: Moments, latest: float, target: float, trend: str) -> str | None:
        """Say why the air isn't stable; None if it is."""
        moving = f"{trend} by {abs(60 * window.slope):.1f} degrees a minute"
        off = latest - target
        if abs(off) > STRAY * self._noise:
            side = "above" if off > 0 else "below"
            far = f"it is still {abs(off):.1f} degrees {side} the target"
            return far if trend == "steady" else f"{far} and {moving}"
        if trend != "steady":
            return f"it is still {moving}"
        if window.count < STABLE_AFTER:
            readings = "reading" if window.count == 1 else "readings"
            return f"it takes {STABLE_AFTER} readings to tell, and I have {window.count} {readings}"
        if window.deviation > SPREAD * self._noise:
            return f"it varies by {window.high - window.low:.1f} degrees"
        return None
