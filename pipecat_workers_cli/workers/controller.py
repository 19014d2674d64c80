"""The controller of a thermometer: a worker that answers questions about it, and sets it."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

from pipecat.services.llm_service import LLMService
from pydantic import BaseModel, Field

from pipecat_workers_cli.wire.reading import BusReadingMessage
from pipecat_workers_cli.workers.controls import Controls
from pipecat_workers_cli.workers.conversation import Conversing, OwnConversation
from pipecat_workers_cli.workers.readings import Statistics
from pipecat_workers_cli.workers.thermometer import (
    COLDEST,
    FASTEST,
    HOTTEST,
    NOISE,
    RATE,
    SAMPLE_PERIOD,
    SLOWEST,
    START_TEMP,
    Thermometer,
)
from pipecat_workers_cli.workers.tools import Tool

SHOWN_EVERY = 1.0  # seconds; a reading on the bus reaches every worker of the call
QUICKEST_SAMPLE, SLOWEST_SAMPLE = 0.0001, 3_600.0  # seconds; 10,000 a second take a ninth of a core
NOISIEST = 10.0  # °C; beyond it nothing could be told of the temperature


def _bounded(lowest: float, highest: float, told: str) -> Any:
    bounds = f"a number from {lowest:g} to {highest:g}: {told}"
    return Field(ge=lowest, le=highest, allow_inf_nan=False, description=bounds)


class Options(BaseModel, extra="forbid", frozen=True):
    """What a recipe may say of a controller's thermometer."""

    start_temp: Annotated[float, _bounded(COLDEST, HOTTEST, "°C at first, the target too")] = (
        START_TEMP
    )
    sample_period: Annotated[
        float, _bounded(QUICKEST_SAMPLE, SLOWEST_SAMPLE, "seconds between two readings")
    ] = SAMPLE_PERIOD
    rate: Annotated[float, _bounded(SLOWEST, FASTEST, "of the way to the target, a sample")] = RATE
    noise: Annotated[float, _bounded(0, NOISIEST, "standard deviation of a reading, in °C")] = NOISE
    seed: Annotated[int | None, Field(description="a whole number: the same noise each time")] = (
        None
    )


class Controller(Conversing):
    """Answers each job by an LLM that can read and set the thermometer in its pipeline.

    The latest reading is on the bus once a second, for whoever looks on.
    """

    Options = Options

    def __init__(
        self,
        name: str,
        *,
        llm: LLMService,
        tools: Sequence[Tool] = (),
        start_temp: float = START_TEMP,
        sample_period: float = SAMPLE_PERIOD,
        rate: float = RATE,
        noise: float = NOISE,
        seed: int | None = None,
    ) -> None:
        """Assemble the controller's pipeline: thermometer, statistics, LLM.

        Args:
            name: The worker's name on the bus.
            llm: What it thinks with; the system instruction is the service's.
            tools: What the LLM may call besides the thermometer's own tools.
            start_temp: The air's temperature and the target at first, in °C.
            sample_period: Seconds between two readings.
            rate: Of the way to the target, a sample.
            noise: Standard deviation of a reading, in °C.
            seed: The same one gives the same readings.
        """
        thermometer = Thermometer(
            start_temp=start_temp, sample_period=sample_period, rate=rate, noise=noise, seed=seed
        )
        self._statistics = Statistics(sample_period=sample_period, noise=noise)
        controls = Controls(thermometer, self._statistics, sample_period=sample_period)
        self._shown_every = max(SHOWN_EVERY, sample_period)
        self._showing: asyncio.Task[None] | None = None
        super().__init__(
            name,
            OwnConversation(llm, tools=[*controls.tools, *tools]),
            before=(thermometer, self._statistics),
        )

    async def start(self) -> None:
        """Once the pipeline runs, show what it reads."""
        await super().start()
        self._showing = self.create_task(self._show(), "showing readings")

    async def stop(self) -> None:
        """Show nothing more, then stop as any worker does."""
        if self._showing is not None:
            showing, self._showing = self._showing, None
            await self.cancel_task(showing)
        await super().stop()

    async def _show(self) -> None:
        while True:
            celsius = self._statistics.latest
            if celsius is not None:
                await self.send_bus_message(
                    BusReadingMessage(
                        source=self.name,
                        reading="temperature",
                        value=round(celsius, 2),
                        unit="°C",
                    )
                )
            await asyncio.sleep(self._shown_every)
