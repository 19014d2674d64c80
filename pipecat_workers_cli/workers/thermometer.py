"""A simulated thermometer: a frame processor that takes a reading by itself every so often."""

import asyncio
from dataclasses import dataclass
from random import Random

from pipecat.frames.frames import CancelFrame, DataFrame, EndFrame, Frame, StartFrame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

START_TEMP = 22.0  # °C; a room
SAMPLE_PERIOD = 1.0  # seconds between two readings
RATE = 0.05  # of the way to the target, a sample; 95 % of it takes a minute
NOISE = 0.1  # °C; standard deviation of a reading, as small silicon sensors have

COLDEST, HOTTEST = -40.0, 125.0  # °C; what common silicon thermometers are made for
SLOWEST, FASTEST = 0.001, 1.0  # of the way, a sample; at 1 the air is there with the next one

CATCH_UP = 100  # readings taken at once after a delay; 1 ms of work


@dataclass
class ReadingFrame(DataFrame):
    """One reading.

    Attributes:
        celsius: What the thermometer shows, noise included.
        at: When it was due, in seconds of the event loop's clock.
    """

    celsius: float
    at: float


class Thermometer(FrameProcessor):
    """Shows the temperature of air that follows a target, and gives a `ReadingFrame` a sample.

    With each sample the air goes a share of the way that is left to the target, and the
    reading of it is off by Gaussian noise:

        air += rate * (target - air)
        reading = air + N(0, noise²)

    This is Newton's law of cooling, dT/dt = (target - T) / tau, at steps of the sample
    period, where rate = 1 - exp(-period / tau); in signal processing it is the first-order
    low-pass filter (exponential smoothing) with the smoothing factor `rate`.

    Readings are due at whole periods after the first, by the event loop's clock, so that
    they don't drift however late each is taken. After a delay those that were missed are
    taken at once, `CATCH_UP` of them at most: earlier ones are lost, though the air has
    moved on meanwhile. It begins with the pipeline and ends with it.

    Attributes:
        target: What the air goes towards, in °C.
        rate: The share of the way that it goes with a sample.
        skipped: Readings that were lost.
    """

    def __init__(
        self,
        *,
        start_temp: float = START_TEMP,
        sample_period: float = SAMPLE_PERIOD,
        rate: float = RATE,
        noise: float = NOISE,
        seed: int | None = None,
    ) -> None:
        """Make a thermometer that has not begun.

        Args:
            start_temp: The air's temperature and the target at first, in °C.
            sample_period: Seconds between two readings.
            rate: Of the way to the target, a sample; above 0, at most 1.
            noise: Standard deviation of a reading, in °C.
            seed: The same one gives the same readings, as long as none is lost and target
                and rate change at the same samples; None gives others each time.
        """
        super().__init__()
        self.target = start_temp
        self.rate = rate
        self.skipped = 0
        self._air = start_temp
        self._period = sample_period
        self._noise = noise
        self._random = Random(seed)  # noqa: S311  # noise, no secret
        self._ticking: asyncio.Task[None] | None = None

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Hand every frame on; begin with the pipeline's start, stop before its end."""
        await super().process_frame(frame, direction)
        if isinstance(frame, EndFrame | CancelFrame):
            await self._stop()
        await self.push_frame(frame, direction)
        if isinstance(frame, StartFrame):
            self._ticking = self.create_task(self._tick(), "ticking")

    async def cleanup(self) -> None:
        """Stop, if the pipeline came to no end."""
        await self._stop()
        await super().cleanup()

    async def _stop(self) -> None:
        if self._ticking is not None:
            ticking, self._ticking = self._ticking, None
            await self.cancel_task(ticking)

    async def _tick(self) -> None:
        clock = self.get_event_loop().time
        began, number = clock(), 0
        while True:
            due = began + number * self._period
            await asyncio.sleep(max(0.0, due - clock()))  # others get a turn in any case
            missed = int((clock() - due) / self._period)
            if missed > CATCH_UP:
                lost = missed - CATCH_UP
                self._skip(lost)
                number += lost
            for _ in range(min(missed, CATCH_UP) + 1):
                await self._read(began + number * self._period)
                number += 1

    async def _read(self, due: float) -> None:
        self._air += self.rate * (self.target - self._air)
        celsius = self._random.gauss(self._air, self._noise)
        await self.push_frame(ReadingFrame(celsius, due))

    def _skip(self, samples: int) -> None:
        """Let the air go on as if so many samples had been taken."""
        self._air = self.target - (self.target - self._air) * (1 - self.rate) ** samples
        self.skipped += samples
