"""A small real pipeline around one service, for tests of what a provider's failures lead to."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from pipecat.frames.frames import ErrorFrame, Frame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.workers.runner import WorkerRunner

Kind = TypeVar("Kind", bound=Frame)


class Ear(FrameProcessor):
    """Passes everything on, and notes it."""

    def __init__(self, heard: "Heard") -> None:
        super().__init__()
        self._heard = heard

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        await self._heard.note(frame)
        await self.push_frame(frame, direction)


class Heard:
    """What came out of a pipeline, at either end, in order.

    Attributes:
        frames: Each frame once.
        reported: The errors that the worker's `on_pipeline_error` was told.
        worker: The pipeline's worker; set while it runs.
    """

    worker: PipelineWorker

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.reported: list[ErrorFrame] = []
        self._at: list[float] = []
        self._changed = asyncio.Condition()

    async def note(self, frame: Frame) -> None:
        """Keep a frame and wake who waits for it."""
        async with self._changed:
            if frame not in self.frames[-50:]:
                self.frames.append(frame)
                self._at.append(time.monotonic())
            self._changed.notify_all()

    def all(self, kind: type[Kind]) -> list[Kind]:
        """Give the frames of one kind."""
        return [frame for frame in self.frames if isinstance(frame, kind)]

    @property
    def errors(self) -> list[ErrorFrame]:
        """The errors so far."""
        return self.all(ErrorFrame)

    def at(self, frame: Frame) -> float:
        """Say when a frame came, by the monotonic clock."""
        return self._at[self.frames.index(frame)]

    async def until(self, happened: Callable[[], object], *, within: float = 5.0) -> None:
        """Wait until something holds that depends on the frames.

        Raises:
            TimeoutError: It doesn't within that many seconds.
        """
        async with asyncio.timeout(within), self._changed:
            await self._changed.wait_for(happened)

    async def first(self, kind: type[Kind], *, number: int = 1, within: float = 5.0) -> Kind:
        """Wait for the first frame of a kind, or the one of that number."""
        await self.until(lambda: len(self.all(kind)) >= number, within=within)
        return self.all(kind)[number - 1]


@asynccontextmanager
async def running(
    *processors: FrameProcessor, rate_in: int = 16_000, rate_out: int = 24_000
) -> AsyncIterator[Heard]:
    """Run processors between two ears; leaving ends the pipeline."""
    heard = Heard()
    worker = PipelineWorker(
        Pipeline([Ear(heard), *processors, Ear(heard)]),
        params=PipelineParams(
            audio_in_sample_rate=rate_in,
            audio_out_sample_rate=rate_out,
            enable_metrics=True,
            enable_usage_metrics=True,
        ),
        enable_rtvi=False,
    )
    heard.worker = worker
    runner = WorkerRunner(handle_sigint=False)
    started = asyncio.Event()

    @worker.event_handler("on_pipeline_started")
    async def on_started(_worker: PipelineWorker, _frame: Frame) -> None:
        started.set()

    @worker.event_handler("on_pipeline_error")
    async def on_error(_worker: PipelineWorker, error: ErrorFrame) -> None:
        heard.reported.append(error)

    await runner.add_workers(worker)
    run = asyncio.create_task(runner.run())
    try:
        async with asyncio.timeout(15):
            await started.wait()
        yield heard
    finally:
        await runner.cancel()
        async with asyncio.timeout(10):
            await run
